"""How long one sample takes: both models in turn, warmed up, on the same number of threads."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from quantscope.core.runtime import Session

_WARM_UP = 2  # runs of each model that are not counted
SECONDS = 2.0  # to spend on all runs
FEWEST_RUNS = 5  # of each model
MOST_RUNS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Medians over `runs` runs of each model, interleaved."""

    float_ms: float
    quantized_ms: float
    default_ms: float | None = None  # of a default session, where it computes something else
    runs: int
    threads: int  # of one run


def measure_latency(
    float_session: Session,
    quantized_session: Session,
    samples: Sequence[Mapping[str, npt.NDArray[Any]]],
    *,
    default_session: Session | None = None,
    threads: int,
) -> Latency:
    """Run the models in turn for about `SECONDS`, each at least `FEWEST_RUNS` and at most `MOST_RUNS` times.

    Args:
        float_session: Created with `threads` threads.
        quantized_session: Likewise.
        samples: Taken in rotation.
        default_session: Of the quantized model, where it computes something else; likewise.
        threads: Stated in the result.
    """
    sessions = [s for s in (float_session, quantized_session, default_session) if s is not None]
    taken: list[list[float]] = [[] for _ in sessions]
    started = time.perf_counter()
    for number in range(-_WARM_UP, MOST_RUNS):
        if number >= FEWEST_RUNS and time.perf_counter() - started > SECONDS:
            break
        sample = samples[number % len(samples)]
        for session, times in zip(sessions, taken, strict=True):
            begin = time.perf_counter()
            session.run(sample)
            if number >= 0:
                times.append((time.perf_counter() - begin) * 1e3)
    medians = [statistics.median(times) for times in taken]
    return Latency(
        float_ms=medians[0],
        quantized_ms=medians[1],
        default_ms=medians[2] if default_session is not None else None,
        runs=len(taken[0]),
        threads=threads,
    )
