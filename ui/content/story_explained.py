"""The slides that explain quantization in pictures, on a tensor of the project itself."""

from quantscope.core.calibration import Histogram as Counts
from quantscope.core.quant import Encoding
from quantscope.ui.content import text
from quantscope.ui.content.story_facts import Facts, ValuesOfTensor
from quantscope.ui.content.story_pictures import (
    axis,
    histogram,
    outside,
    quantile,
    staircase,
    with_outliers,
)
from quantscope.ui.content.story_records import Bits, Bracket, Slide
from quantscope.ui.content.story_sentence import int_name

MIDDLE = (0.025, 0.975)  # "most values"


def idea(facts: Facts) -> Slide:
    """What is exchanged: numbers of 32 bits for whole numbers of 8."""
    share = "a quarter" if facts.bits == 8 else "half"
    weight = facts.weight
    picture = None
    if weight is not None:
        picture = Bits(
            before=f"{weight.value:.6f}".replace("-", "−"),
            after=f"{weight.stored}".replace("-", "−"),
            after_bits=weight.bits,
        )
    return Slide(
        key="idea",
        title="Quantization gives every number less room",
        sentences=(
            f"This network has learned {facts.parameters:,} numbers, its weights. "
            "In the original, each takes 32 bits of memory.",
            f"Quantization puts whole numbers of {facts.bits} bits in their place ({int_name(facts)}): "
            f"{share} of the room, and many processors compute faster with them.",
        ),
        picture=picture,
        alt="" if weight is None else f"The weight {weight.value:.6f} in 32 bits, and {weight.stored} in 8.",
        basis="" if weight is None else "The number shown is a weight of this very network.",
        notes=(
            "A photo saved with fewer colours is a good comparison: smaller, and hardly different if the "
            "colours are chosen well.",
            "The whole numbers alone would mean nothing: with each group of them, the length of a step is kept.",
        ),
    )


def values(facts: Facts) -> Slide | None:
    """First picture: the real values of a tensor."""
    found = facts.values
    if found is None:
        return None
    counts = found.histogram
    low, high = quantile(counts, MIDDLE[0]), quantile(counts, MIDDLE[1])
    where = (
        f"goes into the network at “{short(found)}”"
        if found.is_input
        else f"leaves the layer “{short(found)}”"
    )
    return Slide(
        key="values",
        title=f"Picture 1: what {where}",
        sentences=(
            f"While the network looked at {facts.noun.count(facts.trust.calibration)}, {counts.count:,} values "
            "passed here. The histogram counts them.",
            f"Most lie between {text.number(low, 3)} and {text.number(high, 3)}; "
            f"the smallest is {text.number(counts.min, 3)}, the largest {text.number(counts.max, 3)}.",
        ),
        picture=with_outliers(histogram(counts, label="value"), counts),
        alt=f"Histogram of {counts.count:,} values from {text.number(counts.min)} to {text.number(counts.max)}.",
        basis=f"{facts.noun.count(facts.trust.calibration)} · heights on a logarithmic scale, so that rare values are seen",
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
            f"{encoding.type.bits} bits can tell {levels:,} values apart, no more. Every value moves to the nearest one, "
            "as on a staircase.",
            f"A step is {text.number(float(encoding.scale), 3)} wide here: {picture.example_words}. "
            "Such small errors add up from layer to layer.",
        ),
        picture=picture,
        alt=f"A staircase over {picture.caption}; {picture.example_words}.",
        basis=f"{picture.caption} · bars: how many values lie there",
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
    return Slide(
        key="cut",
        title="Picture 3: what lies outside is cut off" if lost else "Picture 3: nothing is cut off here",
        sentences=sentences,
        picture=with_outliers(histogram(counts, label="value", brackets=brackets), counts),
        alt=" ".join(sentences),
        basis=f"{facts.noun.count(facts.trust.calibration)} · heights on a logarithmic scale, so that rare values are seen",
        notes=(
            "This is the choice that the tool is for. A wide range loses nothing at the ends, but its steps are "
            "coarse for everybody; a narrow one is fine for most, and wrong for a few.",
            "A value that is cut off becomes the end of the range.",
        ),
    )


def _ranges(
    facts: Facts, found: ValuesOfTensor, lost: int
) -> tuple[tuple[str, ...], tuple[tuple[Encoding, Bracket], ...]]:
    """What is said of the range, and the ranges that are drawn: before, if it was another, and now."""
    counts, now, before = found.histogram, found.now, found.before
    kept = f"from {text.number(float(now.low), 3)} to {text.number(float(now.high), 3)}"
    step = text.number(float(now.scale), 3)
    if lost:
        cut_now = f"{lost:,} of {counts.count:,} values lie outside and become the nearest end"
    else:
        cut_now = f"all {counts.count:,} values lie inside"
    mark = Bracket(
        name="range now" if before is not None else "range",
        note=f"{_used(counts, now)} steps for most values",
        low=0,
        high=0,
        tone="good" if before is not None and _used(counts, now) > _used(counts, before) else "",
    )
    if before is None:
        return (
            f"The steps have to cover a range. It reaches {kept}: a step is {step} wide, and {cut_now}.",
            "A wider range would make every step coarser; a narrower one would cut off more.",
        ), ((now, mark),)
    first = Bracket(
        name=f"range {facts.at_first}", note=f"{_used(counts, before)} steps for most values", low=0, high=0
    )
    at_first = f"{facts.at_first[0].upper()}{facts.at_first[1:]}"
    was = f"from {text.number(float(before.low), 3)} to {text.number(float(before.high), 3)}"
    why = " because of a few outliers" if _few_at_the_end(counts, before) else ""
    return (
        f"The steps have to cover a range. {at_first} it reached {was}{why}: a step was "
        f"{text.number(float(before.scale), 3)} wide, and most values had to share "
        f"{_used(counts, before):,} of the steps.",
        f"Now it reaches {kept}: a step is {step} wide, most values have {_used(counts, now):,} steps, and {cut_now}.",
    ), ((before, first), (now, mark))


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
    return width > 0 and (max(high, 0.0) - min(low, 0.0)) < 0.5 * width and axis(counts) is not None


def short(found: ValuesOfTensor) -> str:
    """The layer's name, cut where it is long."""
    return text.short(found.layer, 32)
