"""The slides that explain quantization in pictures, on a tensor of the project itself."""

from dataclasses import replace

from quantscope.core.calibration import Histogram as Counts
from quantscope.core.quant import Encoding
from quantscope.core.words import plural
from quantscope.ui.content import text
from quantscope.ui.content.story_facts import Facts, ValuesOfTensor
from quantscope.ui.content.story_pictures import (
    histogram,
    outside,
    quantile,
    staircase,
    with_outliers,
    zoomed,
)
from quantscope.ui.content.story_records import Bits, Bracket, Histogram, Slide, Tick
from quantscope.ui.content.story_sentence import int_name
from quantscope.ui.content.story_shared import everyday, sentence_case

MIDDLE = (0.025, 0.975)  # "most values"
Ranges = tuple[tuple[Encoding, Bracket], ...]


def idea(facts: Facts) -> Slide:
    """What is exchanged: numbers of 32 bits, or 16, for whole numbers of 8."""
    shares = {0.25: "a quarter of the room", 0.5: "half the room"}
    share = shares.get(facts.bits / facts.float_bits, "as much room")
    weight = facts.weight
    picture = None
    if weight is not None:
        picture = Bits(
            before=f"{weight.value:.6f}".replace("-", "−"),
            after=f"{weight.stored}".replace("-", "−"),
            after_bits=weight.bits,
            before_bits=facts.float_bits,
        )
    return Slide(
        key="idea",
        title="Quantization gives every number less room",
        sentences=(
            f"This network has learned {facts.parameters:,} numbers, its weights. "
            f"In the original, each takes {facts.float_bits} bits of memory.",
            f"Quantization puts whole numbers of {facts.bits} bits in their place ({int_name(facts)}): "
            f"{share}, and many processors compute faster with them.",
        ),
        picture=picture,
        alt=""
        if weight is None
        else f"The weight {weight.value:.6f} in {facts.float_bits} bits, "
        f"and {weight.stored} in {weight.bits}.",
        basis="" if weight is None else "The number shown is a weight of this very network.",
        notes=(
            "A photo saved with fewer colours is a good comparison: smaller, and hardly different if the "
            "colours are chosen well.",
            "The whole numbers alone would mean nothing: with each group of them goes the width of a step.",
        ),
    )


def values(facts: Facts) -> Slide | None:
    """First picture: the real values of a tensor."""
    found = facts.values
    if found is None:
        return None
    counts = found.histogram
    low, high = quantile(counts, MIDDLE[0]), quantile(counts, MIDDLE[1])
    span = counts.max - counts.min
    place = f"“{text.short(found.layer, 32)}”"
    where = f"goes into the network at {place}" if found.is_input else f"leaves the layer {place}"
    return Slide(
        key="values",
        title=f"Picture 1: what {where}",
        sentences=(
            f"{counts.count:,} values passed here while the network looked at "
            f"{facts.noun.count(facts.trust.calibration)}. The histogram counts them.",
            f"Most lie between {_plain(low, span)} and {_plain(high, span)}; "
            f"the smallest is {_plain(counts.min, span)}, the largest {_plain(counts.max, span)}.",
        ),
        picture=with_outliers(histogram(counts, label="value"), counts),
        alt=f"Histogram from {everyday(counts.min)} to {everyday(counts.max)}.",
        basis=_over(facts),
        notes=(
            f"The full name of this place in the network is {text.plain(found.layer)}.",
            "Every layer has such a histogram; this one was chosen because the choice of its range matters.",
            "“Most” means 95 of 100 values.",
        ),
    )


def steps(facts: Facts) -> Slide | None:
    """Second picture: the staircase."""
    found = facts.values
    if found is None:
        return None
    encoding = found.now
    levels = encoding.qmax - encoding.qmin + 1
    picture = staircase(found.histogram, encoding, levels=levels)
    return Slide(
        key="steps",
        title=f"Picture 2: only {levels:,} steps are left",
        sentences=(
            f"{encoding.type.bits} bits tell {levels:,} values apart. Any value in between moves to the "
            "nearest of them, as on a staircase.",
            f"A step is {_step(encoding)} wide here: {picture.example_words}. "
            "Such small errors add up from layer to layer.",
        ),
        picture=picture,
        alt=f"A staircase over {picture.caption}; {picture.example_words}.",
        basis=picture.caption + (" · bars: how many values lie there" if picture.heights else ""),
        notes=(
            "Moving to the nearest step is called rounding; nothing can be off by more than half a step.",
            "The original has billions of steps: its staircase looks like a straight line.",
        ),
    )


def cut(facts: Facts) -> Slide | None:
    """Third picture: the range, and what lies outside."""
    found = facts.values
    if found is None:
        return None
    counts, now = found.histogram, found.now
    lost = _cut_off(counts, now)
    sentences, brackets = _ranges(facts, found, lost)
    window = zoomed(counts, now)
    picture = histogram(counts, label="value", brackets=brackets, window=window)
    return Slide(
        key="cut",
        title="Picture 3: what lies outside is cut off" if lost else "Picture 3: nothing is cut off here",
        sentences=sentences,
        picture=_called_out(picture, counts, lost, whole=window is None),
        alt=" ".join(sentences),
        basis=_over(facts) if window is None else f"{_over(facts)} · only the part around the range is shown",
        notes=(
            "This is the choice that the tool is for. A wide range loses nothing at the ends, but its steps "
            "are coarse for everybody; a narrow one is fine for most, and wrong for a few.",
            "A value that is cut off becomes the end of the range. “Most” means 95 of 100 values.",
            *_widths(found),
        ),
    )


def _widths(found: ValuesOfTensor) -> tuple[str, ...]:
    if found.before is None:
        return ()
    return (f"A step was {_step(found.before)} wide, and is {_step(found.now)} wide now.",)


def _plain(value: float, span: float) -> str:
    """A number in few digits; 0 for what is nothing beside the others."""
    return everyday(0.0 if abs(value) < 1e-4 * span else value, 3)


def _called_out(picture: Histogram, counts: Counts, lost: int, *, whole: bool) -> Histogram:
    """The picture with a mark where outliers are, or where they would be if the axis went on."""
    if whole:
        return with_outliers(picture, counts)
    upward = counts.max >= -counts.min
    if not lost:
        return picture
    words = f"{plural(lost, 'value')} further out, up to {everyday(counts.max if upward else counts.min, 3)}"
    return replace(picture, callout=Tick(at=1.0 if upward else 0.0, label=words))


def _over(facts: Facts) -> str:
    count = facts.noun.count(facts.trust.calibration)
    return f"{count} · heights are logarithmic, so that rare values are seen"


def _ranges(facts: Facts, found: ValuesOfTensor, lost: int) -> tuple[tuple[str, ...], Ranges]:
    """What is said of the range, and the ranges that are drawn: before, if it was another, and now."""
    counts, now, before = found.histogram, found.now, found.before
    used = _used(counts, now)
    cut_now = (
        f"{lost:,} of {counts.count:,} values are cut off" if lost else f"all {counts.count:,} values fit"
    )
    note = f"{plural(used, 'step')} for most values"
    if before is None:
        mark = Bracket(name="range", note=note, low=0, high=0)
        levels = now.qmax - now.qmin + 1
        why = "A few outliers make it so wide: most" if _few_at_the_end(counts, now) else "Most"
        return (
            f"The steps reach {_ends(now)}, which is their range: {cut_now}.",
            f"{why} values share {used:,} of the {levels:,} steps. "
            f"A narrower range would give them more, but cut off {'more' if lost else 'some'}.",
        ), ((now, mark),)
    had = _used(counts, before)
    mark = Bracket(name="range now", note=note, low=0, high=0, tone="good" if used > had else "")
    first = Bracket(
        name=f"range {facts.at_first}", note=f"{plural(had, 'step')} for most values", low=0, high=0
    )
    why = ", because of a few outliers" if _few_at_the_end(counts, before) else ""
    at_first = sentence_case(facts.at_first)
    return (
        f"{at_first} the steps reached {_ends(before)}{why}: most values shared {plural(had, 'step')}.",
        f"Now they reach {_ends(now)}: most values have {plural(used, 'step')}, and {cut_now}.",
    ), ((before, first), (now, mark))


def _ends(encoding: Encoding) -> str:
    return f"from {everyday(float(encoding.low), 3)} to {everyday(float(encoding.high), 3)}"


def _step(encoding: Encoding) -> str:
    return everyday(float(encoding.scale), 3)


def _used(counts: Counts, encoding: Encoding) -> int:
    """Steps that the middle 95 % of the values can use."""
    low = max(quantile(counts, MIDDLE[0]), float(encoding.low))
    high = min(quantile(counts, MIDDLE[1]), float(encoding.high))
    return int(max(0.0, high - low) / float(encoding.scale)) + 1


def _cut_off(counts: Counts, encoding: Encoding) -> int:
    """Values that lie outside of the range by more than rounding."""
    half = float(encoding.scale) / 2
    return outside(counts, float(encoding.low) - half, float(encoding.high) + half)


def _few_at_the_end(counts: Counts, encoding: Encoding) -> bool:
    """Whether less than one value in a hundred fills more than half of the range."""
    low, high = quantile(counts, 0.005), quantile(counts, 0.995)
    width = float(encoding.high) - float(encoding.low)
    return width > 0 and (max(high, 0.0) - min(low, 0.0)) < 0.5 * width
