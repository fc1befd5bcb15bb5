"""What mixed precision may cost, as people write it: 500kB, 2MB, 60%."""

import re

from quantscope.core.tuning.mixed.costs import Cost

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)\s*"
_SIZE = re.compile(_NUMBER + r"(?:([kmg]i?)?b?)", re.IGNORECASE)
_SHARE = re.compile(_NUMBER + "%")


def read_budget(text: str, kind: Cost, float_bytes: int) -> float | None:
    """A budget in bytes, or as a share of the float model's time; None if it cannot be understood.

    Args:
        text: A size such as 500kB or 2MiB, or a share such as 60% of the float model.
        kind: What is to be saved; for latency only a share is known.
        float_bytes: Size of the float model's file.
    """
    share, size = _SHARE.fullmatch(text.strip()), _SIZE.fullmatch(text.strip())
    if share is not None and float(share[1]) > 0.0:
        return float(share[1]) / 100.0 * (float_bytes if kind is Cost.SIZE else 1.0)
    if kind is Cost.LATENCY or size is None or float(size[1]) <= 0.0:
        return None
    return float(size[1]) * _UNITS[(size[2] or "").lower()]
