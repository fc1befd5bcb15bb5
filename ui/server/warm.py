"""Get ready while the browser opens: import what is heavy, compile the hot loops, tidy up on disk."""

import gc
import logging
import threading

# Graphs are made of objects by the hundred thousand that all stay: looking through them after every 700 takes
# as long as making them.
COLLECTIONS = (20_000, 20, 20)
log = logging.getLogger("quantscope")


def start() -> threading.Thread:
    """Warm up in the background."""
    thread = threading.Thread(target=_warm, name="warm up", daemon=True)
    thread.start()
    return thread


def _warm() -> None:
    """Run each kernel of the first page once on a few numbers; Numba keeps what it compiled on disk."""
    try:
        import numpy as np

        from quantscope.core.calibration import Accumulator
        from quantscope.core.evaluate import tensor_error
        from quantscope.core.project import project
        from quantscope.core.quant import UINT8, QuantSpec, encoding_from_range, quantize_values
        from quantscope.core.thresholds import FROM_HISTOGRAM, Method, errors_at, search
        from quantscope.ui.session import workspace  # noqa: F401 - imports all that a page needs

        values = np.linspace(-1.0, 2.0, 4096, dtype=np.float32)
        accumulator = Accumulator()
        accumulator.add(values, 0)
        histogram = accumulator.histogram()
        spec = QuantSpec(type=UINT8, symmetric=False)
        found = search(Method.MINMAX, histogram, spec)
        errors_at(histogram, found.range, spec)
        encoding = encoding_from_range(found.range, spec)
        tensor_error(values, quantize_values(values, encoding), encoding)
        tensor_error(values, values)
        for method in FROM_HISTOGRAM:
            search(method, histogram, spec)
        gc.collect()
        gc.freeze()  # what is imported stays: a full collection need not look at it again
        gc.set_threshold(*COLLECTIONS)
        project.remove_project_leftovers()
    except Exception:  # the page will say what is wrong
        log.debug("warming up failed", exc_info=True)
