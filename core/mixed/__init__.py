"""Mixed precision: which layers get int8, int16 or float, as a front of cost against error."""

from core.mixed.costs import Cost
from core.mixed.front import Front, Point
from core.mixed.run import PRECISIONS, mixed_precision

__all__ = ["PRECISIONS", "Cost", "Front", "Point", "mixed_precision"]
