"""What mixed precision may cost, as people write it: 500kB, 2MB, 60%."""

import re

from quantscope.core.errors import RecipeError
from quantscope.core.tuning.mixed.costs import Cost

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)\s*"
_SIZE = re.compile(_NUMBER + r"(?:([kmg]i?)?b?)", re.IGNORECASE)
_SHARE = re.compile(_NUMBER + "%")


def read_budget(text: str, kind: Cost, float_bytes: int) -> float:
    """A budget in bytes, or as a share of the float model's time.

    Args:
        text: A size such as 500kB or 2MiB, or a share such as 60% of the float model.
        kind: What is to be saved; for latency only a share is known.
        float_bytes: Size of the float model's file.

    Raises:
        RecipeError: It is neither.
    """
    text = text.strip()
    share, size = _SHARE.fullmatch(text), _SIZE.fullmatch(text)
    if share is not None and float(share[1]) > 0.0:
        return float(share[1]) / 100.0 * (float_bytes if kind is Cost.SIZE else 1.0)
    if kind is Cost.LATENCY:
        raise RecipeError(
            f"a budget of latency is a share of the float model's time, such as 60%, not '{text}'"
        )
    if size is None or float(size[1]) <= 0.0:
        raise RecipeError(f"a budget is a size such as 500kB, 2MB or 60% of the float model, not '{text}'")
    return float(size[1]) * _UNITS[(size[2] or "").lower()]
