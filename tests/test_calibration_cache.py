"""Statistics kept on disk: found again for the same model, data and kernels, and for no others."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from quantscope.core.calibration import Statistics, cache, calibrate
from quantscope.core.data import Samples, open_samples
from quantscope.core.model import Model, load_model
from quantscope.core.runtime import machine
from tests.networks import feeds, mobile_cnn
from tests.quantizing import network

IMAGES = np.concatenate([sample["image"] for sample in feeds("mobile_cnn", 11)])


@pytest.fixture(scope="module")
def model() -> Model:
    return network("mobile_cnn")


@pytest.fixture
def samples(tmp_path: Path, model: Model) -> Samples:
    np.savez(tmp_path / "data.npz", image=IMAGES)
    return open_samples(tmp_path / "data.npz", model)


def runs(model: Model, samples: Samples, folder: Path, **options: object) -> tuple[Statistics, int]:
    """The statistics, and how many samples were run to get them."""
    done: list[int] = []
    found = calibrate(model, samples, cache_dir=folder, progress=lambda p: done.append(p.done), **options)  # type: ignore[arg-type]
    return found, len(done) - 1


def test_cache_knows_model_data_and_tensors(tmp_path: Path, model: Model, samples: Samples) -> None:
    folder = tmp_path / "cache"
    other = load_model(mobile_cnn(seed=1).SerializeToString())
    first, ran = runs(model, samples, folder)
    assert ran == 11
    np.savez_compressed(tmp_path / "same.npz", image=IMAGES)
    again, ran = runs(model, open_samples(tmp_path / "same.npz", model), folder)
    assert (ran, again == first) == (0, True)
    assert [h.max_sample for h in again.histograms.values()] == [
        h.max_sample for h in first.histograms.values()
    ]
    np.savez(tmp_path / "other.npz", image=IMAGES[::-1])
    assert runs(model, open_samples(tmp_path / "other.npz", model), folder)[1] == 11
    assert runs(model, samples.take(10), folder)[1] == 10
    assert runs(model, samples, folder, tensors=["image"])[1] == 11
    assert runs(other, samples, folder)[1] == 11
    assert runs(model, samples, folder)[1] == 0
    assert len(list(folder.iterdir())) == 5


@pytest.mark.parametrize("change", ["release", "processor"])
def test_cache_knows_what_kernels_computed(
    tmp_path: Path, model: Model, samples: Samples, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Others may give other last bits."""
    assert runs(model, samples, tmp_path / "c")[1] == 11
    with monkeypatch.context() as elsewhere:
        if change == "release":
            elsewhere.setattr(machine.ort, "__version__", "99.1.0")
        else:
            elsewhere.setattr(machine.binding, "get_host_cpu_features", lambda: {"avx1024": True})
        machine.kernels.cache_clear()
        assert runs(model, samples, tmp_path / "c")[1] == 11
        assert runs(model, samples, tmp_path / "c")[1] == 0
    machine.kernels.cache_clear()
    assert runs(model, samples, tmp_path / "c")[1] == 0


def test_statistics_from_the_cache_name_the_samples_at_hand(
    tmp_path: Path, model: Model, samples: Samples
) -> None:
    runs(model, samples, tmp_path / "c")
    np.savez(tmp_path / "copied.npz", image=IMAGES)
    again, ran = runs(model, open_samples(tmp_path / "copied.npz", model), tmp_path / "c")
    assert (again.data_source, ran) == ("copied.npz", 0)


def kept(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def fill(model: Model, samples: Samples, folder: Path) -> list[Path]:
    """Statistics of 5, 6, … 10 samples, used one after the other; their files in that order."""
    files: list[Path] = []
    for count in range(5, 11):
        runs(model, samples.take(count), folder)
        (new,) = set(kept(folder)) - set(files)
        os.utime(new, (1000 + count, 1000 + count))
        files.append(new)
    return files


def test_the_cache_drops_what_was_used_longest_ago(
    tmp_path: Path, model: Model, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fill(model, samples, tmp_path / "c")
    stays = [files[0], *files[4:]]
    assert runs(model, samples.take(5), tmp_path / "c")[1] == 0  # the oldest is used once more
    size = max(file.stat().st_size for file in files)
    monkeypatch.setattr(cache, "LARGEST", sum(file.stat().st_size for file in stays) + size + size // 2)
    _, ran = runs(model, samples, tmp_path / "c")
    assert ran == 11
    (new,) = set(kept(tmp_path / "c")) - set(files)
    assert kept(tmp_path / "c") == sorted([*stays, new])
    monkeypatch.setattr(cache, "LARGEST", 0)
    runs(model, samples.take(9), tmp_path / "none")
    assert len(kept(tmp_path / "none")) == 1  # what was just found out stays in any case


def test_trimming_bears_with_other_processes(
    tmp_path: Path, model: Model, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file vanishes after it was listed, another is in use, as on Windows."""
    files = fill(model, samples, tmp_path / "c")
    vanished, used, unlink, stat = files[0], files[1], Path.unlink, Path.stat

    def statting(path: Path, **options: bool) -> os.stat_result:
        if path == vanished:
            unlink(path, missing_ok=True)
        return stat(path, **options)

    def unlinking(path: Path, missing_ok: bool = False) -> None:
        if path == used:
            raise PermissionError(13, "in use")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "stat", statting)
    monkeypatch.setattr(Path, "unlink", unlinking)
    monkeypatch.setattr(cache, "LARGEST", 0)
    found, ran = runs(model, samples, tmp_path / "c")
    assert ran == 11
    assert used in kept(tmp_path / "c")
    assert len(kept(tmp_path / "c")) == 2
    assert runs(model, samples, tmp_path / "c") == (found, 0)


def test_files_that_were_never_finished_are_removed_later(
    tmp_path: Path, model: Model, samples: Samples
) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    old, new = folder / ".statistics-a.npz.1.tmp", folder / ".statistics-b.npz.2.tmp"
    old.touch()
    new.touch()
    os.utime(old, (1000, 1000))
    runs(model, samples, folder)
    assert not old.exists()
    assert new.exists()


def test_broken_cache_files_are_replaced(tmp_path: Path, model: Model, samples: Samples) -> None:
    first, _ = runs(model, samples, tmp_path / "c")
    (file,) = (tmp_path / "c").iterdir()
    good = file.read_bytes()
    for content in (b"", b"junk", good[:-200], good[:300] + b"\0" * 99 + good[399:]):
        file.write_bytes(content)
        found, ran = runs(model, samples, tmp_path / "c")
        assert (found == first, ran) == (True, 11)
        assert runs(model, samples, tmp_path / "c")[1] == 0


def test_cache_folder_from_the_environment(
    tmp_path: Path, model: Model, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTSCOPE_CACHE", str(tmp_path / "env"))
    calibrate(model, samples)
    assert len(list((tmp_path / "env").iterdir())) == 1
    calibrate(model, samples.take(3), cache=False)
    assert len(list((tmp_path / "env").iterdir())) == 1
    (tmp_path / "file").write_bytes(b"")
    calibrate(model, samples, cache_dir=tmp_path / "file" / "below")  # cannot be written: no reason to fail
