"""How close a quantized model's outputs are to the float model's, in one figure that choices are made by."""

import math

from quantscope.core.evaluate.channels import balanced_db
from quantscope.core.evaluate.outputs import OutputError
from quantscope.core.evaluate.reference import Preview


def closeness_db(preview: Preview) -> float:
    """SQNR of the outputs in dB, each of them scaled to the same energy, and so are channels of one.

    A detector's scores count like its boxes, in outputs of their own as in one tensor, and a channel that
    became constant counts as lost (`OutputComparison.balanced_db`). Channels whose values are about as large
    are taken together: for a classifier it is the plain SQNR of its output.

    Where no output holds floats of one shape in both models (class maps, boxes that survived a selection),
    the share of elements that differ, runs of another shape included, stands for the noise. -inf where an
    output is not finite, and where there is nothing to compare.
    """
    found = preview.output
    balanced = found.balanced_db
    if not math.isnan(balanced):
        return balanced
    if any(output.error is not None for output in found.outputs):  # the float model gives only zeros
        exact = all(output.error is None or output.error.sqnr_db == math.inf for output in found.outputs)
        return math.inf if exact else -math.inf
    parts = [_differing(output, preview.samples) for output in found.outputs]
    balanced = balanced_db(parts)
    return -math.inf if math.isnan(balanced) else balanced


def _differing(found: OutputError, samples: int) -> float:
    """Share of elements that differ."""
    return 1.0 - (found.equal_share or 0.0) * (1.0 - found.mismatched / samples)
