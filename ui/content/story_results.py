"""The slides with this project's results: what was saved, what it cost, where it shows, what was done."""

import math

from quantscope.ui.content import text
from quantscope.ui.content.story_facts import Cost, Facts, Saving, Shown
from quantscope.ui.content.story_images import line_of, png_of
from quantscope.ui.content.story_records import (
    Bar,
    BarGroup,
    Bars,
    Deed,
    Example,
    Figure,
    Figures,
    Gallery,
    Hundred,
    Hundreds,
    Journey,
    Said,
    Slide,
    Tone,
)
from quantscope.ui.content.story_sentence import (
    FEW,
    headline,
    hundred,
    int_name,
    of,
    off,
    off_words,
    size,
)

MEASURING = "This is being measured; the slide fills in by itself."
EXAMPLES = 6  # samples shown
SAME_SPEED = 0.05  # relative


def opening(facts: Facts) -> Slide:
    """The whole story on one slide."""
    said = headline(facts)
    return Slide(
        key="opening",
        title=text.plain(facts.name),
        sentences=(said or facts.error or MEASURING,),
        picture=Figures(items=tuple(_opening_figures(facts))),
        alt="",
        basis=_basis(facts),
        notes=(
            "Say the sentence, then go on: every figure here is explained on the next slides.",
            "“Original” is the network before quantization, which computes with 32 bits (float).",
        ),
        waiting=facts.measuring and not said,
    )


def saved(facts: Facts) -> Slide | None:
    """Size and speed."""
    found = facts.saving
    if found is None:
        return _not_yet(facts, "saved", "What was saved") if not facts.all_float else None
    words = size(facts)
    title = f"{words[0].upper()}{words[1:]}"
    sentences = [
        f"It takes {text.size(found.quantized_bytes)}; the original takes {text.size(found.float_bytes)}."
    ]
    if found.quantized_bytes > found.float_bytes:
        sentences[0] += (
            " With so few weights, the notes on ranges and steps that go with the file weigh more than what is saved."
        )
    time = _time_words(facts)
    groups = [_sizes(found)]
    if found.latency is not None and (times := _times(found)) is not None:
        groups.append(times)
    return Slide(
        key="saved",
        title=title,
        sentences=(*sentences, *time),
        picture=Bars(groups=tuple(groups)),
        alt=" ".join((*sentences, *time)),
        basis=_time_basis(found),
        notes=(
            "Size is that of the files as they lie on disk.",
            "Time depends on the processor far more than size does: measure it on the device that counts.",
        ),
    )


def cost(facts: Facts) -> Slide | None:
    """Right answers, equal answers, or how far outputs are off."""
    found = facts.cost
    if facts.all_float:
        return None
    if found is None:
        return _not_yet(facts, "cost", "What it cost")
    if found.right is None and found.agreement is None:
        return _closeness(facts, found)
    labelled = found.right is not None and found.float_right is not None
    share = found.right if labelled else found.agreement
    assert share is not None
    before = facts.outcomes.before if facts.outcomes is not None else None
    first = None if before is None else before.right if labelled else before.agreement
    name, noun = int_name(facts), facts.row_noun
    items = [_hundred("Original", found.float_right if labelled else 1.0, found.rows)]
    if first is not None:
        items.append(_hundred(f"{name} {facts.at_first}", first, found.rows, against=items[0].right))
    items.append(
        _hundred(f"{name} now" if first is not None else name, share, found.rows, against=items[0].right)
    )
    if labelled:
        title = f"{of(share, found.rows)} answers are right; {_bare(found.float_right, found.rows)} are in the original"
        sentences = [f"Each dot stands for one of 100 {noun.many}; the dark ones are answered right."]
    else:
        title = f"{of(share, found.rows)} answers are the same as before"
        sentences = [
            f"Each dot stands for one of 100 {noun.many}; the dark ones get the answer that the original gives. "
            "Which answers are right is not known: the samples have no labels."
        ]
    sentences += _precision_words(share, found.rows, noun.many)
    return Slide(
        key="cost",
        title=title,
        sentences=tuple(sentences),
        picture=Hundreds(items=tuple(items)),
        alt="; ".join(f"{item.name}: {item.value}" for item in items),
        basis=_basis(facts),
        notes=(
            "Zero loss is not the aim by itself: ask how much of a loss the use can bear.",
            f"Counted over {noun.count(found.rows)}; the dots are rounded to whole ones, the figures are not.",
        ),
    )


def _closeness(facts: Facts, found: Cost) -> Slide:
    """For outputs that are no classes: how far they are off."""
    share = off(found.sqnr_db)
    before = facts.outcomes.before if facts.outcomes is not None else None
    first = off(before.sqnr_db) if before is not None else None
    name = int_name(facts)
    if share is None:
        title, sentence = (
            "The outputs cannot be compared",
            (
                "The quantized network gives values that are no numbers any more, or of another shape. "
                "It cannot be used like this."
            ),
        )
        figures: tuple[Figure, ...] = ()
    else:
        title = (
            "The outputs are exactly the same" if share == 0 else f"The outputs are {off_words(share)} off"
        )
        sentence = (
            "That is how far they are from those of the original network, on average, compared with how large "
            "they are."
        )
        items = [Figure(name="Original", value="0 %", note="off by definition")]
        if first is not None:
            items.append(
                Figure(name=f"{name} {facts.at_first}", value=off_words(first), tone=_off_tone(first))
            )
        now = f"{name} now" if first is not None else name
        items.append(Figure(name=now, value=off_words(share), tone=_off_tone(share)))
        figures = tuple(items)
    return Slide(
        key="cost",
        title=title,
        sentences=(
            sentence,
            "Whether that is good enough depends on the use: look at, or listen to, results.",
        ),
        picture=Figures(items=figures) if figures else None,
        alt="; ".join(f"{item.name}: {item.value}" for item in figures),
        basis=_basis(facts),
        notes=(
            f"In the language of engineers: an SQNR of {text.decibel(found.sqnr_db)}.",
            "All outputs are taken together; large ones weigh more than small ones.",
        ),
    )


def examples(facts: Facts) -> Slide | None:
    """Real samples on which it shows."""
    if facts.all_float or facts.cost is None:
        return None
    found = facts.outcomes
    if found is None:
        return _not_yet(facts, "examples", "Where it shows") if facts.measuring else None
    items = tuple(_example(facts, shown) for shown in found.shown[:EXAMPLES])
    classes = any(shown.floats for shown in found.shown)
    repairs = found.repairs
    noun = facts.row_noun
    if classes or repairs is not None:
        changed = 0 if repairs is None else repairs.lost + repairs.newly
        if not items or (repairs is not None and not changed):
            title = "No answer changed"
            sentences: tuple[str, ...] = (
                f"On all {noun.count(found.rows)} both networks answer alike: there is nothing to show.",
            )
            items = ()
        else:
            title = "Where it shows"
            sentences = (_story_of_repairs(facts),) if repairs is not None else ()
    else:
        title = "Where it shows most" if items else "No output changed"
        sentences = (
            (f"The {noun.many} whose outputs are furthest off those of the original, the worst first.",)
            if items
            else ()
        )
    return Slide(
        key="examples",
        title=title,
        sentences=tuple(filter(None, sentences)),
        picture=Gallery(items=items) if items else None,
        alt="; ".join(
            f"{item.name}: {', '.join(f'{s.who} {s.answer}' for s in item.said)}" for item in items
        ),
        basis=_basis(facts),
        notes=(
            "These are real samples, chosen because their answers changed: most others look dull.",
            "Ask the audience what they would have answered.",
        ),
    )


def done(facts: Facts) -> Slide | None:
    """What was done about it, before and after."""
    if facts.all_float:
        return None
    if not facts.deeds:
        good = facts.cost is not None and (facts.cost.sqnr_db or 0) == math.inf
        return Slide(
            key="done",
            title="Nothing had to be done" if good else "Nothing was done about it so far",
            sentences=(
                "These are the results of the usual settings: every range holds all values that were seen."
                if facts.before_label
                else "These are the results of the settings as they are.",
            ),
            notes=("Auto-tune, on the Overview, looks for better settings by itself.",),
        )
    deeds = tuple(Deed(name=name, words=words) for name, words in facts.deeds)
    before = facts.outcomes.before if facts.outcomes is not None else None
    figures = () if before is None or facts.cost is None else _before_after(facts, before, facts.cost)
    return Slide(
        key="done",
        title="What was done about it",
        sentences=(),
        picture=Journey(deeds=deeds, figures=figures),
        alt="; ".join(f"{deed.name}: {deed.words}" for deed in deeds),
        basis=f"Before: {text.plain(facts.before_label)} · {_basis(facts)}",
        notes=(
            "Nothing was trained anew: only ranges and roundings were chosen with more care.",
            "Each of these can be undone on its own.",
        ),
        waiting=facts.measuring and not figures,
    )


def _not_yet(facts: Facts, key: str, title: str) -> Slide:
    words = MEASURING if facts.measuring else facts.error or "This could not be measured."
    return Slide(key=key, title=title, sentences=(words,), waiting=facts.measuring)


def _opening_figures(facts: Facts) -> list[Figure]:
    """The three figures that a listener remembers."""
    figures = []
    found, saving = facts.cost, facts.saving
    waiting = "measuring" if facts.measuring else "not measured"
    if found is not None and found.right is not None and found.float_right is not None:
        figures.append(
            Figure(
                name="Right answers",
                value=of(found.right, found.rows),
                note=f"original {of(found.float_right, found.rows)}",
                tone=_loss_tone(found.float_right - found.right),
            )
        )
    elif found is not None and found.agreement is not None:
        figures.append(
            Figure(
                name="Same answers",
                value=of(found.agreement, found.rows),
                note="as the original",
                tone=_loss_tone(1 - found.agreement),
            )
        )
    elif found is not None:
        share = off(found.sqnr_db)
        value = "–" if share is None else off_words(share)
        tone: Tone = "bad" if share is None else _off_tone(share)
        figures.append(Figure(name="Outputs", value=value, note="off the original's", tone=tone))
    else:
        figures.append(Figure(name="Answers", value="…", note=waiting))
    if saving is None:
        return [
            *figures,
            Figure(name="File", value="…", note=waiting),
            Figure(name="Time", value="…", note=waiting),
        ]
    smaller = saving.quantized_bytes < saving.float_bytes
    figures.append(
        Figure(
            name="File",
            value=text.size(saving.quantized_bytes),
            note=f"original {text.size(saving.float_bytes)}",
            tone="good" if smaller else "warn",
        )
    )
    if saving.latency is not None:
        ratio = saving.latency.float_ms / saving.latency.quantized_ms
        tone = "good" if ratio > 1 + SAME_SPEED else "" if ratio > 1 - SAME_SPEED else "warn"
        figures.append(
            Figure(
                name="Time for one answer",
                value=_ms(saving.latency.quantized_ms),
                note=f"original {_ms(saving.latency.float_ms)}, here",
                tone=tone,
            )
        )
    return figures


def _story_of_repairs(facts: Facts) -> str:
    found = facts.outcomes.repairs if facts.outcomes is not None else None
    if found is None or facts.outcomes is None:
        return ""
    name, noun = int_name(facts), facts.row_noun
    changed = "got wrong" if facts.outcomes.labelled else "answered otherwise"
    right = "right" if facts.outcomes.labelled else "as before"
    asked = (
        f"Of the {noun.many} that the original gets right"
        if facts.outcomes.labelled
        else f"Of {noun.count(facts.outcomes.rows)}"
    )
    if not facts.before_label or not facts.deeds:
        return f"{asked}, {name} {changed} {found.lost:,}."
    words = f"{asked}, {name} {changed} {found.lost:,} {facts.at_first}. {found.again:,} of them are {right} again"
    if found.newly:
        words += f", and {found.newly:,} {'other is' if found.newly == 1 else 'others are'} {'wrong' if facts.outcomes.labelled else 'changed'} now"
    return f"{words}."


def _example(facts: Facts, shown: Shown) -> Example:
    """One sample with what each network said of it."""
    name = f"{facts.noun.one} {shown.number:,}"
    image = "" if shown.values is None else png_of(shown.values, channels_last=shown.channels_last)
    line = () if shown.values is None or image else line_of(shown.values)
    said: list[Said] = []
    quantized = int_name(facts)
    changed = bool(facts.before_label and facts.deeds)
    if shown.floats:
        truth = shown.right or shown.floats
        if shown.right:
            said.append(Said(who="right answer", answer=shown.right))
        if not shown.right or shown.floats != shown.right:
            said.append(Said(who="original", answer=shown.floats, tone="" if not shown.right else "bad"))
        if changed and shown.before:
            said.append(
                Said(
                    who=f"{quantized} {facts.at_first}",
                    answer=shown.before,
                    tone=_right_tone(shown.before, truth),
                )
            )
        who = f"{quantized} now" if changed else quantized
        said.append(Said(who=who, answer=shown.now, tone=_right_tone(shown.now, truth)))
    else:
        if changed and shown.before_off is not None:
            said.append(
                Said(who=f"{quantized} {facts.at_first}", answer=f"{off_words(shown.before_off)} off")
            )
        if shown.now_off is not None:
            said.append(
                Said(
                    who=f"{quantized} now" if changed else quantized, answer=f"{off_words(shown.now_off)} off"
                )
            )
    words = (
        ""
        if image or line
        else f"{facts.noun.one[0].upper()}{facts.noun.one[1:]} {shown.number:,} of {facts.trust.samples:,}"
    )
    return Example(name=name, image=image, line=line, words=words, said=tuple(said))


def _before_after(facts: Facts, before: Cost, now: Cost) -> tuple[Figure, ...]:
    if now.right is not None and before.right is not None:
        name, first, last = "Right answers", of(before.right, before.rows), of(now.right, now.rows)
        tone = _loss_tone(before.right - now.right)
    elif now.agreement is not None and before.agreement is not None:
        name, first, last = (
            "Same answers as the original",
            of(before.agreement, before.rows),
            of(now.agreement, now.rows),
        )
        tone = _loss_tone(before.agreement - now.agreement)
    else:
        was, is_ = off(before.sqnr_db), off(now.sqnr_db)
        if was is None or is_ is None:
            return ()
        name, first, last = "Outputs off the original's", off_words(was), off_words(is_)
        tone = "good" if is_ < was else "" if is_ == was else "warn"
    return (
        Figure(name=facts.at_first[0].upper() + facts.at_first[1:], value=first, note=name.lower()),
        Figure(name="Now", value=last, note=name.lower(), tone=tone),
    )


def _hundred(name: str, share: float | None, rows: int, against: int | None = None) -> Hundred:
    share = share or 0.0
    right = round(100 * share)
    right = min(right, 99) if share < 1 else right
    loss = 0 if against is None else against - right
    tone: Tone = "" if against is None else "good" if loss <= 1 else "warn" if loss <= 5 else "bad"
    return Hundred(name=name, right=right, value=of(share, rows), tone=tone)


def _bare(share: float | None, rows: int) -> str:
    """A share without "of 100"."""
    if share is None:
        return "–"
    return f"{round(share * rows):,}" if rows < FEW else hundred(share)


def _precision_words(share: float, rows: int, many: str) -> list[str]:
    """How exact a share over so many samples is: Wilson's interval at 95 %, in points of a hundred."""
    z = 1.96
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    points = 100 * half
    digits = f"{points:.1f}" if points < 10 else f"{points:.0f}"
    return [f"With {rows:,} {many} tested, such a figure is exact to about ±{digits} of 100."]


def _right_tone(answer: str, truth: str) -> Tone:
    return "good" if answer == truth else "bad"


def _loss_tone(loss: float) -> Tone:
    return "good" if loss <= 0.01 else "warn" if loss <= 0.05 else "bad"


def _off_tone(share: float) -> Tone:
    return "good" if share <= 0.03 else "warn" if share <= 0.15 else "bad"


def _ms(value: float) -> str:
    return f"{value:#.3g} ms".replace(". ", " ")


def _sizes(found: Saving) -> BarGroup:
    largest = max(found.float_bytes, found.quantized_bytes, 1)
    change = 100 * (found.quantized_bytes / max(1, found.float_bytes) - 1)
    return BarGroup(
        name="File",
        bars=(
            Bar(name="original", value=text.size(found.float_bytes), length=found.float_bytes / largest),
            Bar(
                name="quantized",
                value=text.size(found.quantized_bytes),
                length=found.quantized_bytes / largest,
                tone="good" if change < 0 else "warn",
            ),
        ),
        change=f"{change:+.0f} %".replace("-", "−"),
        tone="good" if change < 0 else "warn",
    )


def _times(found: Saving) -> BarGroup | None:
    latency = found.latency
    if latency is None:
        return None
    longest = max(latency.float_ms, latency.quantized_ms)
    ratio = latency.quantized_ms / latency.float_ms
    same = abs(ratio - 1) < SAME_SPEED
    tone: Tone = "" if same else "good" if ratio < 1 else "warn"
    change = "same" if same else f"{1 / ratio:.1f}× faster" if ratio < 1 else f"{ratio:.1f}× slower"
    return BarGroup(
        name="Time for one answer, on this computer",
        bars=(
            Bar(name="original", value=_ms(latency.float_ms), length=latency.float_ms / longest),
            Bar(
                name="quantized",
                value=_ms(latency.quantized_ms),
                length=latency.quantized_ms / longest,
                tone=tone,
            ),
        ),
        change=change,
        tone=tone,
    )


def _time_words(facts: Facts) -> list[str]:
    """Honest words on speed."""
    latency = facts.saving.latency if facts.saving is not None else None
    if latency is None:
        return ["How fast it is was not measured."]
    ratio = latency.quantized_ms / latency.float_ms
    if ratio < 1 - SAME_SPEED:
        return [
            f"On this computer one answer takes {_ms(latency.quantized_ms)} instead of {_ms(latency.float_ms)}."
        ]
    same = ratio < 1 + SAME_SPEED
    how = "takes as long as before" if same else f"takes {ratio:.1f} times as long as before"
    if facts.trust.slow_integers:
        why = (
            f"this computer's processor has no fast instructions for {int_name(facts)}, "
            "which newer ones and many small chips do have"
        )
    else:
        why = "small networks spend their time on other things than computing"
    return [f"On this computer one answer {how}: {why}. Measure on the device that counts."]


def _time_basis(found: Saving) -> str:
    if found.latency is None:
        return "Sizes of the files"
    return (
        f"Sizes of the files · middle of {found.latency.runs:,} runs, "
        f"{text.plural(found.latency.threads, 'thread')}, ONNX Runtime"
    )


def _basis(facts: Facts) -> str:
    trust = facts.trust
    if trust.synthetic:
        return f"{trust.samples:,} made-up inputs: not a measure of quality"
    if not trust.samples:
        return ""
    which = "evaluation" if trust.evaluation else "calibration"
    return f"Measured on {trust.samples:,} {which} samples, against the original network"
