"""Mixed precision: which layers get int8, int16 or float, as a front of cost against error."""

from quantscope.core.tuning.mixed.budget import read_budget
from quantscope.core.tuning.mixed.costs import Cost
from quantscope.core.tuning.mixed.front import Front, Point
from quantscope.core.tuning.mixed.run import PRECISIONS, mixed_precision

__all__ = ["PRECISIONS", "Cost", "Front", "Point", "mixed_precision", "read_budget"]
