"""Data that do not fit: names, types, damaged files, doubtful contents; and memory that does not grow."""

import gc
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantscope.core.data import Samples, check_samples, open_samples
from quantscope.core.errors import DataError
from quantscope.core.model import Model
from tests.interfaces import IMAGES, image_model, model_with, save, text_model, values


@pytest.fixture(scope="module")
def model() -> Model:
    return image_model()


@pytest.fixture(scope="module")
def tokens() -> Model:
    return text_model()


# --- names and types ---------------------------------------------------------------------------------


def test_a_lone_array_under_another_name_is_taken_with_a_warning(tmp_path: Path, model: Model) -> None:
    samples = open_samples(save(tmp_path / "a.npz", images=IMAGES, labels=np.arange(6)), model)
    assert "'images' is taken" in samples.warnings[0]
    fitting = open_samples(save(tmp_path / "b.npz", a=IMAGES, b=np.zeros((6, 5))), model)
    assert "'a' is taken" in fitting.warnings[0]
    assert "'b' is no input" in fitting.warnings[1]
    with pytest.raises(DataError, match="name the array 'x'"):
        open_samples(save(tmp_path / "c.npz", a=IMAGES, b=IMAGES), model)


def test_missing_and_extra_arrays(tmp_path: Path, tokens: Model) -> None:
    ids = np.ones((2, 3), np.int64)
    with pytest.raises(
        DataError, match=r"no array for input 'mask' \(int64, \(N, seq\)\); it holds 'ids', 'm'"
    ):
        open_samples(save(tmp_path / "a.npz", ids=ids, m=ids), tokens)
    good = save(tmp_path / "b.npz", ids=ids, mask=ids, t=np.float32(0), junk=ids)
    assert any("'junk' is no input" in warning for warning in open_samples(good, tokens).warnings)
    unnamed = tmp_path / "c.npz"
    np.savez(unnamed, ids, ids * 0, np.float32(3))
    samples = open_samples(unnamed, tokens)
    assert samples[0]["t"] == 3
    assert "in the model's order" in samples.warnings[0]


def test_clashing_dimensions_are_pointed_out(tmp_path: Path, tokens: Model) -> None:
    path = save(tmp_path / "a.npz", ids=np.ones((2, 3), int), mask=np.ones((2, 4), int), t=np.float32(0))
    assert any("'seq' is 3 in 'ids' but 4" in warning for warning in open_samples(path, tokens).warnings)


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


def test_different_numbers_of_samples(tmp_path: Path, tokens: Model) -> None:
    path = save(tmp_path / "a.npz", ids=np.ones((2, 3), int), mask=np.ones((4, 3), int), t=np.float32(0))
    with pytest.raises(DataError, match="different numbers of samples \\('ids' 2, 'mask' 4\\)"):
        open_samples(path, tokens)


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
    pointer = b"version https://git-lfs.github.com/spec/v1\nsize 12\n"
    (folder / "pointer.npz").write_bytes(pointer)
    (folder / "pointer.npy").write_bytes(pointer)
    (folder / "pointer").mkdir()
    (folder / "pointer" / "a.png").write_bytes(pointer)
    (folder / "deep" / "inner").mkdir(parents=True)
    np.save(folder / "deep" / "inner" / "a.npy", IMAGES)
    (folder / "pictures").mkdir()
    (folder / "pictures" / "a.heic").write_bytes(b"photo")
    (folder / "pickled.npy").write_bytes(b"\x80\x04\x95\t\x00\x00\x00\x00\x00")
    for name, shape in (("minus", (-1, 3, 8, 8)), ("minuses", (2, -3, -8, 8))):
        with (folder / f"{name}.npy").open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.write(bytes(2000))
    np.savez(folder / "secret.npz", x=IMAGES)
    secret = bytearray((folder / "secret.npz").read_bytes())
    secret[6] |= 1  # the flag of encrypted members, in the member's header and in the directory
    secret[secret.rfind(b"PK\x01\x02") + 8] |= 1
    (folder / "secret.npz").write_bytes(bytes(secret))
    return {
        "pointer.npz": "Git LFS pointer",
        "pointer.npy": "Git LFS pointer",
        "pointer": "Git LFS pointer",
        "deep": "'inner' in it does: name that folder",
        "pictures": r"its files end in \.heic",
        "pickled.npy": "does not begin as .npy files do",
        "minus.npy": r"its header says \(-1, 3, 8, 8\)",
        "minuses.npy": r"its header says \(2, -3, -8, 8\)",
        "secret.npz": "it is encrypted",
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
        assert name.split(".")[0] in str(caught.value) or "a.png" in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="needs links and pipes")
def test_what_is_no_file_is_never_waited_for(tmp_path: Path, model: Model) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "a.npy").symlink_to(tmp_path / "nowhere.npy")
    for name, message in (("pipe.npz", "no regular file"), ("lost", "'a.npy' is a link to nothing")):
        with pytest.raises(DataError, match=message):
            open_samples(tmp_path / name, model)


def test_arrays_that_no_input_needs_may_be_anything(tmp_path: Path, model: Model) -> None:
    path = save(tmp_path / "a.npz", x=IMAGES, names=np.array(["a"] * 6), extra=np.array([{}], object))
    samples = open_samples(path, model)
    assert len(samples) == 6
    assert "'names', 'extra' are no input; not used" in samples.warnings[0]


def test_images_beside_arrays_are_not_left_out_in_silence(tmp_path: Path, model: Model) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    (tmp_path / "b.png").write_bytes(b"any")
    (said,) = open_samples(tmp_path, model).warnings
    assert "images beside the arrays are not used, 1 in all" in said


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
    assert is_open(path)  # else what follows would show nothing
    del iterator
    gc.collect()
    assert not is_open(path)


def is_open(path: Path) -> bool:
    """Whether this process has a file open."""
    return any(Path(file.path).resolve() == path.resolve() for file in psutil.Process().open_files())
