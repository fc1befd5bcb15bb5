"""Slides as data: what is said, what is drawn and what the speaker adds, without a word of how it is drawn.

The page, the file to send and a report draw the same records. A picture is one of the records below; its
`kind` is what tells them apart where they have become JSON.
"""

from dataclasses import dataclass
from typing import Literal

from quantscope.ui.content.sample_parts import DrawnBox

Tone = Literal["", "good", "warn", "bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A word that a listener may not know."""

    word: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One large figure."""

    name: str
    value: str
    note: str = ""
    tone: Tone = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A few large figures side by side."""

    items: tuple[Figure, ...]
    kind: Literal["figures"] = "figures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bits:
    """One number as it is stored in float and as a whole number."""

    before: str  # the number in float
    after: str  # the whole number that stands for it
    after_bits: int
    before_bits: int = 32
    kind: Literal["bits"] = "bits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A place on an axis, 0 to 1, with its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """A range over an axis; places from 0 to 1."""

    name: str
    low: float
    high: float
    note: str
    tone: Tone = ""
    steps: float = 0.0  # width of a step on the axis, 0 to 1; 0: not drawn
    offset: float = 0.0  # from `low` to the first border of a step
    onward: bool = False  # it goes on beyond the axis, upwards
    backward: bool = False  # and downwards


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How often values occur, and the ranges that are kept of them."""

    heights: tuple[float, ...]  # of equally wide bars over the axis, 0 to 1
    ticks: tuple[Tick, ...]
    brackets: tuple[Bracket, ...] = ()
    callout: Tick | None = None  # what is to be seen at one place
    label: str = ""  # of the axis
    kind: Literal["histogram"] = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Staircase:
    """A few steps of the many: a value goes in below, the step that is stored comes out at the left."""

    heights: tuple[float, ...]  # histogram of the shown window, 0 to 1
    levels: tuple[float, ...]  # places of the steps on both axes, 0 to 1, ascending
    ticks: tuple[Tick, ...]
    example: tuple[float, float]  # a value, and the step it becomes; 0 to 1
    example_words: str
    caption: str
    kind: Literal["staircase"] = "staircase"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of a pair."""

    name: str
    value: str
    length: float  # 0 to 1
    tone: Tone = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarGroup:
    """Bars of one quantity."""

    name: str
    bars: tuple[Bar, ...]
    change: str = ""
    tone: Tone = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Quantities before and after."""

    groups: tuple[BarGroup, ...]
    kind: Literal["bars"] = "bars"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hundred:
    """A hundred answers, so many of them right."""

    name: str
    right: int  # of a hundred
    value: str
    note: str = ""
    tone: Tone = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hundreds:
    """Right answers out of a hundred, of two or three networks."""

    items: tuple[Hundred, ...]
    kind: Literal["hundreds"] = "hundreds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one network answered."""

    who: str
    answer: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A sample, or what a network makes of it, as a picture."""

    caption: str
    src: str  # data URI
    square: bool  # pixels are seen as squares
    boxes: tuple[DrawnBox, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One real sample."""

    name: str
    image: str = ""  # data URI of a PNG
    line: tuple[float, ...] = ()  # a signal, 0 to 1
    text: str = ""  # how a text begins
    words: str = ""  # where it is none of these
    said: tuple[Said, ...] = ()
    shots: tuple[Shot, ...] = ()  # what goes in, and what each network makes of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Real samples, with what each network answered."""

    items: tuple[Example, ...]
    kind: Literal["gallery"] = "gallery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One thing that was done."""

    name: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """What was done, and the figure before and after."""

    deeds: tuple[Deed, ...]
    figures: tuple[Figure, ...] = ()
    kind: Literal["journey"] = "journey"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was or remains to be checked."""

    name: str
    words: str
    done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Checklist:
    """What was checked and what was not."""

    items: tuple[Check, ...]
    kind: Literal["checklist"] = "checklist"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """All terms of the deck with their meanings."""

    items: tuple[Term, ...]
    kind: Literal["words"] = "words"


Picture = Figures | Bits | Histogram | Staircase | Bars | Hundreds | Gallery | Journey | Checklist | Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Slide:
    """One screen with one idea."""

    key: str  # the same in every deck
    title: str
    sentences: tuple[str, ...]
    picture: Picture | None = None
    alt: str = ""  # the picture in words, for who cannot see it
    basis: str = ""  # over which samples, against what
    caution: bool = False  # the basis is one that figures cannot be trusted on
    notes: tuple[str, ...] = ()  # what the speaker may add
    terms: tuple[Term, ...] = ()  # explained here, where they are first used
    waiting: bool = False  # its figures are being measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Deck:
    """A presentation of one project."""

    title: str
    headline: str  # the whole story in one plain sentence
    slides: tuple[Slide, ...]
    banner: str = ""  # what every slide has to say first, as that its figures mean nothing
