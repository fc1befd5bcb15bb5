"""The slide that says what remains to be checked before anybody relies on the result."""

from quantscope.ui.content import text
from quantscope.ui.content.story_facts import Facts
from quantscope.ui.content.story_records import Check, Checklist, Slide
from quantscope.ui.content.story_sentence import of, off, off_words
from quantscope.ui.content.story_shared import loss_tone, off_tone

ENOUGH = 500  # samples, for shares to be good to about two points
SHOWN = 6  # points on the slide; the rest is in the notes


def remaining(facts: Facts) -> Slide:
    """What was checked and what was not; the open points first."""
    items = [*_data(facts), *_quality(facts), *_device(facts)]
    items.sort(key=lambda item: item.done)
    still = sum(not item.done for item in items)
    return Slide(
        key="open",
        title=("What remains to be checked" if still else "All that can be checked here was checked"),
        sentences=(),
        picture=Checklist(items=tuple(items[:SHOWN])),
        alt="; ".join(f"{'done' if item.done else 'open'}: {item.name}" for item in items),
        notes=(
            "Say this slide as plainly as the good news: it is what makes the rest believable.",
            *((f"The weakest layer, for engineers: {facts.trust.worst_words}",) if facts.trust.worst else ()),
            *(f"{item.name}: {item.words}" for item in items[SHOWN:]),
        ),
    )


def _data(facts: Facts) -> list[Check]:
    trust = facts.trust
    if trust.synthetic:
        return [
            Check(
                name="Give real samples",
                words="Made-up inputs were used so far; what they say of quality means nothing.",
            )
        ]
    found = []
    if trust.guessing:
        found.append(
            Check(
                name="Check the data",
                words="The original network is right no more often than a guess: they do not fit.",
            )
        )
    if trust.samples and trust.evaluation:
        found.append(
            Check(
                name="Judged on samples kept apart",
                words=f"{trust.samples:,} evaluation samples; ranges come from {trust.calibration:,} others.",
                done=True,
            )
        )
    elif trust.samples:
        found.append(
            Check(
                name="Judge on samples kept apart",
                words=f"Results come from the {trust.calibration:,} samples that the ranges were set on: "
                "new ones may do worse.",
            )
        )
    if 0 < trust.samples < ENOUGH:
        found.append(
            Check(
                name="Try more samples",
                words=f"Only {trust.samples:,} were tried: chance alone can move such figures.",
            )
        )
    if trust.samples and not trust.labelled and facts.cost is not None and facts.cost.agreement is not None:
        found.append(
            Check(
                name="Give the right answers",
                words="Without labels, only answers equal to the original's are counted, right or wrong.",
            )
        )
    return found


def _quality(facts: Facts) -> list[Check]:
    trust = facts.trust
    found = _loss(facts)
    if trust.lost_outputs:
        found.append(
            Check(
                name="Part of the output is lost",
                words=f"{text.plural(trust.lost_outputs, 'output')} always gives the same value where the "
                "original's varies."
                if trust.lost_outputs == 1
                else f"{trust.lost_outputs:,} outputs always give the same value where the original's vary.",
            )
        )
    if trust.worst:
        found.append(
            Check(
                name="Look at the weakest layer",
                words=f"“{text.short(trust.worst, 32)}” costs the answers more than any other.",
            )
        )
    if trust.float_layers and not facts.all_float:
        found.append(
            Check(
                name="Not everything is quantized",
                words=f"{trust.float_layers:,} of {text.plural(trust.layers, 'layer')} "
                f"{'stays' if trust.float_layers == 1 else 'stay'} as in the original.",
            )
        )
    if facts.all_float:
        found.append(
            Check(name="Quantize it", words="The file computes what the original computes; nothing is saved.")
        )
    return found


def _loss(facts: Facts) -> list[Check]:
    """Whether so much is lost that somebody has to say that it may be."""
    found, bearable = facts.cost, "is that good enough for the use?"
    if found is None or facts.trust.synthetic or facts.trust.guessing or facts.all_float:
        return []
    share = off(found.sqnr_db)
    if found.right is not None and found.float_right is not None:
        tone = loss_tone(found.float_right - found.right)
        original = of(found.float_right, found.rows)
        words = f"Right answers: {of(found.right, found.rows)}, {original} in the original; {bearable}"
    elif found.agreement is not None:
        tone = loss_tone(1 - found.agreement)
        words = f"The same answers as before: {of(found.agreement, found.rows)}; {bearable}"
    elif share is not None:
        tone, words = off_tone(share), f"Outputs are {off_words(share)} off; {bearable}"
    else:
        tone, words = "bad", "The outputs cannot be compared: they cannot be used like this."
    return [Check(name="Decide whether so much may be lost", words=words)] if tone == "bad" else []


def _device(facts: Facts) -> list[Check]:
    trust = facts.trust
    found = []
    if trust.default_differs:
        found.append(
            Check(
                name="Make the file safe on any computer",
                words="On processors like this one, sums can overflow, and answers come out otherwise.",
            )
        )
    if trust.verified:
        found.append(
            Check(name="The file was tried", words="Loaded again, it gives the same answers.", done=True)
        )
    elif not facts.all_float:
        words = (
            "Loaded again, it gives other answers: do not use it."
            if trust.verified is False
            else "Open Export: it loads the file again and compares every answer."
        )
        found.append(Check(name="Verify the file", words=words))
    found.append(
        Check(
            name="Measure on the device",
            words="Speed, and answers too, depend on the device and its runtime; here it was this computer.",
        )
    )
    return found
