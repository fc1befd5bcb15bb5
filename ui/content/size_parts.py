"""What the bytes of a quantized file are, in words."""

from quantscope.core.evaluate import SizeBreakdown
from quantscope.ui.content import text

LABELS = {  # of the fields of SizeBreakdown
    "weights": "weights",
    "biases": "biases",
    "scales": "scales and zero points",
    "constants": "other constants",
    "names": "names of nodes and tensors",
    "remarks": "types, documentation and metadata",
    "graph": "operators",
}


def listed(parts: SizeBreakdown, least: float = 0.02) -> str:
    """The parts, the largest first, with their share; those below `least` of the file are left out."""
    found = sorted(parts.as_dict().items(), key=lambda part: -part[1])
    total = max(parts.total, 1)
    return ", ".join(
        f"{LABELS[name]} {text.size(count)} ({100 * count / total:.0f} %)"
        for name, count in found
        if count >= least * total
    )


def sentence(parts: SizeBreakdown, float_bytes: int) -> str:
    """What the file consists of; where it is no smaller than float, why.

    Args:
        parts: Of the quantized file.
        float_bytes: Size of the float model's file.
    """
    words = f"The file holds {listed(parts)}."
    if parts.total < float_bytes:
        return words
    rest = parts.total - parts.weights - parts.biases
    return (
        f"{words} It is no smaller than the float model ({text.size(float_bytes)}): its weights are few, and "
        f"all that is not weights and biases, {text.size(rest)} by now, outweighs what integers save."
    )
