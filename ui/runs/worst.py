"""The layers that cost the model's output most: the one place that every page asks.

Once Sensitivity has ranked the shown recipe's layers, its ranking is the answer. Before that it is what the
preview tells: where the cumulative SQNR falls off a cliff, and whose error can reach the output.
"""

from dataclasses import dataclass

from quantscope.ui.content.costs import Cost
from quantscope.ui.runs import measured
from quantscope.ui.session.state import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstLayer:
    """A layer that costs the output much."""

    layer: str  # its name
    words: str  # what it costs, with its figure, what that means, and over which samples
    cost: Cost  # the same in parts

    @property
    def flagged(self) -> bool:
        """Whether it stands out; the worst of a good recipe does not."""
        return self.cost.flagged


def worst(now: Session, count: int = 3) -> tuple[WorstLayer, ...]:
    """The layers that cost the output most, worst first; fewer where fewer cost anything.

    Nothing is waited for: what is not measured yet is asked for, and the order may change when it is there.
    """
    found = measured.table(now).costs[:count]
    return tuple(WorstLayer(layer=cost.layer, words=cost.sentence, cost=cost) for cost in found)


def ranked(now: Session) -> bool:
    """Whether the order is that of a whole ranking of the shown recipe."""
    return measured.table(now).ranked
