"""The slides with this project's results: all in one sentence, on which samples it shows, what was done."""

from quantscope.ui.content import text
from quantscope.ui.content.outcome import SAME_SPEED
from quantscope.ui.content.story_facts import Cost, Facts, Outcomes, Saving, Shown
from quantscope.ui.content.story_records import (
    Deed,
    Example,
    Figure,
    Figures,
    Gallery,
    Journey,
    Said,
    Slide,
    Tone,
)
from quantscope.ui.content.story_sentence import (
    before_name,
    headline,
    int_name,
    of,
    off,
    off_words,
    who_before,
)
from quantscope.ui.content.story_shared import (
    MEASURING,
    basis,
    caution,
    loss_tone,
    not_yet,
    off_tone,
    sentence_case,
)

EXAMPLES = 6  # samples shown
TEXTS = 4  # where they are texts, which need room to be read
DRAWN = 2  # of those with a picture of what each network makes of it
SAME_SIZE = 0.005  # relative
FINE = 0.005  # share of answers, or of the outputs' size, that may be lost without a word
POSSIBLE = (
    ("Choose ranges with care", "Cut off rare values, so that all others get finer steps."),
    ("Balance neighbouring layers", "Let no part of a layer be much larger than the rest."),
    ("Round better", "Look at what a layer gives, not at each number alone."),
    ("Give weak layers more room", "Keep them in 16 bits, or as they were."),
)


def opening(facts: Facts) -> Slide:
    """The whole story on one slide."""
    said = headline(facts)
    return Slide(
        key="opening",
        title=text.plain(facts.name),
        sentences=(said or (MEASURING if facts.measuring else facts.error),),
        picture=Figures(items=(_quality(facts), *_economy(facts, facts.saving))),
        basis=basis(facts),
        caution=caution(facts),
        notes=(
            "Say the sentence, then go on: every figure here is explained on the next slides.",
            "“Original” is the network before quantization, which computes with 32 bits (float).",
        ),
        waiting=facts.measuring and not said,
    )


def examples(facts: Facts) -> Slide | None:
    """Real samples on which it shows."""
    if facts.all_float or facts.cost is None:
        return None
    found = facts.outcomes
    if found is None:
        return not_yet(facts, "examples", "Where it shows")
    drawn = [shown for shown in found.shown if shown.shots][:DRAWN]
    most = TEXTS if any(shown.text for shown in found.shown) else EXAMPLES
    items = tuple(_example(facts, shown) for shown in drawn or found.shown[:most])
    noun, repairs = facts.row_noun, found.repairs
    picture: Figures | Gallery | None = Gallery(items=items) if items else None
    if repairs is not None:
        title, sentence = "Where it shows", _told(facts)
        if not repairs.lost and not repairs.newly:
            title = "No right answer was lost" if found.labelled else "No answer changed"
            alike = " that the original gets right" if found.labelled else ""
            sentence = f"{int_name(facts)} answers all {noun.many}{alike} as the original does."
            items, picture = (), _all_alike(facts, found)
    elif items:
        title = "Where it shows most"
        sentence = f"The {facts.noun.many} whose outputs are furthest from the original's, the worst first."
        if noun != facts.noun:
            sentence = (
                f"The {facts.noun.many} with the most {noun.many} that get another answer, the worst first."
            )
    else:
        title, sentence = "Nothing changed", f"On all {facts.noun.many} both networks give the same."
    return Slide(
        key="examples",
        title=title,
        sentences=(sentence,),
        picture=picture,
        alt="; ".join(_in_words(item) for item in items) or sentence,
        basis=basis(facts),
        caution=caution(facts),
        notes=(
            "These are real samples, chosen because they changed most: nearly all others look dull.",
            "Ask the audience what they would have answered.",
        ),
    )


def _all_alike(facts: Facts, found: Outcomes) -> Figures:
    """That nothing was lost, in figures."""
    lost = "Right answers lost" if found.labelled else "Answers changed"
    return Figures(
        items=(
            Figure(
                name=f"{sentence_case(facts.row_noun.many)} compared",
                value=f"{found.rows:,}",
                note="one by one",
            ),
            Figure(
                name=lost,
                value="0",
                note=f"by {int_name(facts)}",
                tone="" if facts.trust.synthetic else "good",
            ),
        )
    )


def done(facts: Facts) -> Slide | None:
    """What was done about it, before and after."""
    if facts.all_float:
        return None
    if not facts.deeds:
        return _nothing_done(facts)
    before = facts.outcomes.before if facts.outcomes is not None else None
    figures = () if before is None or facts.cost is None else _before_after(facts, before, facts.cost)
    return Slide(
        key="done",
        title="What was done about it",
        sentences=(),
        picture=Journey(
            deeds=tuple(Deed(name=name, words=words) for name, words in facts.deeds), figures=figures
        ),
        alt="; ".join(f"{name}: {words}" for name, words in facts.deeds),
        basis=f"Before: {text.plain(facts.before_label)} · {basis(facts)}",
        caution=caution(facts),
        notes=(
            "Nothing was trained anew: only ranges and roundings were chosen with more care.",
            "Each of these can be undone on its own.",
        ),
        waiting=facts.measuring and not figures,
    )


def _nothing_done(facts: Facts) -> Slide:
    used = (
        "The usual settings were used: every range holds all values that were seen, outliers included."
        if facts.untouched
        else "The settings are those that everything is held against."
    )
    notes = ("Auto-tune, on the Overview, looks for better settings by itself.",)
    if _fine(facts):
        kept = _quality(facts)
        return Slide(
            key="done",
            title="Nothing had to be done",
            sentences=(used, "They keep nearly all of what the original does."),
            picture=Figures(items=(kept,)),
            alt=f"{kept.name}: {kept.value}, {kept.note}",
            basis=basis(facts),
            caution=caution(facts),
            notes=notes,
        )
    return Slide(
        key="done",
        title="Nothing was done about it so far",
        sentences=(used, "This is what can be done:"),
        picture=Journey(deeds=tuple(Deed(name=name, words=words) for name, words in POSSIBLE)),
        alt="; ".join(name for name, _ in POSSIBLE),
        notes=notes,
    )


def _fine(facts: Facts) -> bool:
    """Whether hardly anything was lost."""
    found = facts.cost
    if found is None or facts.trust.synthetic:
        return False
    if found.right is not None and found.float_right is not None:
        return found.float_right - found.right <= FINE
    if found.agreement is not None:
        return 1 - found.agreement <= FINE
    share = off(found.sqnr_db)
    return share is not None and share <= FINE


def _quality(facts: Facts) -> Figure:
    """What it costs, in one figure."""
    found = facts.cost
    if found is None:
        return Figure(name="Answers", value="…", note="measuring" if facts.measuring else "not measured")
    if facts.trust.synthetic:
        return Figure(name="Answers", value="unknown", note="no real samples were given", tone="warn")
    if found.right is not None and found.float_right is not None:
        return Figure(
            name="Right answers",
            value=of(found.right, found.rows),
            note=f"original {of(found.float_right, found.rows)}",
            tone=loss_tone(found.float_right - found.right),
        )
    if found.agreement is not None:
        return Figure(
            name="Same answers",
            value=of(found.agreement, found.rows),
            note="as the original gives",
            tone=loss_tone(1 - found.agreement),
        )
    share = off(found.sqnr_db)
    return Figure(
        name="Outputs",
        value="broken" if share is None else "the same" if share == 0 else f"{off_words(share)} off",
        note="against the original's",
        tone="bad" if share is None else off_tone(share),
    )


def _economy(facts: Facts, saving: Saving | None) -> list[Figure]:
    """What it saves, in two figures."""
    if saving is None:
        note = "measuring" if facts.measuring else "not measured"
        return [Figure(name=name, value="…", note=note) for name in ("File", "Time for one answer")]
    change = saving.quantized_bytes / max(1, saving.float_bytes) - 1
    tone: Tone = "" if abs(change) < SAME_SIZE else "good" if change < 0 else "warn"
    size, before = text.size(saving.quantized_bytes), text.size(saving.float_bytes)
    figures = [Figure(name="File", value=size, note=f"original {before}", tone=tone)]
    if saving.latency is not None:
        ratio = saving.latency.float_ms / saving.latency.quantized_ms
        tone = "good" if ratio > 1 + SAME_SPEED else "" if ratio > 1 - SAME_SPEED else "warn"
        figures.append(
            Figure(
                name="Time for one answer, here",
                value=text.milliseconds(saving.latency.quantized_ms),
                note=f"original {text.milliseconds(saving.latency.float_ms)}",
                tone=tone,
            )
        )
    return figures


def _told(facts: Facts) -> str:
    """What became of answers that quantization changed."""
    outcomes = facts.outcomes
    if outcomes is None or outcomes.repairs is None:
        return ""
    found, name, noun = outcomes.repairs, int_name(facts), facts.row_noun
    labelled = outcomes.labelled
    if labelled:
        asked, changed, right = f"Of the {noun.many} that the original gets right", "wrong", "right"
    else:
        asked, changed, right = f"Of {noun.count(outcomes.rows)}", "otherwise", "as before"
    if not facts.deeds:
        if not labelled:
            return f"{asked}, {name} answers {found.lost:,} otherwise."
        gained = f" On the other hand, it gets {found.gained:,} right that the original gets wrong."
        return (
            f"{name} gets {noun.count(found.lost)} wrong that the original gets right."
            f"{gained if found.gained else ''}"
        )
    verb = "is" if found.again == 1 else "are"
    again = f"{found.again:,} of them {verb} {right} again"
    if found.again == found.lost > 1:
        again = f"all of them are {right} again"
    verb = "got" if labelled else "answered"
    words = f"{asked}, {who_before(facts)} {verb} {found.lost:,} {changed}"
    words += f"{'' if facts.before_name else ' at first'}; {again}"
    if found.newly:
        others = "other is" if found.newly == 1 else "others are"
        words += f", and {found.newly:,} {others} {'wrong' if labelled else 'changed'} now"
    return f"{words}."


def _example(facts: Facts, shown: Shown) -> Example:
    """One sample with what each network said of it."""
    name = f"sample {shown.number:,}"  # as on Compare; "digit 7" could be a seven
    if shown.shots:
        return Example(name=name, shots=shown.shots, said=tuple(_said(facts, shown)))
    words = "" if shown.image or shown.line or shown.text else sentence_case(name)
    return Example(
        name=name,
        image=shown.image,
        line=shown.line,
        text=shown.text,
        words=words,
        said=tuple(_said(facts, shown)),
    )


def _said(facts: Facts, shown: Shown) -> list[Said]:
    quantized, changed = int_name(facts), bool(facts.deeds)
    first, now = before_name(facts), f"{quantized} now" if changed else quantized
    if not shown.floats:
        unit = "off" if facts.row_noun == facts.noun else "changed"
        offs = ((first, shown.before_off if changed else None), (now, shown.now_off))
        return [
            Said(who=who, answer=f"{off_words(share)} {unit}") for who, share in offs if share is not None
        ]
    truth = shown.right or shown.floats
    said = [Said(who="right answer", answer=shown.right)] if shown.right else []
    if shown.floats != shown.right:
        said.append(Said(who="original", answer=shown.floats, tone="bad" if shown.right else ""))
    if changed:
        said.append(Said(who=first, answer=shown.before, tone=_right_tone(shown.before, truth)))
    return [*said, Said(who=now, answer=shown.now, tone=_right_tone(shown.now, truth))]


def _in_words(item: Example) -> str:
    return f"{item.name}: {', '.join(f'{said.who} {said.answer}' for said in item.said)}"


def _before_after(facts: Facts, before: Cost, now: Cost) -> tuple[Figure, ...]:
    if now.right is not None and before.right is not None:
        name, first, last = "right answers", of(before.right, before.rows), of(now.right, now.rows)
        tone: Tone = "good" if now.right > before.right else "" if now.right == before.right else "warn"
    elif now.agreement is not None and before.agreement is not None:
        name = "same answers as the original"
        first, last = of(before.agreement, before.rows), of(now.agreement, now.rows)
        gain = now.agreement - before.agreement
        tone = "good" if gain > 0 else "" if gain == 0 else "warn"
    else:
        was, is_ = off(before.sqnr_db), off(now.sqnr_db)
        if was is None or is_ is None:
            return ()
        name, first, last = "off the original's outputs", off_words(was), off_words(is_)
        tone = "good" if is_ < was else "" if is_ == was else "warn"
    return (
        Figure(name=sentence_case(facts.at_first), value=first, note=name),
        Figure(name="Now", value=last, note=name, tone=tone),
    )


def _right_tone(answer: str, truth: str) -> Tone:
    return "good" if answer == truth else "bad"
