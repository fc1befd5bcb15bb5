"""The `quantscope` command on odd models and odd data: what it says, and that results stay usable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from quantscope.sample_data import SAMPLES
from tests.graphs import model, node, randn, value
from tests.networks import embedding
from tests.sessions import session as open_session
from tests.support import ROOT, Run, command_env, process

MLP = SAMPLES["digits_mlp"]
FEW = ("--random", 3, "--no-cache")


def product(weight: np.ndarray, rows: int | str = "N") -> onnx.ModelProto:
    """y = x · weight."""
    shapes = [rows, weight.shape[0]], [rows, weight.shape[1]]
    nodes = [node("MatMul", ["x", "w"], ["y"], name="product")]
    return model(nodes, [value("x", shapes[0])], [value("y", shapes[1])], {"w": weight})


def recurrent() -> onnx.ModelProto:
    """One GRU, which no integer kernel takes."""
    nodes = [node("GRU", ["x", "w", "r"], ["", "y"], hidden_size=6)]
    weights = {"w": randn(1, 18, 5), "r": randn(1, 18, 6)}
    return model(nodes, [value("x", [7, 1, 5])], [value("y", [1, 1, 6])], weights)


def saved(path: Path, proto: onnx.ModelProto) -> Path:
    onnx.save(proto, path)
    return path


def test_a_weight_that_is_not_finite_stays_float(quantscope: Run, tmp_path: Path) -> None:
    weight = randn(5, 4)
    weight[2, 1] = np.nan
    path, out = saved(tmp_path / "nan.onnx", product(weight)), tmp_path / "q.onnx"
    done = quantscope("quantize", path, *FEW, "-o", out, "--json")
    assert done.code == 0, done.err
    assert any("'w' stays float: it holds NaN" in note for note in done.json["notes"])
    x = {"x": randn(1, 5)}
    float_, written = (open_session(p) for p in (path, out))
    np.testing.assert_array_equal(written.run(None, x)[0], float_.run(None, x)[0])


@pytest.mark.parametrize("json", [(), ("--json",)], ids=["text", "json"])
def test_a_model_without_anything_to_quantize(quantscope: Run, tmp_path: Path, json: tuple[str, ...]) -> None:
    path = saved(tmp_path / "gru.onnx", recurrent())
    for words in (("sensitivity", path), ("tune", path, "-o", tmp_path / "r.yaml")):
        done = quantscope(*words, *FEW, *json)
        assert done.code == 0, done.err
        assert "no layer of gru can be quantized" in done.err
        assert "inf dB" not in done.out
        assert json == () or done.json


def test_a_recipe_that_leaves_all_in_float(quantscope: Run, tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("quantscope: 1\ndefault: {precision: float}\n", encoding="utf-8")
    done = quantscope("quantize", MLP.model, *FEW, "--recipe", recipe, "-o", tmp_path / "q.onnx")
    assert done.code == 0
    assert "the recipe leaves all layers of digits_mlp in float" in done.err


def test_rows_of_a_table_are_ranked_and_tuned(quantscope: Run, tmp_path: Path) -> None:
    path = saved(tmp_path / "embedding.onnx", embedding())
    ranked = quantscope("sensitivity", path, *FEW, "--json")
    assert ranked.code == 0, ranked.err
    assert len(ranked.json["ranking"]) == 2
    assert "()" not in ranked.out
    done = quantscope("quantize", path, *FEW, "--easyquant", "-o", tmp_path / "q.onnx")
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (product(randn(5, 4), rows=3), "input 'x' of the float model is float32 (2, 5)"),
        (product(randn(6, 4), rows=2), "of the quantized one float32 (2, 6)"),
        (model([node("Cast", ["x"], ["y"], to=1)], [value("x", ["N", 5], TensorProto.FLOAT16)],
               [value("y", ["N", 5])]), "of the quantized one float16 (N, 5)"),
        (product(randn(5, 7), rows=2), "other shapes"),
        (model([node("Relu", ["x"], ["z"])], [value("x", [2, 5])], [value("z", [2, 5])]), "outputs"),
    ],
    ids=["batch", "width", "type", "output", "name"],
)  # fmt: skip
def test_models_that_do_not_belong_together(
    quantscope: Run, tmp_path: Path, other: onnx.ModelProto, says: str
) -> None:
    path = saved(tmp_path / "a.onnx", product(randn(5, 4), rows=2))
    done = quantscope("compare", path, saved(tmp_path / "b.onnx", other), *FEW[:2])
    assert (done.code, done.out) == (2, "")
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert says in errors[0]
    assert "cannot be compared" in errors[0]


def test_an_input_without_a_value(quantscope: Run, tmp_path: Path) -> None:
    path = saved(tmp_path / "none.onnx", product(randn(5, 4), rows=0))
    done = quantscope("quantize", path, *FEW, "-o", tmp_path / "q.onnx")
    assert done.code == 2
    assert "(0, 5)" in done.err
    assert not (tmp_path / "q.onnx").exists()


def test_text_inputs_are_called_so(quantscope: Run, tmp_path: Path) -> None:
    ends = [value("s", [3], TensorProto.STRING)], [value("t", [3], TensorProto.STRING)]
    path = saved(tmp_path / "text.onnx", model([node("StringNormalizer", ["s"], ["t"])], *ends))
    assert quantscope("inspect", path, "--json").json["inputs"][0]["type"] == "string"
    done = quantscope("quantize", path, *FEW, "-o", tmp_path / "q.onnx")
    assert done.code == 2
    assert "takes text" in done.err


def test_random_samples_that_do_not_fit(quantscope: Run, tmp_path: Path) -> None:
    proto = product(randn(5, 4))
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "width"
    done = quantscope("quantize", saved(tmp_path / "open.onnx", proto), *FEW, "-o", tmp_path / "q.onnx")
    assert done.code == 2
    assert "use real samples" in done.err


def test_labels_that_nothing_can_be_done_with(quantscope: Run, tmp_path: Path) -> None:
    proto = model([node("MatMul", ["x", "w"], ["y"])], [value("x", [1, 3, 5])], [value("y", [1, 3, 4])],
                  {"w": randn(5, 4)})  # fmt: skip
    path = saved(tmp_path / "rows.onnx", proto)
    np.savez(tmp_path / "x.npz", x=randn(6, 3, 5), labels=np.arange(6))
    done = quantscope("compare", path, path, "--data", tmp_path / "x.npz", "--json")
    assert done.json["accuracy"] is None
    assert "labels are not used" in done.err


def test_what_a_reader_prints_stays_off_stdout(tmp_path: Path) -> None:
    reader = tmp_path / "reader.py"
    reader.write_text(
        "import numpy as np\n"
        "print('loading')\n"
        "def samples():\n"
        "    for i in range(3):\n"
        "        print('sample', i)\n"
        "        yield {'x': np.full((1, 5), i, np.float32)}\n",
        encoding="utf-8",
    )
    path = saved(tmp_path / "net.onnx", product(randn(5, 4)))
    done = process("calibrate", path, "--data", reader, "-o", tmp_path / "s.npz", "--json", home=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("{")
    assert "sample 2" in done.stderr


def test_half_floats_and_negative_zeros(quantscope: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "half.npy", np.array([1.0, 2.5, -65504.0], np.float16))
    done = quantscope("thresholds", tmp_path / "half.npy", "--json")
    assert done.err == ""
    assert done.json["minmax"]["low"] == -65504.0
    np.save(tmp_path / "zeros.npy", np.zeros(9, np.float32))
    assert "-0.0," not in quantscope("thresholds", tmp_path / "zeros.npy", "--json", "--reference").out


def test_a_file_name_cannot_steer_the_terminal(quantscope: Run, tmp_path: Path) -> None:
    out = tmp_path / "a\x1b[2J.onnx"
    try:
        done = quantscope("quantize", MLP.model, *FEW, "-o", out)
    except (OSError, ValueError):
        pytest.skip("this file system has no such names")
    assert done.code == 0 or "cannot be written" in done.err
    assert "\x1b" not in done.out + done.err


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("words", "code"), [(f'inspect "{MLP.model}" >&-', 0), ("inspect none.onnx 2>&-", 2)]
)
def test_a_closed_stream_changes_nothing(tmp_path: Path, words: str, code: int) -> None:
    line = f'"{sys.executable}" -m quantscope.ui.cli {words}'
    done = subprocess.run(
        line, shell=True, cwd=ROOT, env=command_env(tmp_path), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == code
    assert done.stderr == b""
