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
    return f"The file holds {listed(parts)}.{why_larger(parts, float_bytes, begin=' ')}"


def why_larger(parts: SizeBreakdown, float_bytes: int, begin: str = "") -> str:
    """Why the file is no smaller than float, after `begin`; empty where it is smaller."""
    if parts.total < float_bytes:
        return ""
    return (
        f"{begin}The file is no smaller than the float model ({text.size(float_bytes)}): only "
        f"{text.size(parts.weights)} of it are weights, which quantization makes four times smaller. The "
        f"other {text.size(parts.total - parts.weights)} are mostly what describes the graph, and every "
        "quantized tensor adds two operators with a scale and a zero point to it."
    )
