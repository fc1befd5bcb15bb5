"""Samples that a program holds: arrays, dicts, lists, generators, and what behaves like a data loader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from quantscope.core.data import open_samples
from quantscope.core.errors import DataError
from quantscope.core.model import Model
from tests.interfaces import model_with

ROWS = np.arange(15, dtype=np.float32).reshape(5, 3)


@pytest.fixture(scope="module")
def model() -> Model:
    return model_with({"x": (np.float32, ("N", 3))})


@pytest.fixture(scope="module")
def two() -> Model:
    return model_with({"ids": (np.int64, ("N", 3)), "mask": (np.int64, ("N", 3))})


class Tensor:
    """Behaves like a tensor of a training library that knows gradients: refuses to be read as it is."""

    def __init__(self, values: npt.NDArray[Any], grad: bool = True) -> None:
        self.values, self.grad = values, grad
        self.shape, self.dtype = values.shape, values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def detach(self) -> Tensor:
        return Tensor(self.values, grad=False)

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> npt.NDArray[Any]:
        if self.grad:
            raise RuntimeError("call detach() first")
        return self.values


class DataLoader:
    """Behaves like a shuffling loader of batches: a list [inputs, labels], in another order each time."""

    def __init__(self, rows: npt.NDArray[Any], labels: npt.NDArray[Any], batch: int = 2) -> None:
        self.rows, self.labels, self.batch = rows, labels, batch
        self.generator = np.random.default_rng(0)

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch)

    def __iter__(self) -> Iterator[list[Tensor]]:
        order = self.generator.permutation(len(self.rows))
        for start in range(0, len(order), self.batch):
            chosen = order[start : start + self.batch]
            yield [Tensor(self.rows[chosen]), Tensor(self.labels[chosen])]


def values(samples: Any) -> npt.NDArray[Any]:
    return np.concatenate([sample["x"] for sample in samples])


@pytest.mark.parametrize(
    "source",
    [
        ROWS,
        Tensor(ROWS),
        {"x": ROWS},
        {"x": ROWS.tolist()},
        {"values": ROWS},
        [{"x": row} for row in ROWS],
        list(ROWS),
        [ROWS[:2], ROWS[2:]],
        ({"x": row[np.newaxis]} for row in ROWS),
        [(row, 0) for row in ROWS],
    ],
    ids=["array", "tensor", "dict", "lists", "other key", "dicts", "rows", "batches", "generator", "pairs"],
)
def test_the_same_rows_in_whatever_form(tmp_path: Path, model: Model, source: Any) -> None:
    file = tmp_path / "rows.npz"
    np.savez(file, x=ROWS)
    wanted, held = open_samples(file, model), open_samples(source, model, labels_needed=False)
    assert (len(held), held.kind) == (5, "memory")
    assert held.fingerprint == wanted.fingerprint  # so that statistics of one serve the other
    assert np.array_equal(values(held), ROWS)


def test_a_loader_is_run_through_once(model: Model) -> None:
    loader = DataLoader(ROWS, np.arange(5))
    samples = open_samples(loader, model)
    assert samples.source == "DataLoader"
    first, second = values(samples), values(samples)
    assert np.array_equal(first, second)  # though the loader would shuffle anew
    assert samples.labels is not None
    assert np.array_equal(ROWS[samples.labels], first)
    assert len(open_samples(loader, model, limit=3, labels_needed=False)) == 3


def test_dicts_as_tokenizers_make_them(two: Model) -> None:
    batch = {"ids": Tensor(np.ones((2, 3), np.int64)), "mask": Tensor(np.ones((2, 3), np.int64))}
    samples = open_samples([batch, {**batch, "token_type": Tensor(np.zeros((2, 3)))}], two)
    assert (len(samples), sorted(samples[0])) == (4, ["ids", "mask"])


def test_what_a_generator_reuses_is_copied(model: Model) -> None:
    def reusing() -> Iterator[npt.NDArray[Any]]:
        buffer = np.zeros(3, np.float32)
        for row in ROWS:
            buffer[:] = row
            yield buffer

    assert np.array_equal(values(open_samples(reusing(), model)), ROWS)


def test_an_endless_generator_ends(model: Model) -> None:
    def endless() -> Iterator[npt.NDArray[Any]]:
        while True:
            yield ROWS[0]

    samples = open_samples(endless(), model)
    assert len(samples) == 1024
    assert samples.warnings == ("generator: only the first 1,024 samples are used; set a limit for more",)
    assert open_samples(endless(), model, limit=7).warnings == ()


def test_pixels_are_preprocessed() -> None:
    model = model_with({"image": (np.float32, ("N", 3, 4, 4))})
    pixels = np.full((2, 4, 4, 3), 255, np.uint8)
    samples = open_samples(pixels, model, preprocessing="0-1")
    assert np.array_equal(samples[0]["image"], np.ones((1, 3, 4, 4), np.float32))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (5, "int 5 holds no samples: give a path, arrays, or what yields {'x': float32 (N, 3)}"),
        ([], "the list yielded nothing; it must yield {'x': float32 (N, 3)}"),
        ({}, "there are no arrays; the model takes {'x': float32 (N, 3)}"),
        ((ROWS, np.arange(5)), "could be samples, or a sample and its label: give a list of samples"),
        ([{"y": ROWS}], "list, item 0: the list yields no 'x'; it yields y"),
        ([(ROWS, 1, 2, "a")], "list, item 0: the list yields 4 things"),
        (np.zeros((5, 4)), "the arrays: input 'x' has samples of shape (1, 4); the model takes (N, 3)"),
        (np.array(["a"]), "the arrays: 'x' has the type <U1; numbers are needed"),
    ],
)
def test_what_is_wrong_is_said(model: Model, source: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        open_samples(source, model)
    assert said in str(caught.value)


def test_one_array_for_two_inputs(two: Model) -> None:
    with pytest.raises(DataError, match="give a dict with these keys: 'ids', 'mask'"):
        open_samples(np.ones((2, 3), np.int64), two)
