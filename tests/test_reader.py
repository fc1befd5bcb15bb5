"""Readers: a user's own Python file as the source of samples, and what goes wrong in it."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from quantscope.core.data import check_samples, open_samples
from quantscope.core.errors import DataError
from quantscope.core.model import Model
from tests.interfaces import model_with

HEAD = "import numpy as np\n"
reader_samples = partial(open_samples, allow_reader=True)


@pytest.fixture(scope="module")
def model() -> Model:
    return model_with({"x": (np.float32, ("N", 3)), "k": (np.int64, ())})


def write(folder: Path, text: str) -> Path:
    path = folder / "my_reader.py"
    path.write_text(HEAD + text, encoding="utf-8")
    return path


ROWS = """
def samples():
    for i in range(5):
        yield {"x": np.full((1, 3), i, np.float32), "k": i}
"""


def test_rows_batches_and_bare_rows_are_the_same(tmp_path: Path, model: Model) -> None:
    batches = """
def samples():
    for start, stop in ((0, 2), (2, 5)):
        rows = np.arange(start, stop)
        yield {"x": np.repeat(rows[:, None], 3, 1).astype(np.float32), "k": rows, "unused": 1}
"""
    bare = ROWS.replace("(1, 3)", "3")
    prints = set()
    for text in (ROWS, batches, bare):
        samples = reader_samples(write(tmp_path, text), model)
        noted = "unused" in text
        said = ("my_reader.py, item 0: 'unused' is no input; not used",) if noted else ()
        assert (len(samples), samples.kind, samples.warnings) == (5, "reader", said)
        for _ in range(2):  # restartable
            assert [int(s["k"]) for s in samples] == [0, 1, 2, 3, 4]
            assert all(s["x"].shape == (1, 3) and s["x"][0, 0] == s["k"] for s in samples)
        assert [int(s["k"]) for s in samples.select([3, 1, 4])] == [3, 1, 4]
        prints.add(samples.fingerprint)
    assert len(prints) == 1


def test_the_inputs_are_handed_over_if_asked_for(tmp_path: Path, model: Model) -> None:
    text = """
def samples(inputs):
    yield {i.name: np.zeros([d if isinstance(d, int) else 1 for d in i.shape], i.dtype) for i in inputs}
"""
    assert reader_samples(write(tmp_path, text), model)[0]["k"].dtype == np.int64


def test_labels_and_limits(tmp_path: Path, model: Model) -> None:
    endless = ROWS.replace("range(5)", "iter(int, 1)") + "\ndef labels():\n    return range(5000)\n"
    samples = reader_samples(write(tmp_path, endless), model)
    assert len(samples) == 1024
    assert "only the first 1,024" in samples.warnings[0]
    limited = open_samples(write(tmp_path, endless), model, limit=7, allow_reader=True)
    assert (len(limited), limited.warnings) == (7, ())
    np.testing.assert_array_equal(limited.labels, np.arange(7))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def samples():\n    yield 1 / 0\n", r"my_reader\.py, line 3: ZeroDivisionError: division by zero"),
        ("def samples(:\n", r"my_reader\.py, line 2: SyntaxError"),
        ("import no_such_module\n", r"my_reader\.py, line 2: ModuleNotFoundError"),
        ("raise SystemExit(3)\n", r"my_reader\.py, line 2: SystemExit"),
        ("data = []\n", r"defines no function samples\(\)"),
        ("def samples():\n    return []\n", "yielded nothing"),
        ("def samples():\n    return 5\n", "TypeError: 'int' object is not iterable"),
        ("def samples():\n    yield [1, 2]\n", "must yield dicts of input name to array, not list"),
        ("def samples():\n    yield {'x': [[1, 2, 3]]}\n", "yields no 'k'; it yields x"),
        ("def samples():\n    yield {'x': ['a'], 'k': 1}\n", "'x' has the type <U1"),
        (
            "def samples():\n    yield {'x': [[1, 2]], 'k': 1}\n",
            r"item 0: input 'x' has samples of shape \(1, 2\)",
        ),
        ("def samples():\n    yield {'x': [[1, 2, np.nan]], 'k': 1}\n", "item 0: input 'x' holds 1 NaN"),
        ("def samples():\n    pass\n", r"one sample after another, .*it returned NoneType"),
        ("def samples():\n    return {'x': [[1, 2, 3]], 'k': 1}\n", "it returned dict of x, k"),
        ("samples = [{'x': [[1, 2, 3]], 'k': 1}]\n", "its samples is list of 1"),
        (
            "def samples():\n    yield None\n",
            r"item 0: samples\(\) must yield dicts .*, not NoneType; the model",
        ),
        ("def samples():\n    yield 'abc'\n", r"not str 'abc'; the model takes \{'x': float32 \(N, 3\)"),
        ("def samples():\n    yield b'abc'\n", "not bytes b'abc'"),
        (
            "def samples():\n    yield (np.zeros(3), 1, 2)\n",
            r"not tuple of 3 \(ndarray of float64 \(3,\), int",
        ),
        (
            "def samples():\n    yield {'x': [[1.0, 2.0], [3.0]], 'k': 1}\n",
            "item 0: 'x' is a ragged list of 2",
        ),
        (
            "def samples():\n    yield {'x': object(), 'k': 1}\n",
            "'x' has the type Python objects; .* not object",
        ),
        (
            "def samples():\n    yield {'x': np.zeros((1, 3), complex), 'k': 1}\n",
            "'x' has the type complex128",
        ),
        ("def samples():\n    yield {'x': b'abc', 'k': 1}\n", r"'x' has the type \|S3; .* not bytes b'abc'"),
        ("def samples():\n    yield {}\n", "yields no 'x'; it yields an empty dict"),
        (ROWS + "        if i == 3: raise KeyError('q')\n", r"line \d+: KeyError: 'q', after 4 samples"),
        (
            "class Odd:\n    shape = (1, 3)\n    def __array__(self, *a, **k): raise RuntimeError('no way')\n"
            "def samples():\n    yield {'x': Odd(), 'k': 1}\n",
            r"'x' is Odd of values \(1, 3\), which is no array \(no way\)",
        ),
        (ROWS + "def labels():\n    return [1, 2]\n", r"labels\(\) must give one integer a sample"),
        (ROWS + "def labels():\n    raise KeyError('q')\n", r"line \d+: KeyError"),
    ],
)
def test_whatever_it_raises_is_one_line_with_the_place(
    tmp_path: Path, model: Model, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        reader_samples(write(tmp_path, text), model)
    assert "\n" not in str(caught.value)


def test_a_reader_that_cannot_start_anew_is_found_out(tmp_path: Path, model: Model) -> None:
    once = ROWS.replace("def samples():", "def made():") + "\nit = made()\ndef samples():\n    return it\n"
    samples = reader_samples(write(tmp_path, once), model)
    with pytest.raises(DataError, match="must start anew"):
        list(samples)


def test_it_runs_only_on_request(tmp_path: Path, model: Model) -> None:
    marker = tmp_path / "ran"
    path = write(tmp_path, f"open({str(marker)!r}, 'w').close()\n" + ROWS)
    with pytest.raises(DataError, match="only when named on the command line"):
        open_samples(path, model)
    assert not marker.exists()
    samples = open_samples(path, model, allow_reader=True)
    assert marker.exists()
    assert check_samples(samples, model) == ()


# --- labels that come with the samples ---------------------------------------------------------------


@pytest.fixture(scope="module")
def one() -> Model:
    return model_with({"x": (np.float32, ("N", 3))})


TENSOR = """
class Tensor:
    def __init__(self, values): self.values = np.asarray(values)
    shape = property(lambda self: self.values.shape)
    dtype = property(lambda self: self.values.dtype)
    def detach(self): return Detached(self.values)
    def __array__(self, *a, **k): raise RuntimeError("call detach() first")
class Detached(Tensor):
    def cpu(self): return self
    def numpy(self): return self.values
    def __array__(self, *a, **k): return self.values
"""


@pytest.mark.parametrize(
    "item",
    [
        "{'x': row(i)}, i",
        "[{'x': row(i)}, i]",
        "(row(i), i)",
        "(row(i)[0], i)",
        "[row(i), np.array([i])]",
        "(row(i).tolist(), i)",
        "{'x': row(i), 'labels': i}",
        "{'x': row(i), 'label': np.array([i])}",
        "(Tensor(row(i)), Tensor(i))",
        "[Tensor(row(i)), Tensor([i])]",
        "{'x': [Tensor(row(i)[0])]}, Tensor(np.eye(10)[i])",
    ],
)
def test_samples_may_come_with_their_labels(tmp_path: Path, one: Model, item: str) -> None:
    text = TENSOR + "row = lambda i: np.full((1, 3), i, np.float32)\n"
    samples = reader_samples(
        write(tmp_path, text + f"def samples():\n    for i in range(5): yield {item}\n"), one
    )
    assert len(samples) == 5
    assert "labels" not in " ".join(samples.warnings)
    assert [sample["x"].tolist() for sample in samples] == [[[i] * 3] for i in range(5)]
    np.testing.assert_array_equal(samples.labels, np.arange(5))


def test_batches_come_with_theirs_and_a_limit_cuts_both(tmp_path: Path, one: Model) -> None:
    text = """
def samples():
    for start in (0, 4, 8):
        rows = np.arange(start, start + 4)
        yield [rows.astype(np.float32)[:, None].repeat(3, 1), rows % 9]
"""
    samples = reader_samples(write(tmp_path, text), one)
    np.testing.assert_array_equal(samples.labels, np.arange(12) % 9)
    assert [int(sample["x"][0, 0]) for sample in samples] == list(range(12))
    few = reader_samples(write(tmp_path, text), one, limit=6)
    np.testing.assert_array_equal(few.labels, np.arange(6))
    assert len(few) == 6


@pytest.mark.parametrize("item", ["(row[0], row[0])", "[row[0], row[0] + 1]", "[[1, 2, 3], [4, 5, 6]]"])
def test_two_rows_are_no_pair(tmp_path: Path, one: Model, item: str) -> None:
    text = f"row = np.ones((1, 3), np.float32)\ndef samples():\n    yield {item}\n"
    samples = reader_samples(write(tmp_path, text), one)
    assert (len(samples), samples.labels) == (2, None)


def test_a_target_that_is_no_class_is_left_out(tmp_path: Path, one: Model) -> None:
    """Data loaders give pairs for tasks of any kind; nobody called the second part labels."""
    text = "row = np.ones((1, 3), np.float32)\ndef samples():\n    yield [row, row / 2]\n"
    samples = reader_samples(write(tmp_path, text), one)
    assert (len(samples), samples.labels) == (1, None)
    assert "labels not used" in samples.warnings[-1]


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ("{'x': row}, 'cat'", "the label is str 'cat', no class number"),
        ("{'x': row}, {'boxes': [1]}", "the label is dict of boxes"),
        ("{'x': row}, 12", "labels go from 12 to 12"),
        ("({'x': row}, 1) if i else {'x': row}", "4 of 5 items .* have a label"),
        ("{'x': row}, [1, 2, 3]", r"labels have the shape \(5, 3\)"),
        ("{'x': row}, 0.5", "whole class numbers"),
    ],
)
def test_labels_that_are_no_use_do_not_stop_a_calibration(
    tmp_path: Path, one: Model, item: str, why: str
) -> None:
    text = "row = np.ones((1, 3), np.float32)\ndef samples():\n    for i in range(5): yield "
    path = write(tmp_path, text + item + "\n")
    samples = open_samples(path, one, allow_reader=True, labels_needed=False)
    assert (len(samples), samples.labels) == (5, None)
    (said,) = samples.warnings
    assert re.search("labels not used: .*" + why, said)


@pytest.mark.parametrize("first", ["row", "{'x': row}"])
def test_more_than_a_pair_is_refused(tmp_path: Path, one: Model, first: str) -> None:
    item = f"{first}, 1, 'a.png'"
    text = f"row = np.ones((1, 3), np.float32)\ndef samples():\n    yield {item}\n"
    with pytest.raises(DataError) as caught:
        reader_samples(write(tmp_path, text), one)
    said = "yields 3 things where a dict, an array, or a pair of one and its label is wanted, not tuple of 3"
    assert said in str(caught.value)


@pytest.mark.parametrize("item", ["{'x': row, 'path': 'a'}", "({'x': row, 'path': 'a'}, 0)"])
def test_keys_that_are_no_input_are_noted(tmp_path: Path, one: Model, item: str) -> None:
    text = f"row = np.ones((1, 3), np.float32)\ndef samples():\n    for _ in range(3): yield {item}\n"
    samples = reader_samples(write(tmp_path, text), one)
    assert samples.warnings[0].endswith("item 0: 'path' is no input; not used")
    assert sum("no input" in said for said in samples.warnings) == 1


def test_functions_with_defaults_are_called_without_the_inputs(tmp_path: Path, one: Model) -> None:
    text = "def samples(count=4, *rest, **more):\n    for i in range(count): yield [[i, i, i]]\n"
    assert len(reader_samples(write(tmp_path, text), one)) == 4


def test_what_is_said_of_an_item_is_passed_on(tmp_path: Path) -> None:
    model = model_with({"x": (np.float32, ("N", 3, 4, 4))})
    text = "def samples():\n    for i in range(3): yield np.full((1, 4, 4, 3), i, np.uint8)\n"
    said = " | ".join(reader_samples(write(tmp_path, text), model).warnings)
    assert "transposed from NHWC to NCHW" in said
    assert "converted to float32 without scaling" in said
    assert "item 1" not in said


def test_samples_that_cannot_be_repeated_are_pointed_out(tmp_path: Path, one: Model) -> None:
    drawn = """
rng = np.random.default_rng(0)
def samples():
    for i in range(5): yield rng.standard_normal((1, 3)).astype(np.float32)
"""
    (said,) = reader_samples(write(tmp_path, drawn), one).warnings
    assert "gives other samples at the next call" in said
    seeded = drawn.replace("    for", "    rng = np.random.default_rng(0)\n    for")
    assert reader_samples(write(tmp_path, seeded), one).warnings == ()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("r_none.py", r"samples\(\) must yield .*; it returned NoneType"),
        ("r_ragged.py", r"item 0: 'x' is a ragged list of 2 .* the model takes float32 \(N, 3, 8, 8\)"),
        ("r_dictlabel.py", None),
        ("reader_torch.py", None),
    ],
)
def test_readers_that_people_wrote(shared: Path, name: str, message: str | None) -> None:
    path, model = shared / "cases" / "readers" / name, model_with({"x": (np.float32, ("N", 3, 8, 8))})
    if not path.is_file():
        pytest.skip(f"no {name} among the cases")
    if message is not None:
        with pytest.raises(DataError, match=message):
            reader_samples(path, model)
        return
    samples = reader_samples(path, model)
    assert len(samples) == 4
    np.testing.assert_array_equal(samples.labels, range(4) if name == "r_dictlabel.py" else [1] * 4)
