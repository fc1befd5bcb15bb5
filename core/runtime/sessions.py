"""ONNX Runtime sessions with known options, and samples run in parallel with a bounded number in flight.

Every session of the project is made by `open_session`, with options from `session_options`: integer
arithmetic is exact unless a caller asks for what a default session does on this processor.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from quantscope.core.errors import DataError, ModelError
from quantscope.core.progress import ProgressFn, report

Arrays = dict[str, npt.NDArray[Any]]
S = TypeVar("S")
T = TypeVar("T")

# ONNX Runtime's exceptions share no base class of their own; feeds of a wrong type raise ValueError.
ORT_ERRORS: tuple[type[Exception], ...] = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
    ValueError,
)
EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
# Where x86 has no VNNI, the u8 x s8 kernels add two products in 16 bits and saturate; with this option ONNX
# Runtime takes its u8 x u8 kernels there, which do not. On other processors it has no effect.
EXACT = "session.x64quantprecision"


class Session:
    """A loaded model that may be run from several threads at once.

    One thread computes each run, so that results do not depend on the machine's core count.
    """

    def __init__(
        self,
        model: bytes,
        *,
        folder: Path | None = None,
        threads: int = 1,
        entries: Mapping[str, str] | None = None,
        arena: bool = True,
        weights: Mapping[str, ort.OrtValue] | None = None,
        optimize: bool = True,
        exact: bool = True,
        what: str = "the model",
    ) -> None:
        """Load `model`.

        Args:
            model: The serialized model.
            folder: Where its external data lie, if it has any.
            threads: Threads of one run.
            entries: Further session options by name.
            arena: Keep memory for the next run; without it a run is slower and gives all memory back.
            weights: Initializers that the model refers to as external, by name; used where they are.
            optimize: False where the nodes are ONNX Runtime's own choice, and not to be changed again.
            exact: False = as a default session computes on this processor.
            what: How an error message calls it.

        Raises:
            ModelError: ONNX Runtime does not accept the model.
        """
        options = session_options(threads, entries, exact=exact)
        options.enable_cpu_mem_arena = arena
        if not optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if folder is not None:
            options.add_session_config_entry(EXTERNAL_FOLDER, str(folder))
        self.what = what
        self.weights = dict(weights or {})  # must live as long as the session
        if self.weights:
            options.add_external_initializers(list(self.weights), list(self.weights.values()))
        try:
            self.ort = open_session(model, options)
        except ORT_ERRORS as error:
            raise ModelError(f"ONNX Runtime does not run {what}: {first_line(error)}") from error
        self.inputs: dict[str, Any] = {value.name: value for value in self.ort.get_inputs()}
        self.outputs: dict[str, Any] = {value.name: value for value in self.ort.get_outputs()}

    def run(self, sample: Mapping[str, npt.NDArray[Any]], names: Sequence[str] | None = None) -> Arrays:
        """Outputs by name.

        Raises:
            DataError: The sample does not fit the model, or the run failed on it.
        """
        wanted = list(self.outputs) if names is None else list(names)
        feed = {name: value for name, value in sample.items() if name in self.inputs}
        try:
            return dict(zip(wanted, self.ort.run(wanted, feed), strict=True))
        except ORT_ERRORS as error:
            raise DataError(f"running {self.what} on a sample failed: {first_line(error)}") from error


def session_options(
    threads: int = 1, entries: Mapping[str, str] | None = None, *, exact: bool = True
) -> ort.SessionOptions:
    """Options with all graph optimizations, `threads` threads for a run, and no log output.

    Args:
        threads: Threads of one run.
        entries: Further session options by name.
        exact: Integer products are summed exactly on every processor; False = ONNX Runtime's default.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # failures are raised; a log line would say the same again
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    if exact:
        options.add_session_config_entry(EXACT, "1")
    for name, value in (entries or {}).items():
        options.add_session_config_entry(name, value)
    return options


def open_session(
    model: bytes | str | Path, options: ort.SessionOptions, **extra: Any
) -> ort.InferenceSession:
    """A session on the CPU; the one place where sessions are made.

    Args:
        model: The serialized model, or its file.
        options: As `session_options` gives them.
        extra: Further arguments of `InferenceSession`.

    Raises one of `ORT_ERRORS` if ONNX Runtime does not accept the model.
    """
    # Its fallback to other providers would only try again, and print that it does.
    return ort.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], enable_fallback=0, **extra
    )


def first_line(error: Exception) -> str:
    """The first line of an error's text, without ONNX Runtime's prefix."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text.split(" : ", 2)[-1].strip()[:400]


def thread_count(threads: int | None) -> int:
    """`threads`, or one a processor."""
    return max(1, threads if threads is not None else os.cpu_count() or 1)


def parallel_map(
    work: Callable[[S], T],
    items: Iterable[S],
    *,
    total: int,
    threads: int,
    progress: ProgressFn | None = None,
    label: str = "",
) -> Iterator[T]:
    """`work(item)` for every item, in order, on `threads` threads, a few in flight.

    Items are taken from the iterable on the calling thread only. A progress callback that raises ends
    the work after the samples in flight.
    """
    done = 0
    with ThreadPoolExecutor(threads, thread_name_prefix="evaluate") as pool:
        pending: deque[Future[T]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
                    done += 1
                    report(progress, done, total, label)
            while pending:
                yield pending.popleft().result()
                done += 1
                report(progress, done, total, label)
        finally:
            for future in pending:
                future.cancel()
