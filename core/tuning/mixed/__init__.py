"""Mixed precision: which layers get int8, int16 or float, as a front of cost against error."""

from core.tuning.mixed.costs import Cost
from core.tuning.mixed.front import Front, Point
from core.tuning.mixed.run import PRECISIONS, mixed_precision

__all__ = ["PRECISIONS", "Cost", "Front", "Point", "mixed_precision"]
