"""Statistics on disk: an exact round trip, and anything else refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantscope.core.calibration import Statistics, histogram_of
from quantscope.core.calibration.histogram import EMPTY
from quantscope.core.errors import DataError

RNG = np.random.default_rng(0)
STATISTICS = Statistics(
    histograms={
        "plain": histogram_of(RNG.standard_normal(5000).astype(np.float32)),
        "a/b:0 ünï <b>": replace(histogram_of(np.float32([0, 0, -3, np.nan, np.inf])), max_sample=7),
        "tiny": histogram_of(np.float32([1e-40, 3e38])),
        "nothing": EMPTY,
    },
    samples=12,
    model_hash="m",
    data_fingerprint="f",
    synthetic=False,
    data_source="somewhere",
)


def test_round_trip(tmp_path: Path) -> None:
    STATISTICS.save(tmp_path / "s.npz")
    loaded = Statistics.load(str(tmp_path / "s.npz"))
    assert loaded == STATISTICS
    assert loaded.digest() == STATISTICS.digest()
    assert list(loaded.histograms) == list(STATISTICS.histograms)
    assert (loaded.data_fingerprint, loaded.data_source) == ("f", "somewhere")
    assert loaded.histograms["a/b:0 ünï <b>"].max_sample == 7
    assert loaded.not_finite == ("a/b:0 ünï <b>",)
    assert [path.name for path in tmp_path.iterdir()] == ["s.npz"]


def test_counts_beyond_32_bits_survive(tmp_path: Path) -> None:
    big = replace(STATISTICS.histograms["plain"], counts=STATISTICS.histograms["plain"].counts + (1 << 40))
    replace(STATISTICS, histograms={"big": big}).save(tmp_path / "s.npz")
    assert Statistics.load(tmp_path / "s.npz").histograms["big"] == big


def test_equality_is_about_content() -> None:
    order = dict(reversed(STATISTICS.histograms.items()))
    same = replace(STATISTICS, histograms=order, data_fingerprint="g", data_source="elsewhere")
    assert same == STATISTICS
    assert same.digest() == STATISTICS.digest()
    changed = dict(STATISTICS.histograms, plain=histogram_of(np.float32([1])))
    for other in (
        replace(STATISTICS, samples=13),
        replace(STATISTICS, model_hash="n"),
        replace(STATISTICS, synthetic=True),
        replace(STATISTICS, histograms=changed),
    ):
        assert other != STATISTICS
        assert other.digest() != STATISTICS.digest()
    assert replace(STATISTICS, histograms={}) == replace(STATISTICS, histograms={})


def test_anything_else_is_refused(tmp_path: Path) -> None:
    good = STATISTICS.to_bytes()
    np.savez(tmp_path / "foreign.npz", a=np.ones(3))
    np.savez(tmp_path / "objects.npz", meta=np.array([{}], dtype=object))
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "cut.npz").write_bytes(good[: len(good) // 2])
    (tmp_path / "old.npz").write_bytes(good.replace(b'{"format": 2', b'{"format": 0'))
    (tmp_path / "array.npz").write_bytes(good[:0])
    np.save(tmp_path / "plain.npy", np.ones(3))
    (tmp_path / "folder.npz").mkdir()
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(DataError, match="calibrate again"):
            Statistics.load(path)
    with pytest.raises(DataError, match="does not exist"):
        Statistics.load(tmp_path / "absent.npz")
