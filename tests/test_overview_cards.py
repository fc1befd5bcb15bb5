"""Cards, advice and their words: over what, against what, and never advice against the figures beside it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from quantscope.core.evaluate import (
    Accuracy,
    Comparison,
    Latency,
    OutputError,
    SizeBreakdown,
    TensorError,
)
from quantscope.core.project import Figures
from quantscope.core.runtime.machine import IntegerSums
from quantscope.core.sensitivity import Kind, Metric, RankingRow
from quantscope.core.targets import Precision
from quantscope.core.tuning import Remedy
from quantscope.ui.components import Card
from quantscope.ui.content import size_parts
from quantscope.ui.content.basis import Basis, Data
from quantscope.ui.content.costs import ranked_costs
from quantscope.ui.content.diagnosis import promising
from quantscope.ui.content.distance import since, to_baseline
from quantscope.ui.content.outcome import outcome
from quantscope.ui.runs.advice import OutputDb, Tried, best
from quantscope.ui.views import overview_cards
from quantscope.ui.views.overview_cards import (
    layers_card,
    measured_cards,
    output_cards,
    waiting_cards,
)
from tests.test_figures import row

EVALUATION = Basis(samples=1000, total=1000, data=Data.EVALUATION)
ERROR = TensorError(cosine=0.99, sqnr_db=20.0, mse=0.01, nmse=0.01, max_abs_error=1.0, count=10, non_finite=0)
PARTS = SizeBreakdown(weights=30, biases=5, scales=5, constants=10, names=10, remarks=0, graph=40)


def comparison(**changes: Any) -> Comparison:
    accuracy = Accuracy(
        output="y",
        float_top1=0.987,
        quantized_top1=0.9,
        float_top5=None,
        quantized_top5=None,
        agreement=0.91,
        rows=1000,
    )
    fields: dict[str, Any] = {
        "output": ERROR,
        "outputs": (OutputError(name="y", error=ERROR, equal_share=None, mismatched=0),),
        "accuracy": accuracy,
        "layers": (),
        "latency": Latency(float_ms=1.0, quantized_ms=1.5, runs=20, threads=1),
        "float_bytes": 200,
        "quantized_bytes": 100,
        "parts": PARTS,
        "samples": 1000,
        "layer_samples": 0,
        "warnings": (),
        "default": None,
        "may_saturate": (),
    }
    return Comparison(**{**fields, **changes})


def by_name(cards: list[Card]) -> dict[str, Card]:
    return {card.name: card for card in cards}


@pytest.mark.parametrize(
    ("basis", "words", "doubt"),
    [
        (EVALUATION, "1,000 evaluation samples", False),
        (Basis(samples=16, total=1000, data=Data.EVALUATION), "16 of 1,000 evaluation samples", False),
        (Basis(samples=200, total=200, data=Data.CALIBRATION), "200 calibration samples", True),
        (Basis(samples=1, total=1, data=Data.RANDOM), "1 random sample", True),
    ],
)
def test_every_figure_of_quality_says_over_what(basis: Basis, words: str, doubt: bool) -> None:
    cards = by_name(measured_cards(comparison(), basis))
    for name in ("Top-1", "Output SQNR"):
        assert (cards[name].over, cards[name].doubt) == (words, doubt)
        assert ("Open page" in cards[name].tip) is doubt
    assert not cards["Size"].doubt
    assert cards["Top-1"].note == "float 98.7 %"
    assert (cards["Top-1"].change, cards["Top-1"].tone) == ("−8.7 pp", "bad")


@pytest.mark.parametrize("saturates", [True, False])
def test_slower_without_vnni_is_said_and_not_red(monkeypatch: pytest.MonkeyPatch, saturates: bool) -> None:
    sums = IntegerSums(saturates=saturates, exact=True, neighbours=True)
    monkeypatch.setattr(overview_cards, "integer_sums", lambda: sums)
    card = by_name(measured_cards(comparison(), EVALUATION))["Latency"]
    assert card.change == "1.5× slower"
    assert card.tone == ("" if saturates else "bad")
    assert ("VNNI" in card.over) is saturates
    assert ("VNNI" in card.tip) is saturates
    assert card.note == "float 1.00 ms"


def test_cards_show_the_step_before_and_the_pinned_version() -> None:
    figures = Figures(samples=1000, evaluation=True, sqnr_db=18.0, cosine=0.9, top1=0.85, size_bytes=100)
    against = [since(3, figures), to_baseline("Baseline", replace(figures, top1=0.95, sqnr_db=math.inf))]
    cards = by_name(measured_cards(comparison(), EVALUATION, against))
    assert cards["Top-1"].moved == ("+5.0 pp since step 3", "−5.0 pp to Baseline")
    assert cards["Output SQNR"].moved == ("+2.0 dB since step 3", "−∞ dB to Baseline")
    assert cards["Size"].moved == ("no change since step 3", "no change to Baseline")
    assert cards["Latency"].moved == ()  # was not measured then


def test_a_file_that_grew_says_what_its_bytes_are() -> None:
    found = comparison()
    assert size_parts.why_larger(found.parts, found.float_bytes) == ""
    larger = comparison(quantized_bytes=300, parts=replace(found.parts, graph=240))
    card = by_name(measured_cards(larger, EVALUATION))["Size"]
    assert card.tone == "bad"
    assert "only 30 B of it are weights" in size_parts.why_larger(larger.parts, larger.float_bytes)
    assert "operators 240 B" in card.tip


def test_several_outputs_have_a_figure_each_and_one_has_none() -> None:
    one = comparison().outputs
    assert output_cards(one) == []
    integers = OutputError(name="classes", error=None, equal_share=0.5, mismatched=0)
    bad = OutputError(name="small", error=replace(ERROR, sqnr_db=3.0), equal_share=None, mismatched=0)
    other = OutputError(name="odd", error=None, equal_share=None, mismatched=2)
    cards = by_name(output_cards((*one, integers, bad, other)))
    assert [cards[name].value for name in ("y", "classes", "small", "odd")] == [
        "20.0 dB",
        "50.0 %",
        "3.0 dB",
        "–",
    ]
    many = tuple(
        OutputError(name=f"o{i}", error=replace(ERROR, sqnr_db=float(i)), equal_share=None, mismatched=0)
        for i in range(40)
    )
    shown = output_cards(many[::-1])
    assert [card.name for card in shown] == [f"o{i}" for i in range(overview_cards.MOST_OUTPUTS)]


def test_outputs_without_floats_have_no_sqnr() -> None:
    integers = OutputError(name="classes", error=None, equal_share=0.75, mismatched=0)
    cards = by_name(measured_cards(comparison(outputs=(integers,), accuracy=None), EVALUATION))
    assert "Output SQNR" not in cards
    assert cards["Equal outputs"].value == "75.0 %"


def test_waiting_cards_have_the_places_of_those_that_come() -> None:
    waiting = [card.name for card in waiting_cards(labelled=True, running=True)]
    assert waiting == [card.name for card in measured_cards(comparison(), EVALUATION)]
    assert all(card.waiting for card in waiting_cards(labelled=False, running=True))


def test_the_layers_card_counts_with_separators() -> None:
    rows = [row(f"l{i}", flag="x" if i == 0 else "") for i in range(2212)]
    card = layers_card(rows)
    assert card.value == "2,212 of 2,212"
    assert card.change == "1 flagged"
    assert layers_card(rows, {"l1", "l2", "elsewhere"}).value == "2,210 of 2,212"  # as Export lists them


def remedy(label: str, gain: float, **changes: Any) -> Remedy:
    return Remedy(layer="conv", label=label, gain_db=gain, changes=changes)


WIDE = remedy("16-bit activations", 48.6, precision=Precision.INT16)
FREE = remedy("Range by Percentile 99.9 %", -14.0)


def tried(of: Remedy, after: float) -> Tried:
    return Tried(remedy=of, before=OutputDb(sqnr=7.0, alike=7.0), after=OutputDb(sqnr=after, alike=after))


def test_what_costs_no_time_is_looked_at_first() -> None:
    assert promising([WIDE, FREE, WIDE]) == (FREE, WIDE)
    several = [remedy(f"free {i}", float(i)) for i in range(6)]
    assert promising([*several, WIDE]) == (several[5], several[4], several[3], WIDE)


def test_16_bits_are_advised_only_where_they_are_the_right_remedy() -> None:
    assert best([tried(FREE, 9.0), tried(WIDE, 12.0)], flagged=True) == tried(FREE, 9.0)
    assert best([tried(FREE, 9.0), tried(WIDE, 20.0)], flagged=True) == tried(WIDE, 20.0)
    assert best([tried(FREE, 6.0), tried(WIDE, 9.0)], flagged=True) == tried(WIDE, 9.0)
    assert best([tried(FREE, 6.0), tried(WIDE, 9.0)], flagged=False) is None
    assert best([tried(FREE, 7.2), tried(WIDE, 7.2)], flagged=True) is None
    assert tried(FREE, 9.0).words == "output 7.0 dB → 9.0 dB"


def test_ranked_layers_that_cost_nothing_are_not_flagged() -> None:
    def score(name: str, value: float) -> RankingRow:
        return RankingRow(
            name=name,
            value=value,
            low=value,
            high=value,
            rank=1,
            rank_low=1,
            rank_high=1,
            flagged=True,
            samples=4,
        )

    scores = [score("bad", 16.7), score("fine", 53.7), score("exact", math.inf)]
    costs = ranked_costs(scores, Kind.ENABLE, Metric.SQNR, "4 evaluation samples")
    assert [cost.flagged for cost in costs] == [True, False, False]
    assert costs[0].sentence == "quantized alone leaves 16.7 dB at the output, over 4 evaluation samples"
    won = ranked_costs([score("much", 3.0), score("little", 0.1)], Kind.DISABLE, Metric.SQNR, "4 samples")
    assert [cost.flagged for cost in won] == [True, False]


def test_a_change_is_told_by_what_counts_first() -> None:
    before = comparison()
    after = comparison(
        accuracy=replace(before.accuracy, quantized_top1=0.986) if before.accuracy else None,
        output=replace(ERROR, sqnr_db=36.4),
    )
    said = outcome(before, after).replace("\u00a0", " ")
    assert said.startswith("Top-1 **90.0 % → 98.6 %** (float 98.7 %) · size **100 B** as before")
    assert said.endswith("output SQNR **20.0 dB → 36.4 dB**")
