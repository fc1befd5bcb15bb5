"""What a figure was measured over, in words: every figure that is shown says it."""

from dataclasses import dataclass
from enum import StrEnum

from quantscope.ui.content.text import plural


class Data(StrEnum):
    """Where samples come from, as it is said."""

    EVALUATION = "evaluation"
    CALIBRATION = "calibration"
    RANDOM = "random"


WHY = {
    Data.EVALUATION: "",
    Data.CALIBRATION: "The ranges were set on these samples, so that figures on others may be worse. "
    "Give evaluation data on the Open page.",
    Data.RANDOM: "These samples are random numbers: no figure tells how the model does on real data. "
    "Give data on the Open page.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """The samples behind a figure."""

    samples: int
    total: int  # that there are of the kind; at least `samples`
    data: Data

    @property
    def words(self) -> str:
        """`1,000 evaluation samples`, or `16 of 1,000 evaluation samples`."""
        if self.samples < self.total:
            return f"{self.samples:,} of {self.short_total}"
        return self.short_total

    @property
    def short_total(self) -> str:
        """All samples of the kind."""
        return plural(self.total, f"{self.data} sample")

    @property
    def note(self) -> str:
        """`16 evaluation samples`: how many a figure is over, where there is little room."""
        return plural(self.samples, f"{self.data} sample")

    @property
    def unseen(self) -> bool:
        """Whether figures of quality can be trusted: the samples are real, and set no range."""
        return self.data is Data.EVALUATION

    @property
    def why(self) -> str:
        """What to bear in mind with figures of quality; nothing where they can be trusted."""
        return WHY[self.data]

    @property
    def markdown(self) -> str:
        """The words, amber where figures of quality cannot be trusted."""
        return self.words if self.unseen else f":orange[{self.words}]"
