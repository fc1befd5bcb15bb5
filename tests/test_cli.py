"""The `quantscope` command: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from quantscope.core.thresholds import FROM_HISTOGRAM, Method
from quantscope.core.thresholds.reference import REFERENCES
from quantscope.sample_data import SAMPLES
from quantscope.ui.cli import command_line
from quantscope.ui.cli.samples import read_preprocessing
from quantscope.ui.terminal import console
from tests.sessions import session as open_session
from tests.support import Run, process

MLP = SAMPLES["digits_mlp"]


# Help


def test_help_names_every_command_and_answers_at_once(tmp_path: Path) -> None:
    done = process("--help", home=tmp_path, options=["-X", "importtime"])
    assert done.returncode == 0
    for command in COMMANDS:
        assert command in done.stdout
    # It takes 0.1 s on a quiet machine, and seconds where an engine is loaded. The time itself says less:
    # other work may take the processor away.
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"numba", "numpy", "onnx", "onnx_ir", "onnxruntime", "pandas", "plotly", "streamlit"}


def test_help_names_every_method_and_type(quantscope: Run) -> None:
    text = " ".join(quantscope("quantize", "--help").out.split())
    assert all(method.value in text for method in Method if method is not Method.MANUAL)
    text = " ".join(quantscope("thresholds", "--help").out.split())
    assert all(name in text for name in ("int2", "int16", "uint2", "uint16"))


COMMANDS = tuple(command.__name__ for command in command_line.COMMANDS)  # demo and app first
WITH_DATA = ("calibrate", "quantize", "tune", "sensitivity", "compare")


def test_the_readme_knows_every_command_and_only_options_that_exist(quantscope: Run, repo_root: Path) -> None:
    text = (repo_root / "README.md").read_text(encoding="utf-8")
    assert all(f"    quantscope {command} " in text for command in COMMANDS)
    helps = {command: quantscope(command, "--help").out for command in COMMANDS}
    rows = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("| `--")]
    assert len(rows) > 20
    for options, of, _ in rows:
        groups = {"all but demo, app": COMMANDS[2:], "all with data": WITH_DATA, "all": ()}
        for command in groups.get(of.strip(), tuple(word.strip() for word in of.split(","))):
            for option in re.findall(r"--[a-z-]+", options):
                assert re.search(rf"{option}\b", helps[command]), (command, option)


def test_the_preprocessing_file_of_the_readme_is_the_preset(repo_root: Path, tmp_path: Path) -> None:
    text = (repo_root / "README.md").read_text(encoding="utf-8")
    lines = text[text.index("    preset: imagenet-torch") :].split("\n\n")[0].splitlines()
    given = "\n".join(line.strip() for line in lines)
    (tmp_path / "p.yaml").write_text(given, encoding="utf-8")
    found, preset = (
        read_preprocessing(str(tmp_path / "p.yaml")),
        read_preprocessing("imagenet-torch,size=224"),
    )
    assert set(yaml.safe_load(given)) == {"preset", *preset.to_dict()}
    assert found.describe() == preset.describe()


def test_no_arguments_show_the_help(quantscope: Run) -> None:
    done = quantscope()
    assert done.code == 0
    assert "Usage: quantscope" in done.out


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["net.onnx", "--data", "d"], ["app", "net.onnx", "--data", "d"]),
        (["./net", "--data", "d"], ["app", "./net", "--data", "d"]),
        (["C:\\nets\\a.ONNX"], ["app", "C:\\nets\\a.ONNX"]),
        (["inspect", "net.onnx"], ["inspect", "net.onnx"]),
        (["--version"], ["--version"]),
        (["inspekt"], ["inspekt"]),
        ([], ["--help"]),
    ],
)
def test_a_model_alone_opens_the_app(given: list[str], expected: list[str]) -> None:
    assert command_line.with_command(given) == expected


# The whole path


def test_the_whole_path(quantscope: Run, tmp_path: Path) -> None:
    """calibrate → quantize from statistics → quantize from the saved recipe and data: the same file."""
    stats, first, second, recipe = (tmp_path / n for n in ("s.npz", "a.onnx", "b.onnx", "recipe.yaml"))
    calibrated = quantscope("calibrate", MLP.model, "--data", MLP.calibration, "-o", stats, "--json")
    assert calibrated.code == 0, calibrated.err
    assert calibrated.json["samples"] > 0
    assert {t["name"] for t in calibrated.json["tensors"]}

    more = ("--method", "mse", "--weights", "per-tensor", "--save-recipe", recipe)
    assert quantscope("quantize", MLP.model, "--stats", stats, "-o", first, *more).code == 0
    again = quantscope(
        "quantize", MLP.model, "--data", MLP.calibration, "-o", second, "--recipe", recipe, "--json"
    )
    assert again.code == 0, again.err
    assert again.json["default"]["method"] == "mse"
    assert again.json["size_bytes"]["quantized"] == second.stat().st_size
    assert first.read_bytes() == second.read_bytes()

    session = open_session(first)
    data = np.load(MLP.evaluation)
    name = session.get_inputs()[0].name
    right = np.mean([session.run(None, {name: x[None]})[0].argmax() for x in data[name]] == data["labels"])
    assert right > MLP.float_accuracy - 0.05
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "a.onnx",
        "b.onnx",
        "recipe.yaml",
        "s.npz",
    ]


def test_compare_gives_the_figures_of_a_plain_run(quantscope: Run, tmp_path: Path) -> None:
    out = tmp_path / "q.onnx"
    assert quantscope("quantize", MLP.model, "--data", MLP.calibration, "-o", out).code == 0
    done = quantscope("compare", MLP.model, out, "--data", MLP.evaluation, "--json")
    assert done.code == 0, done.err
    found = done.json

    data = np.load(MLP.evaluation)
    sessions = [open_session(path) for path in (MLP.model, out)]
    name = sessions[0].get_inputs()[0].name
    f, q = (
        np.concatenate([s.run(None, {name: x[None]})[0] for x in data[name]]).astype(float) for s in sessions
    )
    assert found["output"]["cosine"] == pytest.approx(
        np.vdot(f, q) / np.linalg.norm(f) / np.linalg.norm(q), abs=1e-9
    )
    assert found["output"]["sqnr_db"] == pytest.approx(
        10 * np.log10((f**2).sum() / ((f - q) ** 2).sum()), abs=1e-3
    )
    assert found["accuracy"]["float"] == pytest.approx((f.argmax(1) == data["labels"]).mean())
    assert found["accuracy"]["quantized"] == pytest.approx((q.argmax(1) == data["labels"]).mean())
    assert found["accuracy"]["agreement"] == pytest.approx((f.argmax(1) == q.argmax(1)).mean())
    assert found["size_bytes"] == {"float": MLP.model.stat().st_size, "quantized": out.stat().st_size}
    assert found["latency_ms"]["float"] > 0 < found["latency_ms"]["quantized"]
    assert {"name", "cumulative", "local"} <= set(found["layers"][0])


def test_accuracy_is_null_without_labels(quantscope: Run, tmp_path: Path) -> None:
    out, data = tmp_path / "q.onnx", tmp_path / "x.npz"
    arrays = np.load(MLP.calibration)
    np.savez(data, **{name: arrays[name][:8] for name in arrays.files if name != "labels"})
    assert quantscope("quantize", MLP.model, "--data", data, "-o", out).code == 0
    found = quantscope("compare", MLP.model, out, "--data", data, "--json").json
    assert found["accuracy"] is None
    assert 0 <= found["agreement"] <= 1


def test_a_model_compared_with_itself_is_strict_json(quantscope: Run) -> None:
    """No difference means an infinite SQNR, which JSON cannot say: null, beside `exact`."""
    found = quantscope("compare", MLP.model, MLP.model, "--data", MLP.evaluation, "--limit", 4, "--json").json
    assert found["output"]["sqnr_db"] is None
    assert found["output"]["exact"] is True


def test_auto_is_never_worse_than_minmax(quantscope: Run, tmp_path: Path) -> None:
    out = tmp_path / "q.onnx"
    done = quantscope(
        "quantize", MLP.model, "--data", MLP.calibration, "-o", out, "--method", "auto", "--json"
    )
    assert done.code == 0, done.err
    scores = {trial["label"]: trial["sqnr_db"] for trial in done.json["trials"]}
    assert max(scores.values()) >= next(score for label, score in scores.items() if "minmax" in label)


def test_float_layer_stays_float(quantscope: Run, tmp_path: Path) -> None:
    layers = [
        x["name"] for x in quantscope("inspect", MLP.model, "--json").json["layers"] if x["quantizable"]
    ]
    counts = [
        quantscope("quantize", MLP.model, "--random", 4, "-o", tmp_path / "q.onnx", "--json", *more).json[
            "layers"
        ]
        for more in ((), ("--float-layer", layers[-1]))
    ]
    assert counts[1]["float"] == counts[0]["float"] + 1


@pytest.mark.parametrize("name", SAMPLES)
def test_inspect_shows_what_can_be_quantized(quantscope: Run, name: str) -> None:
    found = quantscope("inspect", SAMPLES[name].model, "--json").json
    assert found["quantizable"]["layers"] > 0
    text = quantscope("inspect", SAMPLES[name].model)
    assert text.code == 0
    assert all(layer["name"] in text.out for layer in found["layers"])


def test_a_quantized_model_can_be_looked_at(quantscope: Run, tmp_path: Path) -> None:
    out = tmp_path / "q.onnx"
    quantscope("quantize", MLP.model, "--random", 4, "-o", out)
    found = quantscope("inspect", out, "--json").json
    assert found["quantized"] is True
    assert all(item["scale"][0] > 0 for item in found["scales"])
    assert quantscope("inspect", out).code == 0


# Thresholds


@pytest.mark.parametrize(
    ("type_", "symmetric"),
    [("int8", True), ("uint8", False), ("int16", True), ("int8", False), ("int6", True), ("uint3", False)],
)
def test_thresholds_are_those_of_the_definition(
    quantscope: Run, tmp_path: Path, type_: str, symmetric: bool
) -> None:
    x = np.random.default_rng(0).laplace(0.3, 1.0, (37, 11, 5)).astype(np.float32)
    path = tmp_path / "x.npy"
    np.save(path, x)
    flag = "--symmetric" if symmetric else "--asymmetric"
    found = quantscope("thresholds", path, "--type", type_, flag, "--json").json
    assert set(found) == {method.value for method in FROM_HISTOGRAM}
    signed, bits = not type_.startswith("u"), int(type_.lstrip("uint"))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    peak = np.abs(x).max()
    scale = peak / high if symmetric else (x.max() - x.min()) / (high - low)
    assert found["minmax"]["scale"] == pytest.approx(scale, rel=1e-6)
    for entry in found.values():
        assert set(entry) == {"low", "high", "scale", "zero_point", "mse"}
        q = np.clip(np.rint(x / np.float32(entry["scale"])) + entry["zero_point"], low, high)
        back = (q - entry["zero_point"]) * entry["scale"]
        assert entry["mse"] == pytest.approx(np.mean((x - back) ** 2), rel=1e-4)
    assert found["mse"]["mse"] <= min(entry["mse"] for entry in found.values()) * 1.02


@pytest.mark.slow
def test_other_tools_are_added_by_name(quantscope: Run, tmp_path: Path) -> None:
    x = np.random.default_rng(0).laplace(0.3, 1.0, (400, 50)).astype(np.float32)
    path = tmp_path / "x.npy"
    np.save(path, x)
    found = quantscope("thresholds", path, "--reference", "--json").json
    assert set(found) == {method.value for method in FROM_HISTOGRAM} | set(REFERENCES)
    peak = float(np.abs(x).max())
    assert found["nvidia-modelopt/max"]["high"] == peak
    assert found["Tengine/minmax_s8"]["scale"] == pytest.approx(peak / 127, rel=1e-6)
    several = found["onnxruntime/entropy"]
    assert several["parameters"]["num_bins"] == 128
    assert 2048 in {entry["parameters"]["num_bins"] for entry in several["variants"]}
    back = np.clip(np.rint(x / np.float32(peak / 127)), -128, 127) * np.float32(peak / 127)
    assert found["nvidia-modelopt/max"]["mse"] == pytest.approx(np.mean((x - back) ** 2), rel=1e-4)
    shown = quantscope("thresholds", path, "--reference").out
    assert all(key in shown for key in REFERENCES)


def test_other_tools_on_values_that_they_cannot_use(quantscope: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(64, np.float32))
    found = quantscope("thresholds", tmp_path / "x.npy", "--reference", "--json").json
    refused = [entry for key, entry in found.items() if key in REFERENCES and entry["mse"] is None]
    assert refused  # and strict JSON all the same
    assert quantscope("thresholds", tmp_path / "x.npy", "--reference").code == 0


@pytest.mark.parametrize(
    "array",
    [np.zeros(5), np.float32(3.0), np.array([1.0, np.nan, np.inf, -2.0]), np.arange(12), np.full(9, -1e-30)],
    ids=["zeros", "scalar", "not finite", "integers", "tiny"],
)
def test_odd_arrays_give_strict_json(quantscope: Run, tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    np.save(tmp_path / "x.npy", array)
    done = quantscope("thresholds", tmp_path / "x.npy", "--json")
    assert done.code == 0, done.err
    assert all(entry["scale"] > 0 for entry in done.json.values())


# Printing


def test_json_is_plain_and_strict(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json(
        {"a": np.float32("nan"), "b": float("-inf"), "c": np.arange(2), 3: (Path("x"), Method.KL, None)}
    )
    out = capsys.readouterr().out
    assert json.loads(out) == {"a": None, "b": None, "c": [0, 1], "3": ["x", "kl", None]}


def test_names_cannot_steer_the_terminal() -> None:
    text = console.table(("name",), [("\x1b[2Jevil\nname",)])
    assert "\x1b" not in text
    assert len(text.splitlines()) == 3


def test_progress_without_a_terminal_is_sparse(capsys: pytest.CaptureFixture[str]) -> None:
    from quantscope.core.progress import Progress

    now = 0.0
    report = console._sparse("calibrating", clock=lambda: now)
    for step in range(1, 101):
        now = step * 0.5
        report(Progress(done=step, total=100))
    assert len(capsys.readouterr().err.splitlines()) == 5


@pytest.mark.slow
def test_quantize_tries_the_methods_unless_told(tmp_path: Path, quantscope: Run) -> None:
    sample = SAMPLES["digits_mobilenet"]
    out = tmp_path / "out.onnx"
    base = ("quantize", sample.model, "-o", out, "--json")
    found = quantscope(*base, "--data", sample.calibration).json
    best = max(trial["sqnr_db"] for trial in found["trials"])
    assert best > found["trials"][0]["sqnr_db"] + 3  # MinMax, which this network was made to defeat
    assert found["default"]["method"] != "minmax"
    assert quantscope(*base, "--data", sample.calibration, "--method", "minmax").json["trials"] == []
    assert quantscope(*base, "--random", "2").json["trials"] == []  # noise tells nothing of methods


@pytest.mark.slow
def test_a_tuned_recipe_replays_to_the_same_file(tmp_path: Path, quantscope: Run) -> None:
    recipe, first, second = tmp_path / "r.yaml", tmp_path / "a.onnx", tmp_path / "b.onnx"
    data = ("--data", MLP.calibration, "--limit", "48")
    found = quantscope("tune", MLP.model, *data, "-o", recipe, "--json").json
    assert found["tuned_db"] >= found["minmax_db"]
    assert found["samples"]["held_out"] > 0
    assert len(found["story"]) == len(found["steps"]) + 1
    replayed = quantscope("quantize", MLP.model, *data, "--recipe", recipe, "-o", first, "--json").json
    assert len(replayed["passes"]) >= len(found["passes"]) > 0
    quantscope("quantize", MLP.model, *data, "--auto", "-o", second)
    assert first.read_bytes() == second.read_bytes()


def test_passes_need_samples(tmp_path: Path, quantscope: Run) -> None:
    recipe, stats = tmp_path / "r.yaml", tmp_path / "s.npz"
    recipe.write_text("quantscope: 1\npasses: [bias_correction]\n", encoding="utf-8")
    quantscope("calibrate", MLP.model, "--data", MLP.calibration, "-o", stats)
    done = quantscope("quantize", MLP.model, "--stats", stats, "--recipe", recipe, "-o", tmp_path / "q.onnx")
    assert done.code == 2
    assert "--data" in done.err
