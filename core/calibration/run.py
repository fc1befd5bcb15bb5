"""Run the float model over samples and stream what its tensors hold into histograms."""

import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from quantscope.core.calibration.by_sample import Recorder, merge_recorders
from quantscope.core.calibration.cache import StatisticsCache
from quantscope.core.calibration.histogram import Accumulator, merge
from quantscope.core.calibration.stages import staged_model, worth_staging
from quantscope.core.calibration.statistics import Statistics
from quantscope.core.data import Array, Sample, Samples
from quantscope.core.errors import DataError, ModelError
from quantscope.core.model import Model, float_session
from quantscope.core.progress import ProgressFn, report
from quantscope.core.runtime import ORT_ERRORS, first_line
from quantscope.core.targets import activation_tensors

LABEL = "calibrating"
MAX_THREADS = 16  # each needs room for one sample's activations
_POLL_SECONDS = 0.2  # so that Ctrl-C is seen on systems where waiting cannot be interrupted


def calibrate(
    model: Model,
    samples: Samples,
    *,
    tensors: Sequence[str] | None = None,
    progress: ProgressFn | None = None,
    threads: int | None = None,
    cache_dir: str | Path | None = None,
    cache: bool = True,
) -> Statistics:
    """Histograms of `tensors` over all samples.

    Every sample is one run of ONNX Runtime on one thread; worker threads take samples in turn and count into
    histograms of their own, which are merged exactly. The result is therefore bit-identical for any number
    of threads, any order, and any grouping of the samples into files.

    Args:
        model: The float model.
        samples: What it is fed.
        tensors: Float tensors of the main graph; None: all that may get a scale of their own.
        progress: Told about each finished sample, on the calling thread; may raise `Cancelled`.
        threads: Worker threads; None: one a processor.
        cache_dir: Where results are kept by content; None: $QUANTSCOPE_CACHE, or the user's cache folder.
        cache: Whether to look there, and to keep the result.

    Raises:
        DataError: a sample cannot be read, or the model cannot run on it.
        ModelError: ONNX Runtime does not accept the model, or it lacks one of the tensors.
    """
    names = tuple(activation_tensors(model) if tensors is None else dict.fromkeys(tensors))
    unknown = [name for name in names if name not in model.tensors]
    if unknown:
        raise ModelError(f"the model has no float tensor {unknown[0]!r} that could be calibrated")
    if not len(samples):
        raise DataError(f"{samples.source} holds no samples")
    kept = StatisticsCache.open(model, names, cache_dir) if cache else None
    found = kept.load(samples) if kept is not None else None
    if found is None:
        found = _CalibrationRun(model, samples, names, worker_count(threads, len(samples))).collect(progress)
        if kept is not None:
            kept.save(found)
    else:
        report(progress, len(samples), len(samples), "read from the cache")
    return found


def worker_count(threads: int | None, samples: int) -> int:
    """`threads`, or one a processor, but no more than there are samples."""
    if threads is not None and threads < 1:
        raise DataError(f"at least one thread is needed, not {threads}")
    return min(threads or min(os.cpu_count() or 1, MAX_THREADS), samples)


Values = Callable[[Sample], Iterator[tuple[str, Array]]]


class _CalibrationRun:
    """One pass over the samples; threads share the session and the iterator, and nothing else."""

    def __init__(self, model: Model, samples: Samples, names: tuple[str, ...], threads: int) -> None:
        self.model, self.samples, self.names, self.threads = model, samples, names, threads
        given = {info.name for info in model.inputs}
        self.fetched = [name for name in names if name not in given]
        self.fed = [name for name in names if name in given]
        self.scores = {info.name for info in model.outputs}  # of those, tensors (rows, classes)
        self.values: Values = no_values
        self.loads = samples.loads()
        self.taken = 0
        self.turn = threading.Lock()
        self.stop = threading.Event()
        self.finished: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def collect(self, progress: ProgressFn | None) -> Statistics:
        """Run all samples; what a worker or the progress callback raises ends the others first."""
        total = len(self.samples)
        report(progress, 0, total, LABEL)
        with (
            tensor_source(self.model, self.fetched, total, self.threads) as self.values,
            ThreadPoolExecutor(self.threads, thread_name_prefix="calibrate") as pool,
        ):
            futures = [pool.submit(self._work) for _ in range(self.threads)]
            try:
                for done in range(1, total + 1):
                    self._wait(futures)
                    report(progress, done, total, LABEL)
            finally:
                self.stop.set()
            parts = [future.result() for future in futures]
        self.loads.close()
        return Statistics(
            histograms={name: merge(part[name].histogram() for part, _ in parts) for name in self.names},
            by_sample=merge_recorders((recorder for _, recorder in parts), total),
            samples=self.samples.rows,
            model_hash=self.model.hash,
            data_fingerprint=self.samples.fingerprint,
            synthetic=self.samples.synthetic,
            data_source=self.samples.source,
        )

    def _wait(self, workers: Sequence[Future[Any]]) -> None:
        """Until one more sample is done; raises what a worker failed with."""
        while True:
            over = all(worker.done() for worker in workers)
            try:
                error = self.finished.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                if over:
                    raise DataError(f"{self.samples.source} gave fewer samples than it holds") from None
                continue
            if error is not None:
                raise error
            return

    def _work(self) -> tuple[Mapping[str, Accumulator], Recorder]:
        """One worker: histograms of the samples that it got hold of, and what each of them showed."""
        counts, recorder = {name: Accumulator() for name in self.names}, Recorder()
        try:
            while not self.stop.is_set():
                with self.turn:
                    load = next(self.loads, None)
                    position, self.taken = self.taken, self.taken + 1
                if load is None:
                    break
                self._count(position, load(), counts, recorder)
                self.finished.put(None)
        except BaseException as error:
            self.stop.set()
            self.finished.put(error)
        return counts, recorder

    def _count(
        self, position: int, sample: Sample, counts: Mapping[str, Accumulator], recorder: Recorder
    ) -> None:
        batch, valid = self.samples.batch, self.samples.valid(position)

        def count(name: str, values: Array) -> None:
            rows = data_rows(values, batch, valid)
            counts[name].add(rows, position)
            recorder.note(name, position, counts[name].latest)
            if name in self.scores:
                recorder.note_scores(name, position, rows)

        for name in self.fed:
            count(name, sample[name])
        try:
            for name, values in self.values(sample):
                count(name, values)
        except ORT_ERRORS as error:
            what = f"{self.samples.source}: the model cannot run on sample {position}: {first_line(error)}"
            remedy = "; random ones do not fit it: use real samples" if self.samples.synthetic else ""
            raise DataError(what + remedy) from error
        self.samples.digest(position, sample)


@contextmanager
def tensor_source(model: Model, tensors: Sequence[str], samples: int, threads: int) -> Iterator[Values]:
    """A function from a sample to `tensors` and their elements, in whatever order is cheapest."""
    staged = None
    if worth_staging(model, tensors, samples, threads):
        staged = staged_model(model, tensors)
    if staged is not None:
        with closing(staged):
            yield staged.values
    else:
        yield float_session(model, tensors).values if tensors else no_values


def no_values(_: Sample) -> Iterator[tuple[str, Array]]:
    """Where only the inputs themselves are wanted."""
    return iter(())


def data_rows(values: Array, batch: int, valid: int) -> Array:
    """The part of a tensor that comes from data, where the last run of a fixed batch was filled up.

    Tensors whose first axis is no multiple of the batch mix rows; all of them is counted.
    """
    if valid == batch or values.ndim == 0 or values.shape[0] % batch:
        return values
    return values[: values.shape[0] // batch * valid]
