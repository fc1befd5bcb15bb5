"""The slide on what was saved: size, and time with honest words."""

from quantscope.core.evaluate import Latency
from quantscope.ui.content import text
from quantscope.ui.content.outcome import SAME_SPEED
from quantscope.ui.content.story_facts import Facts, Saving
from quantscope.ui.content.story_records import Bar, BarGroup, Bars, Slide, Tone
from quantscope.ui.content.story_sentence import int_name, size
from quantscope.ui.content.story_shared import not_yet, sentence_case

KEPT = 0.1  # share of the numbers that may stay float without a word
QUICK = 1.0  # milliseconds
SMALL = 0.35  # of the original's size: the weights alone are not much more than that


def saved(facts: Facts) -> Slide | None:
    """Size and speed; None where nothing is quantized."""
    found = facts.saving
    if facts.all_float:
        return None
    if found is None:
        return not_yet(facts, "saved", "What was saved")
    sentences = (_size_words(facts, found), _time_words(facts, found.latency))
    groups = (_sizes(found), *(() if found.latency is None else (_times(found.latency),)))
    return Slide(
        key="saved",
        title=sentence_case(size(facts)),
        sentences=sentences,
        picture=Bars(groups=groups),
        alt=" ".join(sentences),
        basis=_basis(found),
        notes=(
            "Size is that of the files as they lie on disk.",
            "Time depends on the processor far more than size does: measure it on the device that counts.",
        ),
    )


def _size_words(facts: Facts, found: Saving) -> str:
    share = found.quantized_bytes / max(1, found.float_bytes)
    if share > 1:
        return (
            "With so few weights, the notes on ranges and steps that go with the file weigh more than what "
            "is saved."
        )
    if share > SMALL and facts.trust.float_weights > KEPT:
        kept = 100 * facts.trust.float_weights
        return f"{kept:.0f} % of the network's numbers stay as they were, and take the room that they took."
    if share > SMALL and facts.bits == 8:
        part = "a quarter" if facts.float_bits == 32 else "half"
        return f"The weights shrink to about {part}; what else the file holds, its description, does not."
    return f"It takes {text.size(found.quantized_bytes)} instead of {text.size(found.float_bytes)}."


def _time_words(facts: Facts, latency: Latency | None) -> str:
    """Honest words on speed."""
    if latency is None:
        return "How fast it is was not measured."
    ratio = latency.quantized_ms / latency.float_ms
    now, before = text.milliseconds(latency.quantized_ms), text.milliseconds(latency.float_ms)
    if ratio < 1 - SAME_SPEED:
        return f"On this computer one answer takes {now} instead of {before}."
    same = ratio < 1 + SAME_SPEED
    how = "takes as long as before" if same else f"takes {ratio:.1f} times as long as before"
    if facts.trust.slow_integers:
        why = f"its processor lacks fast instructions for {int_name(facts)}, which newer ones have"
    elif latency.float_ms < QUICK:
        why = (
            "so small a network spends much of its time on other things"
            if same
            else "in so small a network, converting numbers takes longer than it saves"
        )
    else:
        why = f"how much {int_name(facts)} helps depends on the processor"
    return f"On this computer one answer {how}: {why}. Measure on the device that counts."


def _sizes(found: Saving) -> BarGroup:
    largest = max(found.float_bytes, found.quantized_bytes, 1)
    change = 100 * (found.quantized_bytes / max(1, found.float_bytes) - 1)
    tone: Tone = "good" if change < 0 else "warn"
    return BarGroup(
        name="File",
        bars=(
            Bar(name="original", value=text.size(found.float_bytes), length=found.float_bytes / largest),
            Bar(
                name="quantized",
                value=text.size(found.quantized_bytes),
                length=found.quantized_bytes / largest,
                tone=tone,
            ),
        ),
        change=f"{change:+.0f} %".replace("-", "−"),
        tone=tone,
    )


def _times(latency: Latency) -> BarGroup:
    longest = max(latency.float_ms, latency.quantized_ms)
    ratio = latency.quantized_ms / latency.float_ms
    same = abs(ratio - 1) < SAME_SPEED
    tone: Tone = "" if same else "good" if ratio < 1 else "warn"
    change = "same" if same else f"{1 / ratio:.1f}× faster" if ratio < 1 else f"{ratio:.1f}× slower"
    return BarGroup(
        name="Time for one answer, on this computer",
        bars=(
            Bar(
                name="original", value=text.milliseconds(latency.float_ms), length=latency.float_ms / longest
            ),
            Bar(
                name="quantized",
                value=text.milliseconds(latency.quantized_ms),
                length=latency.quantized_ms / longest,
                tone=tone,
            ),
        ),
        change=change,
        tone=tone,
    )


def _basis(found: Saving) -> str:
    if found.latency is None:
        return "Sizes of the files"
    runs, threads = f"{found.latency.runs:,}", text.plural(found.latency.threads, "thread")
    return f"Sizes of the files · time: median of {runs} runs, {threads}, ONNX Runtime"
