"""Outputs by channel: the axis that counts them, parts of about one size, channels that become constant."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantscope.core.evaluate import OutputTotals, compare_run
from quantscope.core.evaluate.channels import (
    ChannelError,
    ChannelTotal,
    balanced_db,
    candidate_axes,
    channel_sums,
)

RNG = np.random.default_rng


def judged(f: np.ndarray, q: np.ndarray, runs: int = 4) -> ChannelError:
    """Two arrays compared in several runs along their first axis."""
    total = ChannelTotal()
    for rows in np.array_split(np.arange(len(f)), runs):
        total.add(channel_sums(f[rows].astype(np.float32), q[rows].astype(np.float32)))
    found = total.error()
    assert found is not None
    return found


def rounded(x: np.ndarray, levels: int = 255) -> np.ndarray:
    """The array in one range of 8 bits."""
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = (high - low) / levels
    return np.rint(x / scale) * scale


def sqnr(f: np.ndarray, q: np.ndarray) -> float:
    return float(10 * np.log10((f**2).sum() / ((f - q) ** 2).sum()))


def boxes_and_scores(rng: np.random.Generator, places: int = 60, samples: int = 16) -> np.ndarray:
    """(samples, places, 7): corners that depend on the place, as a grid gives them, and scores of 0 to 1."""
    at = np.linspace(4.0, 636.0, places).reshape(1, places, 1)
    boxes = at + rng.normal(0, 30, (samples, places, 4))
    scores = 1 / (1 + np.exp(-rng.normal(-3, 2, (samples, places, 3))))
    return np.concatenate([boxes, scores], axis=2)


def test_the_axes_that_may_count_channels() -> None:
    assert candidate_axes((8,)) == ()
    assert candidate_axes((8, 10)) == (1,)
    assert candidate_axes((1, 84, 8400)) == (1, 2)
    assert candidate_axes((1, 21, 64, 64)) == (1, 3)
    assert candidate_axes((1, 1, 64, 1)) == ()
    assert candidate_axes((2, 1 << 20)) == ()


@pytest.mark.parametrize("axis", [1, 2])
def test_boxes_and_scores_are_parts_wherever_the_channels_are(axis: int) -> None:
    f = boxes_and_scores(RNG(0))
    f = np.moveaxis(f, 2, axis)
    q = rounded(f)
    found = judged(f, q)
    assert found.axis == axis
    assert found.size == 7
    assert [part.channels for part in found.parts] == [(0, 1, 2, 3), (4, 5, 6)]
    boxes, scores = (np.take(f, c, axis) for c in ([0, 1, 2, 3], [4, 5, 6]))
    assert found.parts[0].sqnr_db == pytest.approx(sqnr(boxes, np.take(q, [0, 1, 2, 3], axis)), abs=0.01)
    assert found.lost == (4, 5, 6)
    assert found.zero
    assert (found.low, found.high) == (pytest.approx(f.min()), pytest.approx(f.max()))
    finer = judged(f, np.where(np.isin(np.indices(f.shape)[axis], [4, 5, 6]), rounded(scores.max() * f), q))
    assert finer.axis == axis
    fine = np.concatenate([rounded(boxes), rounded(scores)], axis)
    alive = judged(f, fine)
    assert alive.lost == ()
    assert alive.parts[1].sqnr_db == pytest.approx(sqnr(scores, rounded(scores)), abs=0.01)


def test_images_have_their_channels_first_or_last_and_a_place_is_no_channel() -> None:
    rng = RNG(1)
    depth = np.abs(rng.normal(40, 20, (6, 1, 12, 10)))
    both = np.concatenate([depth, rng.random((6, 1, 12, 10)) * 0.1], axis=1)
    assert judged(both, rounded(both)).axis == 1
    last = np.moveaxis(both, 1, 3)
    assert judged(last, rounded(last)).axis == 3
    # A map whose columns grow steadily over three decades is one quantity all the same.
    steady = 10.0 ** np.linspace(0, 3, 40) * rng.uniform(0.8, 1.2, (6, 1, 12, 40))
    found = judged(steady, rounded(steady))
    assert len(found.parts) == 1
    assert found.axis is None


def test_boxes_alone_are_one_part_however_the_places_differ() -> None:
    f = boxes_and_scores(RNG(2))[:, :, :4]
    found = judged(f, rounded(f))
    assert len(found.parts) == 1
    assert not found.lost
    assert found.parts[0].sqnr_db == pytest.approx(sqnr(f, rounded(f)), abs=0.01)


def test_one_huge_channel_does_not_hide_the_others() -> None:
    f = RNG(3).normal(size=(8, 12, 32))
    f[:, :, 7] *= 2000.0
    found = judged(f, rounded(f))
    assert found.axis == 2
    assert [len(part.channels) for part in found.parts] == [1, 31]
    assert len(found.lost) == 31


def test_probabilities_are_one_quantity_however_rare_some_classes_are() -> None:
    rng = RNG(4)
    logits = rng.normal(0, 3, (64, 10))
    logits[:, [2, 5]] -= 14.0  # never likely: at most 1e-4
    f = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    q = rounded(f)
    assert (q[:, [2, 5]] == 0).all()
    found = judged(f, q)
    assert len(found.parts) == 1
    assert not found.lost
    two = np.stack([f[:, 2], 1 - f[:, 2]], axis=1)
    found = judged(two, np.rint(two * 255) / 255)
    assert len(found.parts) == 1
    assert not found.lost


def test_a_class_that_was_likely_and_is_none_any_more_is_lost() -> None:
    f = np.abs(RNG(5).normal(0, 0.3, (64, 10))).clip(0, 1)
    q = rounded(f)
    q[:, 3] = 0.0
    found = judged(f, q)
    assert found.lost == (3,)
    assert found.parts[0].nmse > 0.1


def test_what_is_constant_in_float_or_hardly_ever_stirs_is_no_loss() -> None:
    rng = RNG(6)
    f = np.maximum(rng.normal(0, 1, (64, 40)), 0)
    f[:, 4] = 0.0
    f[:, 5] = 0.002
    f[:, 6] = 0.0
    f[3, 6] = 0.004  # one small value in 64 samples
    q = rounded(f)
    assert (q[:, 4:7] == 0).all()
    found = judged(f, q)
    assert not found.lost
    assert math.isnan(found.sqnr_db[4])
    assert found.varying == 38


def test_a_few_values_may_round_alike_by_chance() -> None:
    f = 5.0 + RNG(14).normal(0, 0.01, (8, 640))
    q = rounded(f)
    constant = int(((q == q[0]).all(axis=0)).sum())
    assert 0 < constant < 64
    assert not judged(f, q).lost
    more = 5.0 + RNG(14).normal(0, 0.05, (64, 640))
    q = rounded(more)
    q[:, 3] = 5.0
    assert judged(more, q).lost == (3,)


def test_many_channels_that_hardly_stir_are_a_loss() -> None:
    f = RNG(7).normal(0, 1, (32, 40))
    f[:, 10:20] *= 0.04  # within the part, and yet below a step of what follows
    q = np.where(np.abs(f) < 0.2, 0.0, f)
    assert judged(f, q).lost == tuple(range(10, 20))


def test_a_steady_fall_over_many_channels_is_a_spectrum() -> None:
    f = RNG(8).normal(0, 1, (16, 257)) * 10.0 ** np.linspace(2, -2, 257)
    assert len(judged(f, rounded(f)).parts) == 1
    few = RNG(8).normal(0, 1, (16, 8)) * 10.0 ** np.linspace(3, -1, 8)
    assert [len(part.channels) for part in judged(few, rounded(few)).parts] == [4, 4]


def test_few_values_prove_nothing() -> None:
    f = np.array([[600.0, 0.5], [500.0, 0.7]])
    found = judged(f, rounded(f), runs=2)
    assert not found.lost
    assert len(found.parts) == 1


def test_values_that_are_not_finite_are_not_judged() -> None:
    total = ChannelTotal()
    good = RNG(9).normal(size=(4, 3)).astype(np.float32)
    total.add(channel_sums(good, good))
    bad = good.copy()
    bad[1, 1] = np.nan
    assert channel_sums(good, bad) is None
    total.add(None)
    assert total.error() is None


def test_an_axis_whose_length_changes_counts_no_channels() -> None:
    total = ChannelTotal()
    for places in (5, 9, 7):
        f = boxes_and_scores(RNG(places), places, 1).astype(np.float32)
        total.add(channel_sums(f, rounded(f).astype(np.float32)))
    found = total.error()
    assert found is not None
    assert found.axis == 2
    assert found.lost == (4, 5, 6)


@given(st.permutations(range(6)))
def test_the_order_of_runs_does_not_matter(order: list[int]) -> None:
    f = boxes_and_scores(RNG(10), 9, 6).astype(np.float32)
    q = (f + RNG(11).normal(0, 0.1, f.shape)).astype(np.float32)

    def total(at: list[int]) -> ChannelError | None:
        out = ChannelTotal()
        for i in at:
            out.add(channel_sums(f[i : i + 1], q[i : i + 1]))
        return out.error()

    assert total(order) == total(list(range(6)))


@given(st.lists(st.floats(0.0, 60.0), min_size=1, max_size=8), st.data())
def test_the_balanced_figure_lies_between_the_worst_part_and_all_of_them(
    parts: list[float], data: st.DataObject
) -> None:
    noise = [10.0 ** (-p / 10.0) for p in parts]
    found = balanced_db(noise)
    assert min(parts) - 1e-9 <= found <= min(parts) + 10 * math.log10(len(parts)) + 1e-9
    at = data.draw(st.integers(0, len(parts) - 1))
    better = balanced_db([n / 10 if i == at else n for i, n in enumerate(noise)])
    assert better > found


def test_a_small_output_is_not_hidden_by_a_loud_one() -> None:
    rng = RNG(12)
    loud, small = rng.normal(0, 500, (32, 4)).astype(np.float32), rng.normal(0, 1, (32, 2)).astype(np.float32)
    totals = OutputTotals(names=["loud", "small"])
    run = compare_run(
        {"loud": loud, "small": small},
        {"loud": loud + np.float32(0.5), "small": np.zeros_like(small)},
        rows=(32, 32, 0),
        spec=None,
        channels=True,
    )
    totals.add(run)
    found = totals.result()
    assert found.overall.sqnr_db is not None
    assert found.overall.sqnr_db > 50
    assert found.balanced_db < 3.1
    assert found.lost == 2


def test_one_output_of_one_quantity_keeps_its_plain_figure() -> None:
    f = RNG(13).normal(0, 1, (32, 10)).astype(np.float32)
    q = rounded(f).astype(np.float32)
    totals = OutputTotals(names=["logits"])
    totals.add(compare_run({"logits": f}, {"logits": q}, rows=(32, 32, 0), spec=None, channels=True))
    found = totals.result()
    assert found.balanced_db == pytest.approx(found.overall.sqnr_db, abs=1e-9)
