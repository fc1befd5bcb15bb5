"""What must not be missed: lost outputs, outputs of noise, and files in which nothing is quantized."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.graphs import model, node, randn, value
from tests.heads import HEADS, samples_for
from tests.support import Run


def files(folder: Path, name: str) -> tuple[Path, Path]:
    """The model and its samples."""
    onnx.save(HEADS[name](), folder / "m.onnx")
    items = samples_for(name)
    np.savez(folder / "d.npz", **{key: np.concatenate([item[key] for item in items]) for key in items[0]})
    return folder / "m.onnx", folder / "d.npz"


def last_lines(text: str, count: int) -> list[str]:
    return text.strip().splitlines()[-count:]


@pytest.mark.parametrize(
    "flags", [(), ("--method", "minmax"), ("--report",)], ids=["auto", "minmax", "report"]
)
def test_quantize_ends_with_what_is_lost_and_the_option_that_helps(
    quantscope: Run, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    path, data = files(tmp_path, "joined_first")
    base = ("quantize", path, "--data", data, "--no-cache", "-o", tmp_path / "q.onnx")
    done = quantscope(*base, *flags)
    assert done.code == 0, done.err
    fault, remedy = last_lines(done.err, 2)
    assert fault.startswith("warning: 3 of 7 channels of output 'y' (axis 1: 4, 5, 6)")
    assert "'cat_Concat'" in fault
    assert "--float-layer cat_Concat" in remedy
    found = quantscope(*base, "--float-layer", "cat_Concat", "--json")
    assert found.json["warnings"] == []
    assert "warning" not in found.err


def test_auto_ends_without_a_warning_where_it_helped(quantscope: Run, tmp_path: Path) -> None:
    path, data = files(tmp_path, "unread_channel")
    base = ("quantize", path, "--data", data, "--no-cache", "-o", tmp_path / "q.onnx", "--json")
    plain = quantscope(*base)
    assert "output 'y' varies in the float model and is 0" in plain.json["warnings"][0]
    assert "'a_Conv'" in plain.json["warnings"][0]
    helps = plain.json["warnings"][1]
    assert helps.startswith("a narrower range for 'a_Conv', ")
    assert " helps (the outputs read nothing beyond it): " in helps
    assert helps.endswith("--auto, which finds it and more")
    tuned = quantscope(*base, "--auto")
    assert tuned.code == 0, tuned.err
    assert tuned.json["warnings"] == []
    assert tuned.json["layers"]["int8"] == 2


def test_compare_tells_each_part_and_ends_with_what_is_lost(quantscope: Run, tmp_path: Path) -> None:
    path, data = files(tmp_path, "depth")
    written = tmp_path / "q.onnx"
    quantscope("quantize", path, "--data", data, "--method", "minmax", "--no-cache", "-o", written)
    done = quantscope("compare", path, written, "--data", data)
    assert done.code == 0, done.err
    lines = [line.split() for line in done.out.splitlines()]
    assert ["y", "1", "of", "2,", "first", "1", "0", "dB", "1", "constant"] in lines
    (last,) = last_lines(done.err, 1)
    assert last.startswith("warning: 1 of 2 channels of output 'y'")
    assert last.endswith("Leave 'y_Concat' in float: --float-layer y_Concat")


def test_an_output_of_noise_is_said(quantscope: Run, tmp_path: Path) -> None:

    w = randn(8, 4)
    nodes = [node("MatMul", ["x", "w"], ["y"], name="product")]
    onnx.save(model(nodes, [value("x", ["N", 8])], [value("y", ["N", 4])], {"w": w}), tmp_path / "m.onnx")
    broken = model(nodes, [value("x", ["N", 8])], [value("y", ["N", 4])], {"w": -w})
    onnx.save(broken, tmp_path / "q.onnx")
    np.savez(tmp_path / "d.npz", x=randn(16, 8, seed=1))
    done = quantscope("compare", tmp_path / "m.onnx", tmp_path / "q.onnx", "--data", tmp_path / "d.npz")
    assert done.code == 0, done.err
    assert "output 'y' keeps -6.0 dB after quantization: the error is as large as the signal" in done.err


def test_tuning_that_leaves_all_in_float_says_so(quantscope: Run, tmp_path: Path) -> None:
    """Two activations of which small values matter most: integers cannot win, and nobody may miss it."""
    nodes = [
        node("Exp", ["a"], ["ea"], name="exp_a"),
        node("Transpose", ["ea"], ["et"], name="turn", perm=[0, 2, 1]),
        node("MatMul", ["ea", "et"], ["s"], name="scores"),
        node("Softmax", ["s"], ["y"], name="soft", axis=-1),
    ]
    proto = model(nodes, [value("a", ["N", 6, 4])], [value("y", ["N", 6, 6])])
    onnx.save(proto, tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", a=randn(32, 6, 4, seed=2) * 2)
    base = (
        "quantize",
        tmp_path / "m.onnx",
        "--data",
        tmp_path / "d.npz",
        "--no-cache",
        "-o",
        tmp_path / "q.onnx",
    )
    done = quantscope(*base, "--auto", "--json")
    assert done.code == 0, done.err
    assert done.json["layers"]["int8"] == 0
    (said,) = done.json["warnings"]
    assert said.startswith("Nothing is quantized in the result: 'scores', 'soft' could be")
    assert "Quantize without --auto" in said
    assert not any("is quantized" in line for line in done.json["story"])  # said once
    assert last_lines(done.err, 1) == [f"warning: {said}"]
    plain = quantscope(*base, "--method", "minmax", "--json")
    assert plain.json["layers"]["int8"] > 0
    assert "output 'y' keeps" in plain.json["warnings"][0]
    assert "--float-layer" in plain.json["warnings"][-1]
    tuned = quantscope("tune", *base[1:5], "-o", tmp_path / "r.yaml", "--json")
    (warning,) = tuned.json["warnings"]
    assert warning.startswith("Nothing is quantized in the result: 'scores', 'soft' could be")


def overflowing(folder: Path) -> tuple[Path, Path]:
    """A product of which one column overflows float32, so that none of it can be in integers."""
    w = np.abs(randn(4, 6))
    w[:, 0] = 3e38
    nodes = [
        node("MatMul", ["x", "w"], ["a"], name="product"),
        node("Gather", ["a", "some"], ["y"], name="cut", axis=1),
    ]
    constants = {"w": w, "some": np.array([1, 2, 3], np.int64)}
    onnx.save(
        model(nodes, [value("x", ["N", 4])], [value("y", ["N", 3])], constants), folder / "overflow.onnx"
    )
    np.savez(folder / "d.npz", x=np.abs(randn(24, 4, seed=3)) + 1.0)
    return folder / "overflow.onnx", folder / "d.npz"


@pytest.mark.parametrize(
    ("words", "so"),
    [
        ("quantize -o q.onnx", "so the file holds the float model"),
        ("quantize --auto -o q.onnx", "so the file holds the float model"),
        ("quantize --method minmax -o q.onnx", "so the file holds the float model"),
        ("tune -o r.yaml", "so the recipe quantizes nothing"),
        ("sensitivity", "so there is nothing to rank"),
    ],
)
def test_where_no_integers_can_hold_the_values_each_command_says_why(
    quantscope: Run, tmp_path: Path, words: str, so: str
) -> None:
    path, data = overflowing(tmp_path)
    command, *rest = [str(tmp_path / word) if "." in word else word for word in words.split()]
    done = quantscope(command, path, "--data", data, "--no-cache", *rest)
    assert done.code == 0, done.err
    assert last_lines(done.err, 1) == [
        "warning: no layer of overflow can be quantized ('a' stays float: it holds infinite values, which "
        f"integers cannot express), {so}"
    ]
    assert "error builds up" not in done.out


def test_tune_with_a_limit_says_what_the_point_taken_has_lost(quantscope: Run, tmp_path: Path) -> None:
    path, data = files(tmp_path, "joined_first")
    recipe = tmp_path / "r.yaml"
    base = ("--data", data, "--no-cache")
    limit = ("--min-sqnr", "0", "--precisions", "int8,int16")
    done = quantscope("tune", path, *base, *limit, "-o", recipe, "--json")
    assert done.code == 0, done.err
    fault, remedy = done.json["warnings"]
    assert fault.startswith("3 of 7 channels of output 'y' (axis 1: 4, 5, 6)")
    assert remedy.endswith("Quantize with --float-layer cat_Concat")  # Auto-tune has looked already
    written = quantscope("quantize", path, *base, "--recipe", recipe, "-o", tmp_path / "q.onnx", "--json")
    assert written.json["warnings"][0] == fault


def test_tune_says_so_where_a_limit_is_reached_in_float_alone(quantscope: Run, tmp_path: Path) -> None:
    path, data = files(tmp_path, "joined_first")
    limit = ("--min-sqnr", "150", "--precisions", "int8,float")
    done = quantscope("tune", path, "--data", data, "--no-cache", *limit, "-o", tmp_path / "r.yaml", "--json")
    assert done.code == 0, done.err
    (said,) = done.json["warnings"]
    assert said.startswith("nothing is quantized")
