"""Counts and figures in sentences."""

import math


def plural(count: int, noun: str, several: str = "") -> str:
    """`3 layers`, `1 layer`; `several` where the plural is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"


def decibels(sqnr_db: float, digits: int = 1) -> str:
    """An SQNR; without a finite one, whether there was no error at all, or no finite output."""
    if math.isfinite(sqnr_db):
        return f"{round(sqnr_db, digits) + 0.0:.{digits}f} dB"  # no minus before a zero
    return "no error" if sqnr_db > 0 else "no finite values"
