"""Samples from arrays: matching to inputs, batches, conversions, broken files, labels and constant memory."""

import gc
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.arrays import ArrayRows
from core.data import Samples, check_samples, open_samples, random_samples
from core.errors import DataError
from core.feeds import array_feed, open_batch
from core.inputs import Input
from core.model import Model
from tests.interfaces import image_model, model_with

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((6, 3, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> Model:
    return image_model()


@pytest.fixture(scope="module")
def text_model() -> Model:
    return model_with(
        {"ids": (np.int64, ("N", "seq")), "mask": (np.int64, ("N", "seq")), "t": (np.float32, ())}
    )


def save(path: Path, compressed: bool = False, **arrays: np.ndarray) -> Path:
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def values(samples: Samples, name: str = "x") -> np.ndarray:
    return np.concatenate([sample[name] for sample in samples])


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
def test_one_file_or_folder_an_input(tmp_path: Path, text_model: Model, layout: str) -> None:
    ids, mask, t = np.arange(12).reshape(3, 4), np.ones((3, 4), np.int64), np.float32([0.5, 1.5, 2.5])
    for name, array in (("ids", ids), ("mask", mask), ("t", t)):
        if layout == "files":
            np.save(tmp_path / f"{name}.npy", array)
        else:
            (tmp_path / name).mkdir()
            for row in range(3):
                np.save(tmp_path / name / f"{row}.npy", array[row])
    samples = open_samples(tmp_path, text_model)
    np.testing.assert_array_equal(values(samples, "ids"), ids)
    assert [float(s["t"]) for s in samples] == [0.5, 1.5, 2.5]
    assert {s["t"].shape for s in samples} == {()}


def test_samples_of_different_lengths(tmp_path: Path, text_model: Model) -> None:
    for length in (3, 5):
        ids = np.full((2, length), length)
        save(tmp_path / f"{length}.npz", ids=ids, mask=ids * 0 + 1, t=np.float32(1))
    assert [s["ids"].shape for s in open_samples(tmp_path, text_model)] == [(1, 3), (1, 3), (1, 5), (1, 5)]


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


# --- names and types ---------------------------------------------------------------------------------


def test_a_lone_array_under_another_name_is_taken_with_a_warning(tmp_path: Path, model: Model) -> None:
    samples = open_samples(save(tmp_path / "a.npz", images=IMAGES, labels=np.arange(6)), model)
    assert "'images' is taken" in samples.warnings[0]
    fitting = open_samples(save(tmp_path / "b.npz", a=IMAGES, b=np.zeros((6, 5))), model)
    assert "'a' is taken" in fitting.warnings[0]
    assert "'b' is no input" in fitting.warnings[1]
    with pytest.raises(DataError, match="name the array 'x'"):
        open_samples(save(tmp_path / "c.npz", a=IMAGES, b=IMAGES), model)


def test_missing_and_extra_arrays(tmp_path: Path, text_model: Model) -> None:
    ids = np.ones((2, 3), np.int64)
    with pytest.raises(
        DataError, match=r"no array for input 'mask' \(int64, \(N, seq\)\); it holds 'ids', 'm'"
    ):
        open_samples(save(tmp_path / "a.npz", ids=ids, m=ids), text_model)
    good = save(tmp_path / "b.npz", ids=ids, mask=ids, t=np.float32(0), junk=ids)
    assert any("'junk' is no input" in warning for warning in open_samples(good, text_model).warnings)
    unnamed = tmp_path / "c.npz"
    np.savez(unnamed, ids, ids * 0, np.float32(3))
    samples = open_samples(unnamed, text_model)
    assert samples[0]["t"] == 3
    assert "in the model's order" in samples.warnings[0]


def test_clashing_dimensions_are_pointed_out(tmp_path: Path, text_model: Model) -> None:
    path = save(tmp_path / "a.npz", ids=np.ones((2, 3), int), mask=np.ones((2, 4), int), t=np.float32(0))
    assert any("'seq' is 3 in 'ids' but 4" in warning for warning in open_samples(path, text_model).warnings)


@pytest.mark.parametrize(
    ("source", "wanted", "warning"),
    [
        (np.float64, np.float32, "float64; converted"),
        (np.float16, np.float32, ""),
        (np.dtype(">f4"), np.float32, ""),
        (np.float32, np.float16, "float32; converted"),
        (np.uint8, np.float32, "without scaling"),
        (np.int64, np.float32, "without scaling"),
        (np.int64, np.int32, "taken as int32"),
        (np.int32, np.int64, ""),
        (np.uint8, np.int32, ""),
        (np.bool_, np.int64, ""),
        (np.int64, np.bool_, "taken as bool"),
    ],
)
def test_safe_conversions(tmp_path: Path, source: object, wanted: object, warning: str) -> None:
    data = np.array([[0, 1, 1], [1, 0, 1]]).astype(source)
    samples = open_samples(save(tmp_path / "a.npz", x=data), model_with({"x": (wanted, ("N", 3))}))
    got = values(samples)
    assert got.dtype == wanted
    assert got.dtype.isnative
    np.testing.assert_array_equal(got.astype(np.float64), data.astype(np.float64))
    assert (warning in samples.warnings[0]) if warning else not samples.warnings


@pytest.mark.parametrize(
    ("data", "wanted", "message"),
    [
        (np.float32([[0.5]]), np.int64, "takes int64, but the data are float32"),
        (np.int64([[1 << 40]]), np.int32, "takes -2147483648 to 2147483647"),
        (np.int64([[-1]]), np.uint8, "takes 0 to 255"),
        (np.int64([[2]]), np.bool_, "takes 0 to 1"),
        (np.float64([[1e300]]), np.float32, "too large for the model's float32"),
        (np.float32([[1e6]]), np.float16, "too large for the model's float16"),
        (np.float32([[np.nan]]), np.float32, "1 NaN or infinite values of 1"),
        (np.float32([[-np.inf]]), np.float32, "1 NaN or infinite"),
    ],
)
def test_what_cannot_be_fed(tmp_path: Path, data: np.ndarray, wanted: object, message: str) -> None:
    path = save(tmp_path / "a.npz", x=data)
    model = model_with({"x": (wanted, ("N", 1))})
    with pytest.raises(DataError, match=message):
        check_samples(open_samples(path, model), model)


def test_large_finite_values_are_not_taken_for_infinite(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=np.full((1, 9), 3e38, np.float32))
    assert open_samples(path, model_with({"x": (np.float32, ("N", 9))}))[0]["x"].max() > 2e38


# --- errors that say what to do ------------------------------------------------------------------------


def test_shape_mismatch_names_both_shapes(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=np.zeros((2, 3, 32, 32), np.float32))
    with pytest.raises(
        DataError, match=r"samples of shape \(1, 3, 32, 32\); the model takes \(N, 3, 224, 224\)"
    ):
        open_samples(path, image_model(size=224))


def test_different_numbers_of_samples(tmp_path: Path, text_model: Model) -> None:
    path = save(tmp_path / "a.npz", ids=np.ones((2, 3), int), mask=np.ones((4, 3), int), t=np.float32(0))
    with pytest.raises(DataError, match="different numbers of samples \\('ids' 2, 'mask' 4\\)"):
        open_samples(path, text_model)


def corrupt(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def broken_files(folder: Path) -> dict[str, str]:
    """Files that are wrong in one way each → a part of the message."""
    np.save(folder / "objects.npy", np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    np.savez(folder / "objects.npz", x=np.array([{"a": 1}], dtype=object))
    np.save(folder / "words.npy", np.array(["a", "b"]))
    np.save(folder / "record.npy", np.zeros(3, [("a", "f4"), ("b", "i4")]))
    np.save(folder / "empty.npy", np.zeros((0, 3, 8, 8), np.float32))
    np.savez(folder / "none.npz")
    (folder / "zero.npz").write_bytes(b"")
    (folder / "zero.npy").write_bytes(b"")
    (folder / "noise.npz").write_bytes(b"PK\3\4" + bytes(range(256)))
    (folder / "noise.npy").write_bytes(bytes(range(256)))
    (folder / "data.csv").write_text("1,2,3", encoding="utf-8")
    (folder / "reader.py").write_text("raise SystemExit(1)", encoding="utf-8")
    (folder / "hollow").mkdir()
    np.save(folder / "short.npy", IMAGES)
    (folder / "short.npy").write_bytes((folder / "short.npy").read_bytes()[:-100])
    np.savez(folder / "short.npz", x=IMAGES)
    (folder / "short.npz").write_bytes((folder / "short.npz").read_bytes()[:-300])
    with zipfile.ZipFile(folder / "lies.npz", "w") as archive:  # claims more rows than it has
        header = (
            (folder / "empty.npy")
            .read_bytes()
            .replace(b"(0, 3, 8, 8), }        ", b"(999999, 3, 8, 8), }   ")
        )
        archive.writestr("x.npy", header)
    return {
        "objects.npy": "pickled Python objects",
        "objects.npz": "pickled Python objects",
        "words.npy": "numbers are needed",
        "record.npy": "numbers are needed",
        "empty.npy": "no samples",
        "none.npz": "no arrays",
        "zero.npz": "not a readable .npz",
        "zero.npy": "cannot be read",
        "noise.npz": "not a readable .npz",
        "noise.npy": "cannot be read",
        "data.csv": "no kind of data",
        "reader.py": "named on the command line",
        "hollow": "neither",
        "short.npy": "cut off",
        "short.npz": "not a readable .npz",
        "lies.npz": "cut off",
        "absent.npz": "does not exist",
    }


def test_broken_files_give_one_line_each(tmp_path: Path, model: Model) -> None:
    for name, message in broken_files(tmp_path).items():
        with pytest.raises(DataError, match=message) as caught:
            open_samples(tmp_path / name, model)
        assert "\n" not in str(caught.value)
        assert name.split(".")[0] in str(caught.value)


def test_damage_inside_a_compressed_array_is_an_error_and_not_noise(tmp_path: Path, model: Model) -> None:
    path = save(tmp_path / "a.npz", compressed=True, x=IMAGES)
    corrupt(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match="x\\.npy cannot be read"):
        list(open_samples(path, model))


def test_damage_inside_a_plain_array_is_found_by_its_checksum(tmp_path: Path, model: Model) -> None:
    images = np.repeat(IMAGES, 4, axis=0)
    path = save(tmp_path / "a.npz", x=images)
    np.testing.assert_array_equal(values(open_samples(path, model)), images)
    corrupt(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match="checksum is wrong"):
        list(open_samples(path, model))
    assert len(list(open_samples(path, model, limit=3))) == 3


def test_column_major_arrays(tmp_path: Path, model: Model) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(IMAGES))
    samples = open_samples(tmp_path / "a.npy", model)
    np.testing.assert_array_equal(values(samples), IMAGES)
    np.testing.assert_array_equal(values(samples.select([4, 1])), IMAGES[[4, 1]])


@given(cut=st.integers(0, 400))
@settings(max_examples=60, deadline=None)
def test_a_file_cut_anywhere_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, model: Model, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    for path in (folder / "a.npy", save(folder / "b.npz", True, x=IMAGES[:1, :, :, :])):
        if path.suffix == ".npy":
            np.save(path, IMAGES[:1])
        path.write_bytes(path.read_bytes()[: -cut - 1])
        with pytest.raises(DataError):
            list(open_samples(path, model))


# --- warnings ----------------------------------------------------------------------------------------


def test_doubtful_data_are_pointed_out(tmp_path: Path, model: Model) -> None:
    def warnings(array: np.ndarray) -> str:
        return " | ".join(check_samples(open_samples(save(tmp_path / "a.npz", x=array), model), model))

    assert warnings(IMAGES) == ""
    assert "only one sample" in warnings(IMAGES[:1])
    assert "3 of 6 samples are duplicates" in warnings(IMAGES[[0, 1, 0, 1, 1, 2]])
    assert "'x' holds one value only" in warnings(np.ones_like(IMAGES))


def test_labels_are_checked(tmp_path: Path, model: Model) -> None:
    def labelled(labels: object) -> Samples:
        return open_samples(save(tmp_path / "a.npz", x=IMAGES, labels=np.asarray(labels)), model)

    np.testing.assert_array_equal(labelled(np.eye(10)[[3, 1, 2, 0, 9, 5]]).labels, [3, 1, 2, 0, 9, 5])
    np.testing.assert_array_equal(labelled(np.arange(6.0)[:, None]).labels, np.arange(6))
    with pytest.raises(DataError, match="5 labels for 6 samples"):
        labelled(np.arange(5))
    with pytest.raises(DataError, match="whole class numbers"):
        labelled(np.arange(6) / 2)
    assert (
        "labels go from 1 to 10, but the model has classes 0 to 9"
        in labelled([1, 2, 3, 4, 5, 10]).warnings[-1]
    )


def test_labels_from_elsewhere(tmp_path: Path, model: Model) -> None:
    path = save(tmp_path / "a.npz", x=IMAGES, labels=np.zeros(6, int))
    np.save(tmp_path / "l.npy", np.arange(6))
    for labels in (np.arange(6), tmp_path / "l.npy", save(tmp_path / "l.npz", labels=np.arange(6))):
        np.testing.assert_array_equal(open_samples(path, model, labels=labels).labels, np.arange(6))


# --- memory ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, compressed: bool) -> None:
    model = image_model(size=64)

    def peak(count: int) -> int:
        data = np.random.default_rng(0).integers(0, 9, (count, 3, 64, 64), np.int8).astype(np.float32)
        data[:, 0, 0, 0] = np.arange(count)
        samples = open_samples(save(tmp_path / f"{count}.npz", compressed, x=data), model)
        del data
        gc.collect()
        tracemalloc.start()
        total = sum(float(sample["x"][0, 0, 0, 0]) for sample in samples)
        _, top = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert total == count * (count - 1) / 2
        return top

    small, large = peak(16), peak(128)
    assert large < small * 1.05 + 4096


def test_files_are_closed_when_an_iteration_is_given_up(tmp_path: Path, model: Model) -> None:
    path = save(tmp_path / "a.npz", compressed=True, x=IMAGES)
    iterator = iter(open_samples(path, model))
    next(iterator)
    del iterator
    gc.collect()
    path.rename(tmp_path / "b.npz")  # fails on Windows if it is still open
    os.remove(tmp_path / "b.npz")  # noqa: PTH107


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
