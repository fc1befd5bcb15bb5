"""Samples of two sources as one, and samples that are left out of a project's data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantscope.core.calibration import calibrate
from quantscope.core.data import Samples, joined_samples, open_samples
from quantscope.core.errors import DataError
from quantscope.core.model import Model, load_model
from tests.evaluating import list_samples
from tests.graphs import model, node, randn, value


def network() -> Model:
    proto = model(
        [node("Gemm", ["x", "w"], ["y"], name="fc")],
        [value("x", ["N", 4])],
        [value("y", ["N", 3])],
        {"w": randn(4, 3)},
    )
    return load_model(proto.SerializeToString())


def opened(folder: Path, name: str, rows: int, seed: int, labels: bool = True) -> Samples:
    arrays = {"x": randn(rows, 4, seed=seed)}
    if labels:
        arrays["labels"] = np.arange(rows) % 3
    np.savez(folder / name, **arrays)
    return open_samples(folder / name, network())


def test_both_follow_each_other_in_any_selection(tmp_path: Path) -> None:
    first, second = opened(tmp_path, "a.npz", 5, 1), opened(tmp_path, "b.npz", 4, 2)
    both = joined_samples(first, second)
    assert len(both) == both.rows == 9
    everything = [*(s["x"] for s in first), *(s["x"] for s in second)]
    for chosen in (range(9), [8, 0, 5, 4, 4, 1]):
        got = both.select(list(chosen))
        np.testing.assert_array_equal([s["x"] for s in got], [everything[at] for at in chosen])
        assert got.labels is not None
        assert first.labels is not None
        assert second.labels is not None
        np.testing.assert_array_equal(got.labels, np.concatenate([first.labels, second.labels])[list(chosen)])
    assert both.digests() == [*first.digests(), *second.digests()]
    assert "4 samples more" in both.source


def test_statistics_are_those_of_all_samples(tmp_path: Path) -> None:
    first, second = opened(tmp_path, "a.npz", 5, 1), opened(tmp_path, "b.npz", 4, 2)
    x = np.concatenate([s["x"] for part in (first, second) for s in part])
    np.savez(tmp_path / "all.npz", x=x)
    ours = calibrate(network(), joined_samples(first, second), cache=False)
    theirs = calibrate(network(), open_samples(tmp_path / "all.npz", network()), cache=False)
    assert ours.samples == theirs.samples == 9
    assert ours == theirs
    assert ours.data_fingerprint == theirs.data_fingerprint


def test_labels_need_both(tmp_path: Path) -> None:
    first, second = opened(tmp_path, "a.npz", 5, 1), opened(tmp_path, "b.npz", 4, 2, labels=False)
    assert joined_samples(first, second).labels is None


def test_what_cannot_be_joined_is_said() -> None:
    batched = list_samples([{"x": np.zeros((2, 4), np.float32)}], batch=2)
    single = list_samples([{"x": np.zeros((1, 4), np.float32)}])
    with pytest.raises(DataError, match="several rows at a time"):
        joined_samples(single, batched)
    with pytest.raises(DataError, match="different inputs"):
        joined_samples(single, list_samples([{"z": np.zeros((1, 4), np.float32)}]))
