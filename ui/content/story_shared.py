"""What several slides with results share: where figures come from, and when a loss is small."""

import math

from quantscope.ui.content import text
from quantscope.ui.content.story_facts import Facts
from quantscope.ui.content.story_records import Slide, Tone

LONGEST = 1e-6  # smaller numbers would be rows of zeros
MEASURING = "This is being measured; the slide fills in by itself."


def not_yet(facts: Facts, key: str, title: str) -> Slide:
    """A slide whose figures are not there."""
    words = MEASURING if facts.measuring else facts.error or "This could not be measured."
    return Slide(key=key, title=title, sentences=(words,), waiting=facts.measuring)


def basis(facts: Facts) -> str:
    """Over which samples figures of quality are measured, and against what."""
    trust = facts.trust
    if trust.synthetic:
        return f"{trust.samples:,} made-up inputs: not a measure of quality"
    if not trust.samples:
        return ""
    if trust.evaluation:
        return f"Measured on {trust.samples:,} evaluation samples, against the original network"
    return f"Measured on {trust.samples:,} calibration samples: on new ones it may do worse"


def everyday(value: float, digits: int = 4) -> str:
    """A number as people write it who know no powers of ten: 0.00076, not 7.6e−4."""
    if LONGEST <= abs(value) < 1e-3:
        decimals = digits - 1 - math.floor(math.log10(abs(value)))
        return f"{value:.{decimals}f}".rstrip("0").replace("-", "−")
    if 1e5 <= abs(value) < 1e9:
        return f"{float(f'{value:.{digits}g}'):,.0f}".replace("-", "−")
    return text.number(value, digits)


def caution(facts: Facts) -> bool:
    """Whether figures of quality come from samples that they cannot be trusted on."""
    return facts.trust.samples > 0 and not facts.trust.evaluation


def loss_tone(loss: float) -> Tone:
    """How bad it is that so large a share of the answers is lost."""
    loss = round(loss, 9)  # as 1 − 0.99 is a little more than 0.01
    return "good" if loss <= 0.01 else "warn" if loss <= 0.05 else "bad"


def off_tone(share: float) -> Tone:
    """How bad it is that outputs are so far off, as a share of their size."""
    return "good" if share <= 0.03 else "warn" if share <= 0.15 else "bad"


def sentence_case(words: str) -> str:
    """With a capital at the start."""
    return f"{words[:1].upper()}{words[1:]}"
