"""Reference modes on data that break calibration tools: an answer or the tool's reason, no exception."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from quantscope.core.thresholds.reference import REFERENCES, reference_thresholds
from quantscope.core.thresholds.reference.result import batches_of

RNG = np.random.default_rng(3)
NORMAL = RNG.standard_normal(2000).astype(np.float32)


def f32(*values: float) -> Any:
    """The values as float32."""
    return np.array(values, dtype=np.float32)


CASES: dict[str, Any] = {
    "no values": f32(),
    "all zero": np.zeros(1000, np.float32),
    "one zero": f32(0),
    "one value": f32(3.5),
    "one negative value": f32(-3.5),
    "constant": np.full(1000, 2.5, np.float32),
    "denormal": (NORMAL * np.float32(1e-40)).astype(np.float32),
    "smallest denormal": np.full(100, 1e-45, np.float32),
    "1e-30": NORMAL * np.float32(1e-30),
    "1e30": NORMAL * np.float32(1e30),
    "the ends of float32": f32(3.4e38, -3.4e38, 1, 0),
    "NaN present": np.where(np.arange(2000) % 7 == 0, np.nan, NORMAL).astype(np.float32),
    "all NaN": np.full(10, np.nan, np.float32),
    "infinity present": np.where(np.arange(2000) == 7, np.inf, NORMAL).astype(np.float32),
    "nothing finite": f32(np.nan, np.inf, -np.inf),
    "positive, away from zero": np.abs(NORMAL) + 5,
    "negative, away from zero": -np.abs(NORMAL) - 5,
    "two spikes": np.tile(f32(-1, 1), 500),
    "two spikes far apart": np.append(np.full(999, 1e-6, np.float32), f32(1e6)),
    "one huge outlier": np.append(NORMAL, f32(1e20)),
    "almost constant": (np.float32(1000) + NORMAL * np.float32(1e-4)).astype(np.float32),
    "negative zero": f32(-0.0, 0.0, 1.0),
    "zero batch first": [np.zeros(100, np.float32), NORMAL],
    "growing batches": [NORMAL * np.float32(0.01), NORMAL, NORMAL * np.float32(100)],
    "batches of other worlds": [NORMAL * np.float32(1e-6), NORMAL * np.float32(1e6)],
    "an empty batch": [NORMAL, f32()],
    "a batch of NaN": [NORMAL, f32(np.nan, np.nan)],
}


@pytest.mark.parametrize("name", list(CASES))
def test_every_mode_answers_or_says_why_not(name: str) -> None:
    rows = list(reference_thresholds(CASES[name]))
    assert {row.key for row in rows} == set(REFERENCES)
    for row in rows:
        result = row.result
        numbers = (result.low, result.high, result.threshold, result.scale, result.zero_point)
        if result.error:
            assert numbers == (None,) * 5, (row.key, "a reason and numbers")
            assert not result.usable
            continue
        assert result.low is not None, row.key
        assert result.high is not None, row.key
        assert all(number is None or math.isfinite(number) for number in numbers), (row.key, result)
        assert all(type(number) in (float, int, type(None)) for number in numbers), (row.key, result)
        if result.usable:
            assert result.low < result.high
            assert result.scale is None or result.scale > 0


@pytest.mark.parametrize("name", ["no values", "all NaN", "nothing finite"])
def test_no_mode_makes_a_usable_range_of_nothing(name: str) -> None:
    usable = {row.key for row in reference_thresholds(CASES[name]) if row.result.usable}
    assert usable <= {"amd-quark/onnx_minmse_pof2"}  # it reads NaN as 0 and infinity as the largest float


@pytest.mark.parametrize(
    "name", ["positive, away from zero", "two spikes", "1e-30", "1e30", "almost constant"]
)
def test_most_modes_make_a_usable_range_of_odd_but_finite_data(name: str) -> None:
    rows = list(reference_thresholds(CASES[name]))
    unusable = {row.key for row in rows if not row.result.usable}
    assert len(unusable) < len(REFERENCES) / 4, unusable


def test_what_is_known_to_go_wrong_is_shown_as_it_is() -> None:
    zeros = CASES["all zero"]
    assert REFERENCES["MNN/kl"].function(zeros).scale == 0
    assert not REFERENCES["MNN/kl"].function(zeros).usable
    assert "127 / 0" in REFERENCES["ncnn/kl"].function(zeros).error
    assert "PermissionError" in REFERENCES["ppq/kl"].function(NORMAL, config="asym_u8").error
    away = CASES["positive, away from zero"]
    clipped = REFERENCES["nvidia-modelopt/entropy"].function(away)
    assert clipped.threshold is not None
    assert clipped.threshold < away.min(), "the NaN of the empty windows wins"
    negative = REFERENCES["nncf/range_estimator"].function(-away, range_estimator="HISTOGRAM")
    assert negative.high == pytest.approx(8e-5)


def test_batches_are_lists_and_arrays_are_one() -> None:
    assert [part.size for part in batches_of([f32(1, 2), f32(3)])] == [2, 1]
    assert [part.size for part in batches_of([1.0, 2.0, 3.0])] == [3]
    assert [part.shape for part in batches_of(np.ones((2, 3)))] == [(6,)]
    assert batches_of(f32(1))[0].dtype == np.float32
