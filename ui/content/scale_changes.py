"""How the scales of two files differ, in words; for files of other tools, whose choices are unknown."""

from collections import Counter
from collections.abc import Sequence
from statistics import median

from quantscope.core.words import plural
from quantscope.ui.content.tensor_pairs import FLOAT, TensorPair, TensorRange
from quantscope.ui.content.text import number


def scale_changes(pairs: Sequence[TensorPair]) -> list[tuple[str, str]]:
    """What differs, and how, the first version's figure before the arrow; nothing where all scales agree."""
    outputs = [pair for pair in pairs if pair.what == "output"]
    weights = [pair for pair in pairs if pair.what == "weights"]
    said = [
        ("Types of outputs", _types([p.ours for p in outputs]), _types([p.theirs for p in outputs])),
        ("Types of weights", _types([p.ours for p in weights]), _types([p.theirs for p in weights])),
        ("Scales of weights", _scales([p.ours for p in weights]), _scales([p.theirs for p in weights])),
        ("Zero points of outputs", _zeros([p.ours for p in outputs]), _zeros([p.theirs for p in outputs])),
    ]
    found = [(what, f"{before} → {after}") for what, before, after in said if before != after]
    ratios = [pair.ratio for pair in outputs if pair.ratio is not None and pair.differs]
    if ratios:
        least, middle, most = (f"×{number(of(ratios), 3)}" for of in (min, median, max))
        spread = f"{least} to {most}, in the middle {middle}"
        words = f"{len(ratios):,} of {plural(len(outputs), 'range')} differ: {spread} as wide"
        found.append(("Ranges of outputs", words))
    return found


def _types(found: Sequence[TensorRange]) -> str:
    """As `23 uint8, 1 float`, the most frequent first."""
    counts = Counter(entry.type or "not in the file" for entry in found)
    return ", ".join(
        f"{count:,} {name}" for name, count in sorted(counts.items(), key=lambda c: (-c[1], c[0]))
    )


def _scales(found: Sequence[TensorRange]) -> str:
    each = sum(entry.scales > 1 for entry in found)
    one = sum(entry.scales == 1 for entry in found)
    parts = [f"{each:,} per channel"] if each else []
    return ", ".join(parts + ([f"{one:,} per tensor"] if one else [])) or "none"


def _zeros(found: Sequence[TensorRange]) -> str:
    """How many ranges lie around zero, begin or end there, or lie anywhere."""
    counts = Counter(_place(entry) for entry in found if entry.type not in ("", FLOAT) and entry.scale)
    return ", ".join(
        f"{count:,} {name}" for name, count in sorted(counts.items(), key=lambda c: (-c[1], c[0]))
    )


def _place(entry: TensorRange) -> str:
    low, high = entry.low or 0.0, entry.high or 0.0
    if abs(low + high) <= 2 * (entry.scale or 0.0):
        return "around zero"
    return "from zero" if low == 0.0 or high == 0.0 else "as the data lie"
