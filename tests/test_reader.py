"""Readers: a user's own Python file as the source of samples, and what goes wrong in it."""

from pathlib import Path

import numpy as np
import pytest

from core.data import check_samples, open_samples, reader_samples
from core.errors import DataError
from core.model import Model
from tests.interfaces import model_with

HEAD = "import numpy as np\n"


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
        assert (len(samples), samples.kind, samples.warnings) == (5, "reader", ())
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
