"""Lessons about quantizers, on distributions whose every property is known."""

from quantscope.core.playground.distributions import DISTRIBUTIONS, draw
from quantscope.core.playground.lessons import (
    BITS,
    BitsCurve,
    KlAdmmDraw,
    Staircase,
    compare_kl_admm,
    histogram_of_draw,
    sqnr_by_bits,
    staircase,
)

__all__ = [
    "BITS",
    "DISTRIBUTIONS",
    "BitsCurve",
    "KlAdmmDraw",
    "Staircase",
    "compare_kl_admm",
    "draw",
    "histogram_of_draw",
    "sqnr_by_bits",
    "staircase",
]
