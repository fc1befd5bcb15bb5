"""What the command prints stays within the terminal, whatever a model calls its parts."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from quantscope.core.data.sources import text as shape_text
from quantscope.ui.content import text as page_text
from quantscope.ui.terminal.columns import DEFAULT_COLUMNS, cells, cut, dims, fold
from quantscope.ui.terminal.console import table
from tests.interfaces import save
from tests.networks import Net
from tests.support import Run

LONG = "model/stage_" * 40
NAMES = {
    "long": lambda part: LONG + part,
    "wide": lambda part: "深層学習の層" * 30 + part,
    "odd": lambda part: f"\x1b[31m<b>{part}</b>\u202e\t|" * 12,
    "spaced": lambda part: f"{part} of the many parts " * 20,
    "short": lambda part: part,
}


def named(kind: str) -> onnx.ModelProto:
    """A classifier of which everything has a name, and every name is of one kind."""
    name = NAMES[kind]
    n = Net(1)
    x = name("x")
    y = n.add("Relu", [n.conv(x, name("conv"), 3, 4)], name("relu"))
    y = n.add("Flatten", [n.add("GlobalAveragePool", [y], name("gap"))], name("flat"))
    n.add("Gemm", [y, n.random(name("w"), 4, 5)], name("y"))
    proto = n.model({x: [name("batch"), 3, 8, 8]}, {name("y"): [name("batch"), 5]})
    for number, part in enumerate(proto.graph.node):
        part.name = name(f"node{number}")
        part.doc_string = name("said")
    proto.graph.name = name("graph")
    proto.graph.doc_string = proto.doc_string = proto.producer_name = proto.domain = name("made")
    proto.opset_import.append(helper.make_opsetid(name("domain"), 1))
    helper.set_model_props(proto, {name("key"): name("value")})
    return proto


def checked(text: str, width: int) -> None:
    for line in text.splitlines():
        assert cells(line) <= width, line
        assert all(c.isprintable() for c in line)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("width", [60, 80, 120, None])
def test_every_listing_keeps_within_the_terminal(
    quantscope: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, width: int | None
) -> None:
    if width is None:
        monkeypatch.delenv("COLUMNS", raising=False)
        monkeypatch.setattr("os.get_terminal_size", _no_terminal)
    else:
        monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.chdir(tmp_path)
    onnx.save(named(kind), "m.onnx")
    x = np.random.default_rng(0).standard_normal((6, 3, 8, 8)).astype(np.float32)
    save(tmp_path / "a.npz", x=x, labels=np.arange(6) % 5)
    data = ("--data", "a.npz")
    for words in (
        ("inspect", "m.onnx"),
        ("calibrate", "m.onnx", *data, "-o", "s.npz"),
        ("quantize", "m.onnx", *data, "-o", "q.onnx", "--method", "minmax", "--report"),
        ("compare", "m.onnx", "q.onnx", *data),
        ("inspect", "q.onnx"),
        ("sensitivity", "m.onnx", *data, "--samples", 2),
    ):
        done = quantscope(*words)
        assert done.code == 0, done.err
        assert done.out.strip()
        checked(done.out, width or DEFAULT_COLUMNS)
    if kind == "long":  # nothing is lost where it is asked for
        whole = quantscope("inspect", "m.onnx", "--json").json
        assert whole["inputs"][0]["name"] == NAMES[kind]("x")
        assert whole["inputs"][0]["shape"][0] == NAMES[kind]("batch")


def _no_terminal(_: int) -> None:
    raise OSError("not a terminal")


@pytest.mark.parametrize("width", [60, 80])
def test_tables_without_names_keep_within_it_too(
    quantscope: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    onnx.save(named("long"), tmp_path / "m.onnx")
    np.save(tmp_path / "v.npy", np.random.default_rng(0).standard_normal(500).astype(np.float32))
    tune = ("tune", tmp_path / "m.onnx", "--random", 6, "-o", "r.yaml", "--max-drop", 100, "--cost", "size")
    monkeypatch.chdir(tmp_path)
    for words in (tune, ("doctor",), ("thresholds", "v.npy"), ("thresholds", "v.npy", "--reference")):
        done = quantscope(*words)
        assert done.code == 0, done.err
        checked(done.out, width)


def test_figures_are_cut_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    rows = [(LONG, "float32", "1,234,567", "12.34 to 56.78 dB"), ("b", "int8", "1", "exact")]
    head = ("layer", "type", "parameters of it", "interval")
    shown = table(head, rows, numeric=("parameters of it",), whole=("interval",))
    lines = shown.splitlines()
    checked(shown, 60)
    assert lines[0].split() == ["parameters"]  # a head in two lines
    assert lines[1].split() == ["layer", "type", "of", "it", "interval"]
    assert all(
        word in lines[3] for word in ("float32", "1,234,567", "12.34 to 56.78 dB", "model/", "…", "stage_")
    )
    monkeypatch.setenv("COLUMNS", "200")
    assert table(("a", "b"), [("c", "d")]) == "a  b\n-  -\nc  d"


@given(st.text(max_size=80), st.integers(3, 40))
def test_cut_and_fold_fit_and_keep_what_they_can(text: str, width: int) -> None:
    short = cut(text, width)
    assert cells(short) <= width
    assert short == text or "…" in short
    line = " ".join(text.split())
    parts = fold(line, max(width, 8))
    assert all(cells(part) <= max(width, 8) for part in parts)
    assert "".join("".join(parts).split()) == "".join(line.split())


def test_what_fits_nowhere_ends_too() -> None:
    assert fold("深層", 1) == ["深", "層"]
    assert cut("深層", 1) == "…"
    assert cut("深層", 2) == "…"


def test_an_option_stays_with_its_value() -> None:
    assert fold("use quantscope quantize --target any-x86 now", 34) == [
        "use quantscope quantize",
        "  --target any-x86 now",
    ]


def test_ideographs_take_two_columns() -> None:
    assert cells("a深é") == 4
    assert unicodedata.east_asian_width("深") == "W"
    assert cut("深層学習の層", 7) == "深…の層"


def test_dimensions_are_cut_one_by_one() -> None:
    assert dims([1, "batch", None, 3]) == "1xbatchx?x3"
    assert dims(["b" * 300, 3]) == f"{'b' * 5}…{'b' * 10}x3"


def test_dimensions_lose_no_sizes_and_are_cut_once() -> None:
    long = ["p2o.DynamicDimension.0", 192, "p2o.DynamicDimension.1", None]
    assert dims(long, 24) == "p2…ion.0x192xp2…ion.1x?"
    assert dims(long, 1) == "p….0x192xp….1x?"
    assert dims([16, 1024, 1024], 3) == "16x1024x1024"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_inspect_shows_all_dimensions(
    quantscope: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    names: list[object] = [f"p2o.DynamicDimension.{n}" for n in range(3)]
    shape = [names[0], 192, *names[1:]]
    n = Net()
    n.add("Relu", ["x"], "y")
    onnx.save(n.model({"x": shape}, {"y": shape}), tmp_path / "m.onnx")
    done = quantscope("inspect", tmp_path / "m.onnx")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    shown = [word for line in lines for word in line.split() if "x192x" in word]
    assert len(shown) >= 4  # input, output, and both layers
    for text in shown:
        assert text.count("x") == 3
        assert [part[-2:] for part in text.split("x192x")[1].split("x")] == [".1", ".2"]
    assert "……" not in done.out
    assert max(map(cells, lines)) <= width


def test_names_of_files_stay_whole_for_other_programs(
    quantscope: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("os.get_terminal_size", _no_terminal)
    folder = tmp_path / ("deep " * 20) / ("and long " * 10)
    folder.mkdir(parents=True)
    onnx.save(named("short"), folder / "m.onnx")
    done = quantscope("calibrate", folder / "m.onnx", "--random", 2, "-o", folder / "s.npz")
    assert f"wrote {folder / 's.npz'}: statistics" in done.out


def test_dimensions_on_pages_and_in_messages_are_cut_too() -> None:
    long = ("b" * 300, 3, None)
    assert page_text.dims(long) == f"{'b' * 5}…{'b' * 10} × 3 × ?"
    assert (page_text.dims(None), page_text.dims(())) == ("?", "one value")
    assert shape_text(long) == f"({'b' * 8}…{'b' * 15}, 3, ?)"
    assert shape_text(("batch", 3)) == "(batch, 3)"
