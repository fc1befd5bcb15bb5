"""How ONNX Runtime is driven: sessions, what it makes of a graph, and how this machine adds integers."""

from quantscope.core.runtime import machine
from quantscope.core.runtime.machine import (
    IntegerSums,
    Machine,
    describe,
    integer_sums,
    kernels,
    pairs_are_neighbours,
)
from quantscope.core.runtime.optimization import (
    BLOCKED_DOMAIN,
    EXTERNAL_WEIGHTS,
    WEIGHTS_FILE,
    optimized_graph,
    reads,
)
from quantscope.core.runtime.sessions import (
    EXTERNAL_FOLDER,
    ORT_ERRORS,
    Arrays,
    Session,
    first_line,
    open_session,
    parallel_map,
    session_options,
    thread_count,
)

__all__ = [
    "BLOCKED_DOMAIN",
    "EXTERNAL_FOLDER",
    "EXTERNAL_WEIGHTS",
    "ORT_ERRORS",
    "WEIGHTS_FILE",
    "Arrays",
    "IntegerSums",
    "Machine",
    "Session",
    "describe",
    "first_line",
    "integer_sums",
    "kernels",
    "machine",
    "open_session",
    "optimized_graph",
    "pairs_are_neighbours",
    "parallel_map",
    "reads",
    "session_options",
    "thread_count",
]
