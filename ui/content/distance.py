"""How far a figure lies from that of an earlier step or of the baseline, in a few words."""

import math
from dataclasses import dataclass

from quantscope.core.project import Figures
from quantscope.ui.content.text import change, short

NOTHING = 0.05  # dB or points: a smaller change is none, as it is shown
NOTHING_PERCENT = 0.5
SAME_TIME = 15.0  # percent by which times of different moments differ that are told apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What figures are held against."""

    name: str  # as in `since step 3` or `to Baseline`
    figures: Figures

    def points(self, now: float | None, then: float | None) -> str:
        """The change of a share in percentage points."""
        if now is None or then is None:
            return ""
        return self._said(100.0 * (now - then), "pp", NOTHING)

    def decibels(self, now: float | None, then: float | None) -> str:
        """The change of an SQNR."""
        if now is None or then is None or math.isnan(now) or math.isnan(then):
            return ""
        return self._said(0.0 if now == then else now - then, "dB", NOTHING)

    def percent(self, now: float | None, then: float | None, least: float = NOTHING_PERCENT) -> str:
        """The change of a size or a time."""
        if now is None or not then:
            return ""
        return self._said(100.0 * (now / then - 1.0), "%", least)

    def _said(self, gap: float, unit: str, least: float) -> str:
        gone = "no change" if abs(gap) < least else change(gap, unit)
        return f"{gone} {self.name}"


def since(step: int, figures: Figures) -> Reference:
    """The step that the shown one was made from."""
    return Reference(name=f"since step {step}", figures=figures)


def to_baseline(name: str, figures: Figures) -> Reference:
    """The pinned version."""
    return Reference(name=f"to {short(name, 16)}", figures=figures)
