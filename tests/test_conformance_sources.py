"""Every kind of data of the table goes through the same checks; a new one is covered by being listed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantscope.core.data import Samples, check_samples, open_samples
from quantscope.core.data.sources.table import KINDS, SOURCES, SourceKind
from quantscope.core.errors import DataError
from tests.documents import option_help, readme
from tests.interfaces import IMAGES, image_model

COUNT = 6
LABELS = np.arange(COUNT) % 3
MODEL = image_model(size=8)
READER = """import numpy as np
ROWS = np.load({path!r})
def samples():
    for row in ROWS:
        yield {{"x": row}}
def labels():
    return [index % 3 for index in range(len(ROWS))]
"""


def a_reader(folder: Path) -> Path:
    np.save(folder / "rows.npy", IMAGES)
    path = folder / "reader.py"
    path.write_text(READER.format(path=str(folder / "rows.npy")), encoding="utf-8")
    return path


def a_folder(folder: Path) -> Path:
    path = folder / "arrays"
    path.mkdir()
    for number, row in enumerate(IMAGES):
        np.savez(path / f"{number}.npz", x=row[None], labels=LABELS[number : number + 1])
    return path


def a_npy(folder: Path) -> Path:
    np.save(folder / "data.npy", IMAGES)
    return folder / "data.npy"


def a_npz(folder: Path) -> Path:
    np.savez(folder / "data.npz", x=IMAGES, labels=LABELS)
    return folder / "data.npz"


def images(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for number, label in enumerate(LABELS):
        path = folder / "images" / f"class{label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(picture, "PNG")
        path.write_bytes(picture.getvalue())
    return folder / "images"


# One source of each kind, of the same number of samples.
GOOD: dict[str, Callable[[Path], Path]] = {
    "reader": a_reader,
    "folder": a_folder,
    "npy": a_npy,
    "npz": a_npz,
    "images": images,
}
NO_LABELS = {"npy"}  # kinds that have no room for labels: one array


def spoiled(path: Path) -> Path:
    """The same source with its files cut short, so that they cannot be read."""
    for file in [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]:
        content = file.read_bytes()
        file.write_bytes(b"def (" if file.suffix == ".py" else content[: len(content) // 3])
    return path


def opened(path: Path, **more: object) -> Samples:
    more.setdefault("preprocessing", "0-1" if path.name == "images" else None)
    return open_samples(path, MODEL, allow_reader=True, **more)


def faults(kind: str, samples: Samples) -> Iterator[str]:
    """What is wrong with the samples of a source, one line each."""
    first, again = list(samples), list(samples)
    shapes = {info.name: info.dtype for info in MODEL.inputs}
    if samples.kind != kind:
        yield f"its kind is {samples.kind}"
    if (len(samples), len(first), samples.rows) != (COUNT, COUNT, COUNT):
        yield f"it has {len(first)} samples and {samples.rows} rows, and says {len(samples)}"
    if any({name: array.dtype for name, array in sample.items()} != shapes for sample in first):
        yield "a sample is not of the model's inputs and types"
    if any(not np.array_equal(one["x"], other["x"]) for one, other in zip(first, again, strict=False)):
        yield "it does not start anew"
    some = list(samples.select([4, 1]))
    if not all(np.array_equal(one["x"], first[at]["x"]) for one, at in zip(some, (4, 1), strict=True)):
        yield "chosen samples are not those of their positions"
    if len(set(samples.digests())) != COUNT:
        yield "digests do not tell samples apart"
    if not samples.source or samples.synthetic:
        yield "it does not say where samples come from"


def test_every_kind_is_covered() -> None:
    assert len(SOURCES) >= 5
    assert {source.kind for source in SOURCES} == set(GOOD)
    assert len({source.kind for source in SOURCES}) == len(SOURCES)


@pytest.mark.parametrize("kind", GOOD)
def test_a_source_opens_restarts_and_is_known_by_its_content(kind: str, tmp_path: Path) -> None:
    path = GOOD[kind](tmp_path)
    samples = opened(path)
    assert list(faults(kind, samples)) == []
    assert opened(path).fingerprint == samples.fingerprint
    assert [said for said in check_samples(samples, MODEL) if "duplicate" in said] == []


@pytest.mark.parametrize("kind", GOOD)
def test_a_limit_takes_the_first_rows(kind: str, tmp_path: Path) -> None:
    path = GOOD[kind](tmp_path)
    whole, few = opened(path), opened(path, limit=4)
    assert len(few) == 4
    assert few.digests() == whole.digests()[:4]
    assert len(opened(path, limit=100)) == COUNT
    with pytest.raises(DataError, match="at least one sample is needed"):
        opened(path, limit=0)


@pytest.mark.parametrize("kind", GOOD)
def test_labels_come_from_the_source_or_from_a_file(kind: str, tmp_path: Path) -> None:
    path = GOOD[kind](tmp_path)
    own = opened(path).labels
    if kind in NO_LABELS:
        assert own is None
    else:
        assert own is not None
        order = np.sort(LABELS) if kind == "images" else LABELS  # images are sorted by sub-folder
        np.testing.assert_array_equal(own, order)
    given = tmp_path / "classes.npy"
    np.save(given, LABELS[::-1])
    np.testing.assert_array_equal(opened(path, labels=given).labels, LABELS[::-1])
    np.save(given, LABELS[:-1])
    with pytest.raises(DataError, match="5 labels for 6 samples"):
        opened(path, labels=given)


@pytest.mark.parametrize("kind", GOOD)
def test_a_broken_source_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = spoiled(GOOD[kind](tmp_path))
    with pytest.raises(DataError) as caught:
        list(opened(path))
    said = str(caught.value)
    assert "\n" not in said
    assert path.name in said or any(file.name in said for file in path.rglob("*"))


def test_the_same_values_have_the_same_fingerprint_in_any_container(tmp_path: Path) -> None:
    prints = {kind: opened(make(tmp_path)).fingerprint for kind, make in GOOD.items() if kind != "images"}
    assert len(set(prints.values())) == 1


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.kind)
def test_help_and_messages_name_each_kind(source: SourceKind, tmp_path: Path) -> None:
    documents = (
        option_help("quantize", "--data"),
        KINDS,
        str(open_samples.__doc__),
        readme().split("## ")[1],
    )
    for text in documents:
        assert [word for word in source.words if word not in text] == []
    with pytest.raises(DataError, match="does not exist: give a"):
        opened(tmp_path / "nothing")


class Restless:
    """A feed that gives other values each time."""

    count = rows = COUNT
    batch = 1

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def open(self, indices: list[int]) -> Iterator[Callable[[], dict[str, np.ndarray]]]:
        for _ in indices:
            yield lambda: {"x": self.rng.standard_normal((1, 3, 8, 8)).astype(np.float32)}

    def digests(self, indices: list[int]) -> Iterator[bytes]:
        return iter([b"same"] * len(indices))


def test_a_planted_fault_is_found() -> None:
    bad = Samples(names=("x",), feed=Restless(), indices=range(COUNT), kind="odd", source="")
    assert list(faults("npz", bad)) == [
        "its kind is odd",
        "it does not start anew",
        "chosen samples are not those of their positions",
        "digests do not tell samples apart",
        "it does not say where samples come from",
    ]
