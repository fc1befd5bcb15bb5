"""Lessons about quantizers, on distributions whose every property is known."""

from quantscope.core.playground.distributions import DISTRIBUTIONS, draw
from quantscope.core.playground.lessons import (
    BITS,
    BitsCurve,
    Draw,
    Staircase,
    experiment,
    histogram_of,
    sqnr_by_bits,
    staircase,
)

__all__ = [
    "BITS",
    "DISTRIBUTIONS",
    "BitsCurve",
    "Draw",
    "Staircase",
    "draw",
    "experiment",
    "histogram_of",
    "sqnr_by_bits",
    "staircase",
]
