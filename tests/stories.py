"""Facts of made-up projects, for what is told of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from quantscope.core.calibration import Histogram, histogram_of
from quantscope.core.evaluate import Latency
from quantscope.core.quant import UINT8, Encoding, QuantSpec, Range, encoding_from_range
from quantscope.ui.content.story_facts import (
    Cost,
    Facts,
    Noun,
    Outcomes,
    Repairs,
    Saving,
    Shown,
    Trust,
    ValuesOfTensor,
    WeightExample,
)

DIGIT = Noun(one="digit", many="digits")
SAMPLE = Noun(one="sample", many="samples")


def spread(outlier: float = 64.0, count: int = 10_000) -> Histogram:
    """Values from 0 to 1, and three far away."""
    values = np.random.default_rng(0).random(count).astype(np.float32)
    values[:3] = outlier
    return histogram_of(values)


def encoding(low: float, high: float) -> Encoding:
    return encoding_from_range(Range(low, high), QuantSpec(type=UINT8, symmetric=False))


def cost(right: float | None = 0.986, agreement: float | None = 0.99, rows: int = 1000, **more: Any) -> Cost:
    before = None if right is None else more.pop("before", 0.987)
    return Cost(
        rows=rows, float_right=before, right=right, agreement=agreement, sqnr_db=more.get("sqnr_db", 30.0)
    )


def shown(number: int = 7, **more: Any) -> Shown:
    given: dict[str, Any] = {
        "image": "data:image/png;base64,iVBORw0KGgo=",
        "right": "3",
        "floats": "3",
        "before": "8",
        "now": "3",
        "before_off": 0.5,
        "now_off": 0.01,
    }
    return Shown(number=number, **{**given, **more})


def outcomes(lost: int = 9, again: int = 8, newly: int = 0, **more: Any) -> Outcomes:
    given: dict[str, Any] = {
        "rows": 1000,
        "labelled": True,
        "repairs": Repairs(lost=lost, again=again, newly=newly),
        "shown": (shown(),),
        "before": cost(0.9, 0.9),
        "before_encoding": None,
    }
    return Outcomes(**{**given, **more})


def trust(**more: Any) -> Trust:
    given = Trust(
        samples=1000,
        evaluation=True,
        calibration=192,
        synthetic=False,
        guessing=False,
        labelled=True,
        lost_outputs=0,
        default_differs=False,
        slow_integers=False,
        verified=None,
        float_layers=0,
        float_weights=0.0,
        layers=23,
        worst="",
        worst_words="",
    )
    return replace(given, **more)


def facts(**more: Any) -> Facts:
    """A network of which nearly all was repaired."""
    given: dict[str, Any] = {
        "name": "Digits",
        "noun": DIGIT,
        "row_noun": DIGIT,
        "parameters": 30_000,
        "bits": 8,
        "before_label": "Step 1: Defaults",
        "before_name": "",
        "deeds": (("Ranges are chosen by Percentile 99.9", "The rarest values are cut off."),),
        "untouched": False,
        "weight": WeightExample(value=-0.25, stored=-77, bits=8),
        "values": ValuesOfTensor(
            layer="image", is_input=True, histogram=spread(), now=encoding(0, 1), before=encoding(0, 64)
        ),
        "cost": cost(),
        "saving": Saving(
            float_bytes=151_000,
            quantized_bytes=56_000,
            latency=Latency(float_ms=1.0, quantized_ms=0.5, runs=100, threads=1),
        ),
        "outcomes": outcomes(),
        "trust": trust(),
        "measuring": False,
    }
    return Facts(**{**given, **more})


MEASURING = {"cost": None, "saving": None, "outcomes": None, "measuring": True}
CASES: dict[str, dict[str, Any]] = {
    "repaired": {},
    "measuring": MEASURING,
    "failed": {**MEASURING, "measuring": False, "error": "there is no memory left"},
    "untouched": {"deeds": (), "before_label": "", "untouched": True, "outcomes": outcomes(before=None)},
    "perfect": {
        "deeds": (),
        "before_label": "",
        "cost": cost(0.987, 1.0, sqnr_db=math.inf),
        "outcomes": outcomes(0, 0, shown=(), before=None),
    },
    "worse": {"cost": cost(0.5, 0.5), "outcomes": outcomes(9, 1, 400)},
    "no labels": {
        "cost": cost(None, 0.97),
        "outcomes": outcomes(labelled=False, shown=(shown(right=""),)),
        "trust": trust(labelled=False, evaluation=False, samples=192),
    },
    "no classes": {
        "noun": SAMPLE,
        "row_noun": SAMPLE,
        "cost": cost(None, None, sqnr_db=28.0),
        "outcomes": outcomes(
            labelled=False,
            repairs=None,
            before=cost(None, None, sqnr_db=12.0),
            shown=(shown(image="", right="", floats="", before="", now=""),),
        ),
    },
    "broken": {"cost": cost(None, None, sqnr_db=None), "outcomes": outcomes(repairs=None, shown=())},
    "few": {"cost": cost(0.875, 0.9, rows=16, before=1.0), "trust": trust(samples=16, evaluation=False)},
    "made up": {"trust": trust(synthetic=True, evaluation=False, samples=32)},
    "guessing": {"cost": cost(0.1, 0.5, before=0.11), "trust": trust(guessing=True)},
    "all float": {"trust": trust(float_layers=23), "deeds": (), "values": None, "weight": None},
    "larger": {
        "saving": Saving(
            float_bytes=10_000,
            quantized_bytes=12_600,
            latency=Latency(float_ms=1.0, quantized_ms=1.3, runs=100, threads=1),
        ),
        "trust": trust(slow_integers=True, worst="stem", worst_words="stem costs 3 dB", lost_outputs=2),
    },
    "wide": {"bits": 16, "trust": trust(verified=True)},
    "pinned": {"before_name": "v1", "before_label": "v1 (step 3)"},
    "other file": {
        "values": ValuesOfTensor(
            layer="a/very/long/name/of/a/layer/that/goes/on/and/on",
            is_input=False,
            histogram=spread(1.0),
            now=encoding(0, 1),
            before=None,
        ),
        "trust": trust(verified=False, default_differs=True, float_layers=3, float_weights=0.4),
    },
}
