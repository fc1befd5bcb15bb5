"""The whole story in one plain sentence: what quantization cost, what was repaired, and what it saved."""

import math

from quantscope.ui.content import text
from quantscope.ui.content.story_facts import Cost, Facts, Noun, Repairs

FEW = 100  # below it, shares are said as counts
TIE = 0.0005  # shares closer than this are the same in print


def headline(facts: Facts) -> str:
    """One sentence; "" where nothing can be said yet."""
    if facts.all_float:
        return "Nothing is quantized: the file computes what the original network computes."
    if facts.trust.synthetic:
        return (
            f"Tried on made-up inputs only: what they say of quality means nothing; {size(facts)}."
            if facts.saving is not None
            else ""
        )
    if facts.cost is None or facts.saving is None:
        return ""
    if facts.trust.guessing:
        return (
            f"The original network itself is right on only {of(facts.cost.float_right, facts.cost.rows)} "
            f"{facts.row_noun.many}, no more than a guess: check the data first."
        )
    said = None
    if facts.before_label and facts.outcomes is not None and facts.outcomes.repairs is not None:
        said = _repairs(facts, facts.outcomes.repairs, facts.outcomes.labelled)
    said = said or _cost(facts, facts.cost)
    return f"{said[0].upper()}{said[1:]}; {size(facts)}."


def int_name(facts: Facts) -> str:
    """What the quantized network's numbers are called."""
    return "int16" if facts.bits == 16 else "int8"


def before_name(facts: Facts) -> str:
    """What the version that this is held against is called: by its own name, or as it was at first."""
    return who_before(facts) if facts.before_name else f"{int_name(facts)} at first"


def who_before(facts: Facts) -> str:
    """Whose answers were wrong before."""
    return f"“{text.short(facts.before_name, 24)}”" if facts.before_name else int_name(facts)


def size(facts: Facts) -> str:
    """As "the file is 63 % smaller"."""
    if facts.saving is None or not facts.saving.float_bytes:
        return "the file's size is being measured"
    change = facts.saving.quantized_bytes / facts.saving.float_bytes - 1
    if abs(change) < 0.005:
        return "the file is as large as before"
    return f"the file is {100 * abs(change):.0f} % {'smaller' if change < 0 else 'larger'}"


def of(share: float | None, rows: int) -> str:
    """A share as "98.6 of 100", or as a count of few: "15 of 16"."""
    if share is None or math.isnan(share):
        return "–"
    if rows < FEW:
        return f"{round(share * rows):,} of {rows:,}"
    return f"{hundred(share)} of 100"


def hundred(share: float) -> str:
    """Of a hundred, with a decimal where there is one; never all or none unless it is so."""
    value = 100 * share
    if share < 1:
        value = min(value, 99.9)
    if share > 0:
        value = max(value, 0.1)
    return f"{value:.1f}".removesuffix(".0")


def off(sqnr_db: float | None) -> float | None:
    """How far outputs are off, as a share of their size: noise over signal, both as root mean square."""
    if sqnr_db is None or math.isnan(sqnr_db):
        return None
    return 0.0 if sqnr_db == math.inf else float(10 ** (-sqnr_db / 20))


def off_words(share: float) -> str:
    """As "1.8 %"."""
    value = 100 * share
    if value == 0:
        return "0 %"
    if value < 0.01:
        return "less than 0.01 %"
    if value >= 1000:
        return "more than 1,000 %"
    if value < 1:
        return f"{value:.2g} %"
    return f"{value:.1f} %" if value < 10 else f"{value:,.0f} %"


def _repairs(facts: Facts, found: Repairs, labelled: bool) -> str | None:
    """What became of answers that quantization changed at first; None where the figures say more."""
    name, who, noun = int_name(facts), who_before(facts), facts.row_noun
    if not labelled:
        return _alike(facts, found)
    if found.lost == found.newly == 0:
        return None
    now = found.still + found.newly
    if found.again and now < found.lost:
        others = f", {found.newly:,} {_others(found.newly)} went wrong" if found.newly else ""
        if found.again == found.lost:
            one = "the one" if found.lost == 1 else "both" if found.lost == 2 else f"all {found.lost:,}"
            verb = "is" if found.lost == 1 else "are"
            return f"{one} {_noun(noun, found.lost)} that {who} got wrong {verb} right again{others}"
        verb = "is" if found.again == 1 else "are"
        return f"{found.again:,} of {noun.count(found.lost)} that {who} got wrong {verb} right again{others}"
    if now > found.lost:
        at_first = f"({found.lost:,} {facts.at_first})"
        return f"{name} gets {noun.count(now)} wrong that the original gets right {at_first}"
    return f"{name} gets {noun.count(now)} wrong that the original gets right, as many as {facts.at_first}"


def _alike(facts: Facts, found: Repairs) -> str | None:
    if found.lost == found.newly == 0:
        return None
    name, noun = int_name(facts), facts.row_noun
    now = found.still + found.newly
    if found.again and now < found.lost:
        others = f", {found.newly:,} {_others(found.newly)} changed" if found.newly else ""
        verb = "has its" if found.again == 1 else "have their"
        return (
            f"{found.again:,} of {noun.count(found.lost)} that {who_before(facts)} answered otherwise {verb} "
            f"first answer again{others}"
        )
    return f"{name} answers {noun.count(now)} otherwise than the original ({found.lost:,} {facts.at_first})"


def _others(count: int) -> str:
    return "other" if count == 1 else "others"


def _noun(noun: Noun, count: int) -> str:
    return noun.one if count == 1 else noun.many


def _cost(facts: Facts, cost: Cost) -> str:
    noun = facts.row_noun
    if cost.right is not None and cost.float_right is not None:
        if abs(cost.right - cost.float_right) < TIE:
            return f"{of(cost.right, cost.rows)} {noun.many} are answered right, as many as before"
        before = f"{of(cost.float_right, cost.rows)}".removesuffix(f" of {cost.rows:,}").removesuffix(
            " of 100"
        )
        return f"{of(cost.right, cost.rows)} {noun.many} are answered right, {before} before quantization"
    if cost.agreement is not None:
        if cost.agreement == 1:
            return f"all {noun.count(cost.rows)} get the same answer as before quantization"
        return f"{of(cost.agreement, cost.rows)} {noun.many} get the same answer as before quantization"
    share = off(cost.sqnr_db)
    if share is None:
        return "the quantized network's outputs cannot be compared"
    if share == 0:
        return "the outputs are exactly those of the original network"
    return f"the outputs are {off_words(share)} off those of the original network"
