"""Who judges remedies: samples that set no threshold and ranked no layer, in whatever order they come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from quantscope.core.data import Samples, open_samples
from quantscope.core.model import Model
from quantscope.core.tuning.causes import split_parts
from tests.interfaces import image_model, save


@pytest.fixture(scope="module")
def model() -> Model:
    return image_model()


def opened(folder: Path, model: Model, seeds: Sequence[int]) -> Samples:
    """One image a seed."""
    images = [np.random.default_rng(seed).standard_normal((3, 8, 8)).astype(np.float32) for seed in seeds]
    name = "_".join(map(str, (seeds[0], seeds[-1], len(seeds))))
    return open_samples(save(folder / f"{name}.npz", x=np.stack(images)), model)


def test_samples_are_unseen_unless_they_share_more_than_a_few(tmp_path: Path, model: Model) -> None:
    calibration = opened(tmp_path, model, range(40))
    assert opened(tmp_path, model, range(39, 99)).unseen_by(calibration)  # one of sixty
    assert not opened(tmp_path, model, range(39, 49)).unseen_by(calibration)  # one of ten
    assert not calibration.unseen_by(calibration)


def digests(samples: Samples) -> set[bytes]:
    return set(samples.digests())


def test_ranking_and_judging_share_nothing_with_calibration(model: Model, tmp_path: Path) -> None:
    parts = split_parts(opened(tmp_path, model, range(40)), opened(tmp_path, model, range(100, 160)), 8)
    assert parts.unseen
    assert len(parts.ranking) == 8
    assert not digests(parts.judging) & (digests(parts.ranking) | digests(parts.fitting))


def test_one_file_for_both_is_seen(model: Model, tmp_path: Path) -> None:
    same = opened(tmp_path, model, range(40))
    assert not split_parts(same, opened(tmp_path, model, range(39, -1, -1)), 8).unseen
    assert split_parts(same, opened(tmp_path, model, range(39, 99)), 8).unseen  # one in common


def test_the_order_does_not_matter(model: Model, tmp_path: Path) -> None:
    def judges(seeds: Sequence[int]) -> set[bytes]:
        return digests(split_parts(opened(tmp_path, model, seeds), None, 8).judging)

    assert judges(range(30)) == judges(range(29, -1, -1))
    assert split_parts(opened(tmp_path, model, range(30)), None, 8).unseen
    assert not split_parts(opened(tmp_path, model, range(5)), None, 8).unseen
