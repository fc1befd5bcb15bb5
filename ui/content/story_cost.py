"""The slide on what it cost: right answers out of a hundred, equal ones, or how far outputs are off."""

import math

from quantscope.ui.content import text
from quantscope.ui.content.story_facts import Cost, Facts
from quantscope.ui.content.story_records import Figure, Figures, Hundred, Hundreds, Slide, Tone
from quantscope.ui.content.story_sentence import FEW, before_name, hundred, int_name, of, off, off_words
from quantscope.ui.content.story_shared import basis, caution, loss_tone, not_yet, off_tone


def cost(facts: Facts) -> Slide | None:
    """What quantization cost, as far as it can be said; None where nothing is quantized."""
    found = facts.cost
    if facts.all_float:
        return None
    if found is None:
        return not_yet(facts, "cost", "What it cost")
    if found.right is not None and found.float_right is not None:
        return _answers(facts, found, found.float_right, found.right)
    if found.agreement is not None:
        return _agreement(facts, found, found.agreement)
    return _closeness(facts, found)


def _answers(facts: Facts, found: Cost, before: float, now: float) -> Slide:
    """Where the right answers are known."""
    noun, first = facts.row_noun, _before(facts)
    original = f"{round(before * found.rows):,}" if found.rows < FEW else hundred(before)
    luck = " That more are right than in the original is most likely chance." if now > before else ""
    return _dots(
        facts,
        found,
        title=f"{of(now, found.rows)} answers are right, {original} in the original",
        sentence=f"The dots show it for 100 {noun.many}; the filled ones are answered right.{luck}",
        shares=(before, None if first is None else first.right, now),
    )


def _agreement(facts: Facts, found: Cost, share: float) -> Slide:
    """Where only answers can be compared."""
    noun, first = facts.row_noun, _before(facts)
    return _dots(
        facts,
        found,
        title=f"{of(share, found.rows)} answers are the same as before"
        if noun == facts.noun
        else f"{of(share, found.rows)} {noun.many} get the same answer as before",
        sentence=f"The dots show it for 100 {noun.many}; the filled ones get the original's answer. "
        "Which answers are right is not known: the samples have no labels.",
        shares=(1.0, None if first is None else first.agreement, share),
    )


def _dots(
    facts: Facts, found: Cost, *, title: str, sentence: str, shares: tuple[float, float | None, float]
) -> Slide:
    """A hundred dots for the original, the version before and the shown one."""
    original, first, now = shares
    name, rows = int_name(facts), found.rows
    items = [_hundred("Original", original, rows)]
    if first is not None:
        items.append(_hundred(before_name(facts), first, rows, against=original))
    items.append(_hundred(name if first is None else f"{name} now", now, rows, against=original))
    return Slide(
        key="cost",
        title=title,
        sentences=(sentence, _counted(facts, now, rows)),
        picture=Hundreds(items=tuple(items)),
        alt="; ".join(f"{item.name}: {item.value}" for item in items),
        basis=basis(facts),
        caution=caution(facts),
        notes=(
            "Zero loss is not the aim by itself: ask how much of a loss the use can bear.",
            f"Counted over {facts.row_noun.count(rows)}. Dots are rounded to whole ones, figures are not.",
        ),
    )


def _closeness(facts: Facts, found: Cost) -> Slide:
    """For outputs that are no classes: how far they are off."""
    share = off(found.sqnr_db)
    if share is None:
        return Slide(
            key="cost",
            title="The outputs cannot be compared",
            sentences=(
                "The quantized network gives values that are no numbers any more, or of another shape. "
                "It cannot be used like this.",
            ),
            basis=basis(facts),
            caution=caution(facts),
        )
    items = _off_figures(facts, share)
    exact = share == 0
    return Slide(
        key="cost",
        title="The outputs are exactly the same" if exact else f"The outputs are {off_words(share)} off",
        sentences=(
            "That is how far they are from those of the original network on average, compared with how large "
            "they are.",
            "Whether it is good enough depends on the use: look at results, or listen to them.",
        ),
        picture=Figures(items=items),
        alt="; ".join(f"{item.name}: {item.value}" for item in items),
        basis=basis(facts),
        caution=caution(facts),
        notes=(
            f"In the language of engineers: an SQNR of {text.decibel(found.sqnr_db)}.",
            "All outputs are taken together; large ones weigh more than small ones.",
        ),
    )


def _off_figures(facts: Facts, share: float) -> tuple[Figure, ...]:
    before, name = _before(facts), int_name(facts)
    first = off(before.sqnr_db) if before is not None else None
    items = [Figure(name="Original", value="0 %", note="what the others are held against")]
    if first is not None:
        items.append(
            Figure(
                name=before_name(facts),
                value=off_words(first),
                note="off the original's outputs",
                tone=off_tone(first),
            )
        )
    now = name if first is None else f"{name} now"
    items.append(
        Figure(name=now, value=off_words(share), note="off the original's outputs", tone=off_tone(share))
    )
    return tuple(items)


def _before(facts: Facts) -> Cost | None:
    return facts.outcomes.before if facts.outcomes is not None else None


def _hundred(name: str, share: float, rows: int, against: float | None = None) -> Hundred:
    right = round(100 * share)
    if share < 1:
        right = min(right, 99)  # one that is wrong is seen
    loss = 0.0 if against is None else against - share
    tone: Tone = "" if against is None else loss_tone(loss)
    return Hundred(name=name, right=right, value=of(share, rows), tone=tone)


def _counted(facts: Facts, share: float, rows: int) -> str:
    """How much was counted, and how exact that is; pixels of an image are too alike to say so of them."""
    if facts.row_noun == facts.noun:
        return _margin(share, rows, facts.row_noun.many)
    return f"Counted over {facts.row_noun.count(rows)} of {facts.noun.count(facts.trust.samples)}."


def _margin(share: float, rows: int, many: str) -> str:
    """How exact a share over so many samples is: Wilson's interval at 95 %, in points of a hundred."""
    z = 1.96
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    points = 100 * half
    digits = f"{points:.1f}" if points < 10 else f"{points:.0f}"
    return f"Tested on {rows:,} {many}: by chance alone, such a figure can be off by about {digits} of 100."
