"""What a deck is told from: measured figures of a project, each None until it is there."""

from dataclasses import dataclass

from quantscope.core.calibration import Histogram
from quantscope.core.evaluate import Latency
from quantscope.core.quant import Encoding
from quantscope.ui.content.story_records import Shot


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun:
    """What a sample is called."""

    one: str
    many: str

    def count(self, number: int) -> str:
        """As "1 image" or "2,000 images"."""
        return f"{number:,} {self.one if number == 1 else self.many}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuesOfTensor:
    """A tensor's values and the range kept of them, before and now."""

    layer: str  # name; of an input, the input's
    is_input: bool
    histogram: Histogram
    now: Encoding  # with one scale
    before: Encoding | None  # None where it is the same


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightExample:
    """A weight of the model, and what is stored for it."""

    value: float
    stored: int
    bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """How the quantized model does over the judged samples."""

    rows: int  # samples, or positions of them
    float_right: float | None  # share; None without labels
    right: float | None
    agreement: float | None  # share of rows with the float model's answer; None where no output is scores
    sqnr_db: float | None  # of all outputs taken as one; None where not finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """Sizes and times."""

    float_bytes: int
    quantized_bytes: int
    latency: Latency | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repairs:
    """Answers of the float model that quantization changed at first, and what became of them.

    With labels, answers that are right in float; without, all.
    """

    lost: int  # changed by quantization at first
    again: int  # of these as in float now
    newly: int  # as in float at first, changed now
    gained: int = 0  # right now, wrong in float; 0 without labels

    @property
    def still(self) -> int:
        """Changed at first and now."""
        return self.lost - self.again


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A sample worth looking at."""

    number: int  # of the sample, as Compare counts: from 0
    right: str  # the right answer; "" where it is not known
    floats: str  # what the float model answered; "" where outputs are no classes
    before: str
    now: str
    image: str = ""  # what goes in, as a data URI; "" where it is no image
    line: tuple[float, ...] = ()  # what goes in, 0 to 1; () where it is no signal
    text: str = ""  # how what goes in begins; "" where it is no text
    shots: tuple[Shot, ...] = ()  # what goes in and what networks make of it, where that can be drawn
    before_off: float | None  # error over signal of its outputs, at first
    now_off: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Sample by sample, before and now."""

    rows: int
    labelled: bool
    repairs: Repairs | None  # None where outputs are no classes, or there is nothing before
    shown: tuple[Shown, ...]
    before: Cost | None  # the same figures as `Facts.cost`, of the version before
    before_encoding: Encoding | None  # of `Facts.values`; None where it is the same, or not comparable


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What the figures rest on."""

    samples: int  # judged
    evaluation: bool  # they were not used to set ranges
    calibration: int  # samples that ranges were set on
    synthetic: bool
    guessing: bool  # the float model itself is right no more often than a guess
    labelled: bool
    lost_outputs: int  # outputs with channels that lost all variation
    default_differs: bool  # a default session on this processor gives other outputs
    slow_integers: bool  # this processor lacks fast integer instructions
    verified: bool | None  # the file was loaded again and gave the same; None: not tried
    float_layers: int  # layers with computation that stay float
    float_weights: float  # share of the model's numbers that belong to them
    layers: int  # layers with computation
    worst: str  # layer that stands out most among those that cost the output; "" if none does
    worst_words: str  # what it costs, for who knows the terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the slides are told from."""

    name: str
    noun: Noun  # of a sample
    row_noun: Noun  # of what is answered: the same, or its positions
    parameters: int
    bits: int  # of the quantized layers
    float_bits: int = 32  # of the original's weights
    before_label: str  # of the version that this is held against; "" where it is the same
    before_name: str  # that the user gave it; "" = it is the first one
    deeds: tuple[tuple[str, str], ...]  # name and words of what was done since
    untouched: bool  # the recipe is the one that every project begins with
    weight: WeightExample | None
    values: ValuesOfTensor | None
    cost: Cost | None
    saving: Saving | None
    outcomes: Outcomes | None
    trust: Trust
    measuring: bool  # what is not there is on its way
    error: str = ""  # why it will not come

    @property
    def at_first(self) -> str:
        """When the version was that this is held against."""
        return f"in “{self.before_name}”" if self.before_name else "at first"

    @property
    def all_float(self) -> bool:
        """Whether nothing is quantized."""
        return self.trust.float_layers == self.trust.layers
