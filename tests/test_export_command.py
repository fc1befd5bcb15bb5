"""The command line that the Export page shows makes the very bytes that the page exports."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from quantscope.core import pipeline
from quantscope.core.data.sources import PRESETS, preprocessing
from quantscope.core.data.sources.images import Filter, Order, Preprocessing, Resize
from quantscope.core.project import Project
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.core.thresholds import Method
from quantscope.ui.cli.command_line import run
from quantscope.ui.content import shells
from quantscope.ui.runs import exporting
from quantscope.ui.runs.measurement_work import quantized_bytes
from quantscope.ui.session import opening
from quantscope.ui.session.workspace import prepare
from tests.pages import go, home, recipe, start, until
from tests.pages import opened as opened_in

__all__ = ["home"]  # a fixture

RECIPE = Recipe().with_default(method=Method.PERCENTILE, percentile=99.0)
HARD = "50% of 'my' & \"old\" data! $HOME ^ (1)"  # a folder's name on POSIX systems


def network(path: Path) -> Path:
    """Conv, Relu, mean and product of images (N, 3, 8, 8)."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(0, 0.4, (8, 3, 3, 3)).astype(np.float32),
        "v": rng.normal(0, 0.4, (8, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("ReduceMean", ["r"], ["m"], name="mean", axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["m", "v"], ["y"], name="head"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def pixels(count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Images of which later ones are brighter, so that the range depends on how many are used."""
    noise = np.random.default_rng(1).integers(0, 60, (count, *shape))
    return np.asarray(noise + np.arange(count).reshape(-1, *[1] * len(shape)) * 12, np.uint8)


def npz(folder: Path) -> Path:
    np.savez(folder / "data.npz", x=pixels(12, (3, 8, 8)).astype(np.float32) / 100, labels=np.arange(12) % 4)
    return folder / "data.npz"


def npy(folder: Path) -> Path:
    (folder / "arrays").mkdir()
    np.save(folder / "arrays" / "x.npy", pixels(12, (3, 8, 8)).astype(np.float32) / 100)
    return folder / "arrays"


def images(folder: Path) -> Path:
    (folder / "images").mkdir()
    for number, image in enumerate(pixels(12, (11, 14, 3))):
        Image.fromarray(image).save(folder / "images" / f"{number:02d}.png")
    return folder / "images"


def stored_pixels(folder: Path) -> Path:
    np.save(folder / "pixels.npy", pixels(12, (10, 9, 3)))
    return folder / "pixels.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    data: Callable[[Path], Path] | None
    options: Mapping[str, Any] = field(default_factory=dict)
    uploaded: bool = False
    recipe: Recipe = RECIPE
    matters: tuple[str, ...] = ()  # options without which the command makes another file


def how(**settings: Any) -> dict[str, Any]:
    return preprocessing(settings).to_dict()


ALL_SETTINGS = how(
    size=[8, 8],
    resize="crop",
    crop_ratio=0.7,
    filter="bicubic",
    order="BGR",
    scale=1 / 77,
    mean=[0.1, 0.2, 1 / 3],
    std=[0.9, 1.1, 1e-05 + 1],
    layout="NCHW",
)
CASES = {
    "npz": Case(data=npz),
    "npz, limit": Case(data=npz, options={"limit": 5}, matters=("--limit",)),
    "npz, limit, uploaded": Case(data=npz, options={"limit": 5}, uploaded=True, matters=("--limit",)),
    "npy files": Case(data=npy, options={"limit": 7}, matters=("--limit",)),
    "images, guessed": Case(data=images),
    "images, preset": Case(
        data=images,
        options={"limit": 6, "preprocessing": how(preset="imagenet-tf", resize="pad", order="BGR")},
        matters=("--limit", "--preprocess"),
    ),
    "images, all settings": Case(
        data=images, options={"preprocessing": ALL_SETTINGS}, matters=("--preprocess",)
    ),
    "pixels": Case(
        data=stored_pixels,
        options={"preprocessing": how(preset="0-1", resize="stretch")},
        uploaded=True,
    ),
    "random": Case(data=None, matters=("--random",)),
    "random, seed": Case(data=None, options={"limit": 9, "seed": 5}, matters=("--random", "--seed")),
    "another target, fixes": Case(
        data=npz, recipe=RECIPE.with_target("onnxruntime-any-x86").with_passes("equalize", "bias_correction")
    ),
}


def opened(case: Case, folder: Path) -> Project:
    model = network(folder / "my net.onnx")
    data = case.data(folder) if case.data is not None else None
    if case.uploaded:
        assert data is not None
        given: Any = [(path.name, path.read_bytes()) for path in (model, data)]
    else:
        given = [opening.model_source(str(model)), opening.data_source(None if data is None else str(data))]
    return opening.open_sources(model.name, *given, options=dict(case.options))


def exported(project: Project, recipe: Recipe) -> bytes:
    """What the app exports for a recipe."""
    space = prepare(project, lambda _: None)
    assert space.samples is not None
    ready = pipeline.prepare(space.model, recipe, space.samples, statistics=space.statistics)
    encodings = resolve(recipe, ready.statistics, ready.model)
    final, _ = pipeline.finish(ready.model, recipe, space.samples, encodings)
    return quantized_bytes(ready.model, final)


def without(words: list[str], option: str) -> list[str]:
    at = words.index(option)
    return [*words[:at], *words[at + 2 :]]


@pytest.mark.parametrize("name", CASES)
def test_the_command_makes_the_same_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    folder = tmp_path / (HARD if os.name != "nt" else "my 'old' data & more")
    folder.mkdir()
    project = opened(case, folder)
    data = exported(project, case.recipe)
    line = exporting.command(project, case.recipe, "my_net")
    words = shlex.split(line.replace("\\\n", ""))
    assert words == [w for group in exporting.command_words(project, case.recipe, "my_net") for w in group]
    (folder / "there").mkdir()
    monkeypatch.chdir(folder / "there")
    Path("my_net_recipe.yaml").write_text(recipe_to_yaml(case.recipe), encoding="utf-8")
    assert words[0] == "quantscope"
    assert run(words[1:]) == 0
    made = Path(words[words.index("-o") + 1])
    assert made.read_bytes() == data
    for option in case.matters:
        made.unlink()
        fewer = without(words, option)
        if option == "--random":
            fewer += [option, "3"]
        assert run(fewer[1:]) == 0
        assert made.read_bytes() != data, option


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_a_posix_shell_reads_it_as_it_is_meant(tmp_path: Path) -> None:
    folder = tmp_path / HARD
    folder.mkdir()
    project = opened(CASES["images, all settings"], folder)
    line = exporting.command(project, RECIPE, "my_net")
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "quantscope"
    fake.write_text(
        f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n", encoding="utf-8"
    )
    fake.chmod(0o755)
    environment = {**os.environ, "PATH": f"{fake.parent}{os.pathsep}{os.environ['PATH']}"}
    said = subprocess.run(
        [shutil.which("sh") or "sh", "-c", line], capture_output=True, check=True, text=True, env=environment
    ).stdout
    words = [w for group in exporting.command_words(project, RECIPE, "my_net") for w in group]
    assert re.findall(r'"((?:[^"\\]|\\.)*)"', said) == [
        word.replace("\\", "\\\\").replace('"', '\\"') for word in words[1:]
    ]


@pytest.mark.parametrize("fitting", [True, False])
def test_labels_do_not_change_the_file_and_are_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fitting: bool
) -> None:
    """Those that do not fit are a warning in the app, and an error on the command line."""
    np.save(tmp_path / "labels.npy", np.arange(12) % 4 if fitting else np.full(12, 37))
    project = opened(Case(data=npz, options={"labels": str(tmp_path / "labels.npy")}), tmp_path)
    space = prepare(project, lambda _: None)
    assert any("labels go from 37" in note for note in space.notes) is not fitting
    words = [w for group in exporting.command_words(project, RECIPE, "n") for w in group]
    assert "--labels" not in words
    monkeypatch.chdir(tmp_path)
    Path("n_recipe.yaml").write_text(recipe_to_yaml(RECIPE), encoding="utf-8")
    assert run(words[1:]) == 0
    assert Path(words[words.index("-o") + 1]).read_bytes() == exported(project, RECIPE)


def test_the_page_shows_the_command_for_every_shell_this_platform_first() -> None:
    app = start(opening.open_sample("digits_mlp"))
    until(app, lambda a: "recipe" in a.session_state)
    go(app, "export")
    shown = [code.value for code in app.code if "quantize" in code.value]
    assert shown == [
        exporting.command(opened_in(app), recipe(app), "digits_mlp", shell) for shell in shells.shells()
    ]
    assert shells.shells()[0] is (shells.POWERSHELL if os.name == "nt" else shells.POSIX)


# --- preprocessing as text ---


settings_ = st.builds(
    Preprocessing,
    size=st.none() | st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    resize=st.sampled_from(Resize),
    crop_ratio=st.floats(0.01, 1.0),
    filter=st.sampled_from(Filter),
    order=st.sampled_from([Order.RGB, Order.BGR]),
    scale=st.floats(-1e6, 1e6),
    mean=st.tuples(*[st.floats(-1e30, 1e30)] * 3) | st.tuples(st.floats(-1e3, 1e3)),
    std=st.tuples(*[st.floats(1e-30, 1e30)] * 3),
    layout=st.sampled_from([None, "NCHW", "NHWC"]),
)


@given(settings_ | st.sampled_from(list(PRESETS.values())))
def test_a_preprocessing_survives_as_text(how: Preprocessing) -> None:
    assert preprocessing(how.to_text()) == how


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_called_by_its_name(preset: str) -> None:
    assert PRESETS[preset].to_text() == preset
    assert preprocessing(f"{preset},order=BGR").to_text() == f"{preset},order=BGR"


# --- quoting for Windows ---


def arguments(line: str) -> list[str]:
    """The words of a command line by the documented rules of CommandLineToArgvW."""
    words, at = [], 0
    while True:
        while at < len(line) and line[at] in " \t":
            at += 1
        if at == len(line):
            return words
        word, inside = "", False
        while at < len(line) and (inside or line[at] not in " \t"):
            slashes = 0
            while at < len(line) and line[at] == "\\":
                slashes, at = slashes + 1, at + 1
            if at < len(line) and line[at] == '"':
                word += "\\" * (slashes // 2)
                if slashes % 2:
                    word += '"'
                else:
                    inside = not inside
                at += 1
            else:
                word += "\\" * slashes
                if at < len(line) and (inside or line[at] not in " \t"):
                    word, at = word + line[at], at + 1
        words.append(word)


def cmd(line: str, variables: Mapping[str, str]) -> str:
    """What cmd.exe gives a program for a line typed at its prompt: variables, then carets and quotes.

    Anything that it would take for a pipe, a redirection, or a second command is an error.
    """
    line = re.sub("%([^%]+)%", lambda m: variables.get(m[1].upper(), m[0]), line)
    out, at, inside = "", 0, False
    while at < len(line):
        char = line[at]
        if char == "^" and not inside:
            at += 1
            if at < len(line) and line[at] == "\n":
                at += 1
            out += line[at : at + 1]
        elif char == "\n":
            raise AssertionError(f"the command ends at {out!r}")
        else:
            assert inside or char not in "&|<>", f"{char} would not reach the program"
            inside ^= char == '"'
            out += char
        at += 1
    return out


def powershell(line: str) -> list[str]:
    """The words of a PowerShell command without variables: bare ones, and literal ones in single quotes."""
    quotes = "'\u2018\u2019\u201a\u201b"
    words, at = [], 0
    line = line.replace("`\n", "")
    while at < len(line):
        if line[at] == " ":
            at += 1
            continue
        word = ""
        if line[at] in quotes:
            at += 1
            while line[at] not in quotes or line[at + 1 : at + 2] in [*quotes]:
                at += line[at] in quotes
                word, at = word + line[at], at + 1
            at += 1
        while at < len(line) and line[at] != " ":
            assert line[at] not in '$,;(){}|&<>@#`"' + quotes, f"{line[at]} means something there"
            word, at = word + line[at], at + 1
        words.append(word)
    return words


WORDS = [
    "plain",
    "",
    r"C:\Program Files\my net.onnx",
    r"C:\a b\\",
    r"\\server\share\x y",
    'say "hi"',
    r"back\"slash",
    r'two\\"',
    "R&D|x<y>z",
    "50%",
    "%PATH%",
    "100%PATH%&",
    '"%PATH%" & ^%',
    "a^b",
    "wow!",
    "(1)",
    "it's",
    "$HOME `x`",
    "\u2018curly\u2019",
    "a,b;c=d",
    "0-1,size=8x8,mean=0.1/0.2",
]
special = st.text(alphabet="ab \\\"'&|<>()^%!$`,;=PATH\u2019", max_size=12)
VARIABLES = {"PATH": "C:\\x", "A": "expanded", "AB": "expanded"}


@given(st.lists(special | st.sampled_from(WORDS), min_size=1, max_size=4))
def test_cmd_and_the_program_read_the_words_that_were_meant(words: list[str]) -> None:
    line = shells.CMD.command([["quantscope", "quantize"], *([word] for word in words)])
    assert arguments(cmd(line, VARIABLES)) == ["quantscope", "quantize", *words]


@given(st.lists(special | st.sampled_from(WORDS), min_size=1, max_size=4))
def test_powershell_reads_the_words_that_were_meant(words: list[str]) -> None:
    line = shells.POWERSHELL.command([["quantscope", "quantize"], *([word] for word in words)])
    assert powershell(line) == ["quantscope", "quantize", *words]


def test_ordinary_words_stay_readable() -> None:
    words = [["quantscope", r"C:\nets\a.onnx"], ["--data", r"C:\my data\b.npz"]]
    assert shells.CMD.command(words) == 'quantscope C:\\nets\\a.onnx ^\n  --data "C:\\my data\\b.npz"'
    assert shells.POWERSHELL.command(words) == "quantscope C:\\nets\\a.onnx `\n  --data 'C:\\my data\\b.npz'"
    assert shells.POSIX.command([["a b"], ["c"]]) == "'a b' \\\n  c"
