"""Samples from arrays: matching to inputs, batches, conversions, broken files, labels and constant memory."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantscope.core.data import open_samples
from quantscope.core.data.sources import random_samples
from quantscope.core.data.sources.arrays import ArrayRows
from quantscope.core.data.sources.feeds import array_feed, open_batch
from quantscope.core.data.sources.inputs import Input
from quantscope.core.errors import DataError
from quantscope.core.model import Model
from tests.interfaces import IMAGES, RNG, image_model, model_with, save, text_model, values


@pytest.fixture(scope="module")
def model() -> Model:
    return image_model()


@pytest.fixture(scope="module")
def tokens() -> Model:
    return text_model()


def write_folder(folder: Path, batches: list[np.ndarray]) -> Path:
    folder.mkdir()
    for number, batch in enumerate(batches):
        np.save(folder / f"part{number}.npy", batch)
    return folder


# --- every container gives the same samples -------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_npz_gives_each_row_with_its_batch_axis(tmp_path: Path, model: Model, compressed: bool) -> None:
    path = save(tmp_path / "a.npz", compressed, x=IMAGES, labels=np.arange(6))
    samples = open_samples(path, model)
    assert (len(samples), samples.kind, samples.names, samples.warnings) == (6, "npz", ("x",), ())
    assert all(s["x"].shape == (1, 3, 8, 8) and s["x"].flags.c_contiguous for s in samples)
    np.testing.assert_array_equal(values(samples), IMAGES)
    np.testing.assert_array_equal(values(samples), IMAGES)  # restartable
    assert samples.labels is not None
    np.testing.assert_array_equal(samples.labels, np.arange(6))


@given(cuts=st.sets(st.integers(1, 5)), order=st.permutations(range(6)))
@settings(max_examples=20, deadline=None)
def test_content_not_container_makes_the_fingerprint(
    tmp_path_factory: pytest.TempPathFactory, model: Model, cuts: set[int], order: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("data")
    shuffled = IMAGES[order]
    parts = write_folder(folder / "parts", np.split(shuffled, sorted(cuts)))
    whole = open_samples(save(folder / "a.npz", True, x=IMAGES), model)
    split = open_samples(parts, model)
    np.testing.assert_array_equal(values(split), shuffled)
    assert split.fingerprint == whole.select(order).fingerprint
    assert (split.fingerprint == whole.fingerprint) == (order == sorted(order))


def test_fingerprint_follows_content_and_selection(tmp_path: Path, model: Model) -> None:
    samples = open_samples(save(tmp_path / "a.npz", x=IMAGES), model)
    changed = IMAGES.copy()
    changed[5, 0, 0, 0] = np.nextafter(changed[5, 0, 0, 0], 9)
    other = open_samples(save(tmp_path / "b.npz", x=changed), model)
    assert samples.fingerprint != other.fingerprint
    assert samples.take(5).fingerprint == other.take(5).fingerprint != samples.fingerprint


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("positions", [[5, 0, 3], [2, 2, 4], [], [-1]])
def test_select_and_take(tmp_path: Path, model: Model, compressed: bool, positions: list[int]) -> None:
    path = save(tmp_path / "a.npz", compressed, x=IMAGES, labels=np.arange(6) * 10 % 7)
    samples = open_samples(path, model)
    chosen = samples.select(positions)
    assert len(chosen) == len(list(chosen)) == len(positions)
    for sample, position in zip(chosen, positions, strict=True):
        np.testing.assert_array_equal(sample["x"][0], IMAGES[position])
    assert chosen.labels is not None
    np.testing.assert_array_equal(chosen.labels, (np.arange(6) * 10 % 7)[positions])
    assert len(samples.take(4).take(2)) == 2
    assert len(samples.take(99)) == 6
    np.testing.assert_array_equal(samples.take(4).select([3])[0]["x"][0], IMAGES[3])
    with pytest.raises(IndexError):
        samples[6]


def test_npy_and_limit(tmp_path: Path, model: Model) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    samples = open_samples(tmp_path / "a.npy", model, limit=4)
    assert (len(samples), samples.kind) == (4, "npy")
    np.testing.assert_array_equal(values(samples), IMAGES[:4])
    with pytest.raises(DataError, match="at least one"):
        open_samples(tmp_path / "a.npy", model, limit=0)


def test_files_sort_naturally_and_may_hold_single_samples(tmp_path: Path, model: Model) -> None:
    for number in range(6):
        np.save(tmp_path / f"s{number + 8}.npy", IMAGES[number])  # s8, s9, s10 …; no batch axis
    np.testing.assert_array_equal(values(open_samples(tmp_path, model)), IMAGES)


def test_labels_in_folders(tmp_path: Path, model: Model) -> None:
    save(tmp_path / "a.npz", x=IMAGES[:2], labels=np.array([4, 5]))
    save(tmp_path / "b.npz", x=IMAGES[2:], labels=np.array([6, 7, 8, 9]))
    samples = open_samples(tmp_path, model)
    np.testing.assert_array_equal(samples.labels, [4, 5, 6, 7, 8, 9])
    np.save(tmp_path / "labels.npy", np.arange(6))
    np.testing.assert_array_equal(open_samples(tmp_path, model).labels, np.arange(6))


@pytest.mark.parametrize("layout", ["files", "folders"])
def test_one_file_or_folder_an_input(tmp_path: Path, tokens: Model, layout: str) -> None:
    ids, mask, t = np.arange(12).reshape(3, 4), np.ones((3, 4), np.int64), np.float32([0.5, 1.5, 2.5])
    for name, array in (("ids", ids), ("mask", mask), ("t", t)):
        if layout == "files":
            np.save(tmp_path / f"{name}.npy", array)
        else:
            (tmp_path / name).mkdir()
            for row in range(3):
                np.save(tmp_path / name / f"{row}.npy", array[row])
    samples = open_samples(tmp_path, tokens)
    np.testing.assert_array_equal(values(samples, "ids"), ids)
    assert [float(s["t"]) for s in samples] == [0.5, 1.5, 2.5]
    assert {s["t"].shape for s in samples} == {()}


def test_samples_of_different_lengths(tmp_path: Path, tokens: Model) -> None:
    for length in (3, 5):
        ids = np.full((2, length), length)
        save(tmp_path / f"{length}.npz", ids=ids, mask=ids * 0 + 1, t=np.float32(1))
    assert [s["ids"].shape for s in open_samples(tmp_path, tokens)] == [(1, 3), (1, 3), (1, 5), (1, 5)]


# --- which axis counts samples -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dims", "array", "count", "shape"),
    [
        (("N", 4), (5, 4), 5, (1, 4)),
        ((1, 4), (5, 4), 5, (1, 4)),
        ((None, None), (5, 7), 5, (1, 7)),
        ((2, None, 4), (5, 2, 1, 4), 5, (2, 1, 4)),
        (("N", 4), (5, 2, 4), 5, (2, 4)),
        (("N", 4), (4,), 1, (1, 4)),
        ((), (5,), 5, ()),
        ((), (), 1, ()),
        (("N",), (5,), 5, (1,)),
    ],
)
def test_sample_axis(
    tmp_path: Path,
    dims: tuple[int | str | None, ...],
    array: tuple[int, ...],
    count: int,
    shape: tuple[int, ...],
) -> None:
    data = np.arange(np.prod(array), dtype=np.float32).reshape(array)
    np.save(tmp_path / "a.npy", data)
    samples = open_samples(tmp_path / "a.npy", model_with({"x": (np.float32, dims)}))
    assert [s["x"].shape for s in samples] == [shape] * count
    np.testing.assert_array_equal(np.concatenate([s["x"].ravel() for s in samples]), data.ravel())


@given(
    st.lists(st.one_of(st.integers(1, 4), st.sampled_from(["N", "seq", None])), max_size=4),
    st.lists(st.integers(0, 5), max_size=5),
)
def test_any_array_either_fits_or_is_refused(dims: list[int | str | None], shape: list[int]) -> None:
    """Samples have the input's rank and fixed sizes, and together hold each element of the array once."""
    info = Input(name="x", dtype=np.dtype(np.float32), shape=tuple(dims))
    data = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    try:
        batch, _ = open_batch({"x": ArrayRows(array=data)}, (info,), "data")
    except DataError:
        assert not fits_plainly(shape, dims)
        return
    rows = [load()["x"] for load in array_feed([batch], (info,)).open(range(batch.fit.count))]
    np.testing.assert_array_equal(np.sort(np.concatenate([row.ravel() for row in rows])), data.ravel())
    for row in rows:
        assert row.ndim == len(dims)
        fixed = zip(row.shape[int(batch.fit.batch > 1) :], dims[int(batch.fit.batch > 1) :], strict=True)
        assert all(not isinstance(dim, int) or size == dim for size, dim in fixed)


def fits_plainly(shape: list[int], dims: list[int | str | None]) -> bool:
    """The documented rule, for a batch axis that is free."""
    if 0 in shape or not dims or isinstance(dims[0], int):
        return False
    return len(shape) == len(dims) and all(
        not isinstance(dim, int) or size == dim for size, dim in zip(shape[1:], dims[1:], strict=True)
    )


def test_values_that_all_samples_share(tmp_path: Path) -> None:
    model = model_with(
        {"x": (np.float32, (None, 4)), "state": (np.float32, (2, None, 3)), "sr": (np.int64, ())}
    )
    state = RNG.standard_normal((2, 1, 3)).astype(np.float32)
    path = save(tmp_path / "a.npz", x=np.zeros((5, 4), np.float32), state=state, sr=np.int64(16000))
    samples = open_samples(path, model)
    assert len(samples) == 5
    assert any("'state' has one value" in warning for warning in samples.warnings)
    for sample in samples:
        np.testing.assert_array_equal(sample["state"], state)
        assert sample["sr"] == 16000
        assert sample["sr"].dtype == np.int64


@pytest.mark.parametrize("kind", ["npz", "folder", "reader"])
def test_fixed_batch_is_filled_up_and_says_what_is_data(tmp_path: Path, kind: str) -> None:
    model = image_model(batch=4)
    if kind == "npz":
        source = save(tmp_path / "a.npz", x=IMAGES)
    elif kind == "folder":
        source = write_folder(tmp_path / "parts", np.split(IMAGES, [1, 3]))
    else:
        np.save(tmp_path / "data.npy", IMAGES)
        source = tmp_path / "reader.py"
        source.write_text(
            "import numpy as np\nfrom pathlib import Path\n"
            "def samples():\n    yield from np.load(Path(__file__).with_name('data.npy'))[:, None]\n",
            encoding="utf-8",
        )
    samples = open_samples(source, model, labels=np.arange(6), allow_reader=True)
    assert (len(samples), samples.batch, samples.rows) == (2, 4, 6)
    assert [samples.valid(i) for i in range(2)] == [4, 2]
    np.testing.assert_array_equal(values(samples), IMAGES[[0, 1, 2, 3, 4, 5, 5, 5]])
    assert any("2 repeated rows" in warning for warning in samples.warnings)
    last = samples.select([1])
    assert (last.rows, last.valid(0)) == (2, 2)
    np.testing.assert_array_equal(last.labels, [4, 5])
    assert len(open_samples(source, model, limit=4, allow_reader=True)) == 1


def test_a_whole_fixed_batch_for_each_sample(tmp_path: Path) -> None:
    data = RNG.standard_normal((3, 4, 3, 8, 8)).astype(np.float32)
    samples = open_samples(save(tmp_path / "a.npz", x=data), image_model(batch=4))
    assert (len(samples), samples.batch) == (3, 1)
    np.testing.assert_array_equal(values(samples), data.reshape(-1, 3, 8, 8))


# --- random ------------------------------------------------------------------------------------------


def test_random_samples_fit_and_are_flagged() -> None:
    model = model_with(
        {
            "x": (np.float32, (None, 3, "H", "W")),
            "ids": (np.int32, ("batch", "seq")),
            "mask": (np.int64, ("batch", "seq")),
            "state": (np.float16, (2, None, 3)),
            "sr": (np.int64, ()),
            "flag": (np.bool_, (1, 4)),
        }
    )
    samples = random_samples(model, 3, seed=7, dims={"seq": 9, "x:2": 16})
    assert samples.synthetic
    assert (len(samples), samples.kind) == (3, "random")
    assert "noise" in samples.warnings[0]
    first = samples[0]
    assert {name: array.shape for name, array in first.items()} == {
        "x": (1, 3, 16, 224),
        "ids": (1, 9),
        "mask": (1, 9),
        "state": (2, 1, 3),
        "sr": (),
        "flag": (1, 4),
    }
    assert all(first[info.name].dtype == info.dtype for info in model.inputs)
    assert first["sr"] == 16000
    assert 0 <= first["ids"].min() <= first["ids"].max() < 10
    again, other = (
        random_samples(model, 5, seed=7, dims={"seq": 9, "x:2": 16}),
        random_samples(model, 3, seed=8),
    )
    np.testing.assert_array_equal(first["x"], again[0]["x"])
    assert again.take(3).fingerprint == samples.fingerprint != other.fingerprint
    assert not np.array_equal(samples[0]["x"], samples[1]["x"])
    assert open_samples(None, model, limit=4).synthetic
    assert len(open_samples(None, model, limit=4)) == 4


def test_impossible_random_sizes() -> None:
    model = model_with({"x": (np.float32, ("N", "H"))})
    with pytest.raises(DataError, match="cannot be made"):
        random_samples(model, dims={"H": 1 << 40})
    with pytest.raises(DataError, match="at least one"):
        random_samples(model, 0)
