"""What is refused before anything is run: other formats, damage, and weights that lie where they may not."""

from __future__ import annotations

import os
import re
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from quantscope.core.errors import ModelError
from quantscope.core.model import load_model
from quantscope.core.model.loading import read_model_file
from tests.graphs import assert_same_function, model, node, randn, value


def matmul() -> onnx.ModelProto:
    return model([node("MatMul", ["x", "w"], ["y"])], [value("x", [1, 8])], [value("y")], {"w": randn(8, 50)})


def refusal(source: str | Path | bytes, **options: object) -> str:
    """The message of the refusal: one line, ending in a full stop."""
    with pytest.raises(ModelError) as caught:
        load_model(source, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def zipped(**members: bytes) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return buffer.getvalue()


def graphdef() -> bytes:
    """The beginning of a frozen TensorFlow graph: nodes in field 1."""
    entry = b"\x0a\x01x\x12\x0bPlaceholder"
    return b"\x0a" + bytes([len(entry)]) + entry


FOREIGN: dict[str, tuple[bytes, str]] = {
    "m.tflite": (b"\x1c\0\0\0TFL3" + bytes(40), "TensorFlow Lite"),
    "m.ort": (b"\x1c\0\0\0ORTM" + bytes(40), ".ort format"),
    "m.h5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "Keras"),
    "old.pt": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "pickle"),
    "new.pt": (zipped(archive__data_dot_pkl=b"\x80\x02."), "PyTorch checkpoint"),
    "m.keras": (zipped(config_dot_json=b"{}", model_dot_weights_dot_h5=b""), "Keras"),
    "d.npz": (zipped(x_dot_npy=b"\x93NUMPY"), "NumPy archive"),
    "m.zip": (zipped(model_dot_onnx=b""), "ZIP archive. Unpack"),
    "broken.zip": (zipped(model_dot_onnx=b"1234")[:40], "damaged"),
    "m.safetensors": (struct.pack("<Q", 40) + b'{"w":{"dtype":"F32"}}' + bytes(30), "safetensors"),
    "m.gguf": (b"GGUF\3\0\0\0", "GGUF"),
    "m.engine": (b"ptrt" + bytes(20), "TensorRT"),
    "m.onnx.gz": (b"\x1f\x8b\x08" + bytes(20), "gzip"),
    "page.onnx": (b"\n<!DOCTYPE html><html>", "web page. Download the raw file"),
    "m.xml": (b'<?xml version="1.0"?><net name="x">', "OpenVINO"),
    "m.json": (b'{"model": 1}', "text file"),
    "m.param": (b"7767517\n75 83\n", "ncnn"),
    "x.npy": (b"\x93NUMPY\x01\0v\0{'descr'", "calibration data"),
    "frozen.pb": (graphdef(), "TensorFlow graph"),
    "saved_model.pb": (b"\x08\x01\x12\x14saved_model_main_op\0", "SavedModel"),
    "noise.onnx": (bytes(range(255, 100, -1)), "not an ONNX model"),
    "pointer.onnx": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
}


@pytest.mark.parametrize("name", sorted(FOREIGN))
def test_other_formats_are_named(tmp_path: Path, name: str) -> None:
    content, words = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    assert words in refusal(tmp_path / name)
    assert name in refusal(tmp_path / name)
    assert words in refusal(content, name=name)


def test_nothing_there(tmp_path: Path) -> None:
    assert "there is no file" in refusal(tmp_path / "missing.onnx")
    assert "is empty (0 bytes)" in refusal(b"")
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "inside.onnx").write_bytes(b"")
    assert "inside.onnx: open that" in refusal(tmp_path)
    assert "there is no file" in refusal("a\0b.onnx")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncation_is_recognized(share: float) -> None:
    data = matmul().SerializeToString()
    kept = data[: int(len(data) * share)]
    message = refusal(kept, name="cut.onnx")
    assert "'cut.onnx' is truncated" in message
    assert f"{len(kept):,} bytes" in message
    lacking = re.search(r"at least ([0-9,]+) more", message)
    assert lacking is not None
    assert 0 < int(lacking[1].replace(",", "")) <= len(data) - len(kept)


def test_not_a_graph() -> None:
    assert "no operators" in refusal(model([], [value("x", [1])], [value("x", [1])]).SerializeToString())
    headless = matmul()
    headless.ClearField("graph")
    assert "holds no graph" in refusal(headless.SerializeToString())
    assert "no outputs" in refusal(
        model([node("Relu", ["x"], ["y"])], [value("x", [1])], []).SerializeToString()
    )


def test_reading_tells_where_it_came_from(tmp_path: Path) -> None:
    onnx.save(matmul(), tmp_path / "some.model.onnx")
    file = read_model_file(tmp_path / "some.model.onnx")
    assert (file.name, file.path, file.external) == ("some.model", tmp_path / "some.model.onnx", {})
    assert read_model_file(str(tmp_path / "some.model.onnx"), "mine").name == "mine"
    data = (tmp_path / "some.model.onnx").read_bytes()
    assert read_model_file(data).source_hash == file.source_hash
    assert file.size_bytes == len(data)


# External data


def external(path: Path, location: str = "m.bin", **info: int) -> onnx.ModelProto:
    """`matmul` with its weight elsewhere; returns the model with the weight inside."""
    proto, inside = matmul(), matmul()
    weight = proto.graph.initializer[0]
    (path.parent / "m.bin").write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, entry in {"location": location, **info}.items():
        weight.external_data.add(key=key, value=str(entry))
    path.write_bytes(proto.SerializeToString())
    return inside


def test_external_data_beside_or_below_the_model(tmp_path: Path) -> None:
    inside = external(tmp_path / "m.onnx")
    assert_same_function(inside, load_model(tmp_path / "m.onnx"))
    (tmp_path / "weights").mkdir()
    inside = external(tmp_path / "n.onnx", "weights/w.bin", offset=0, length=1600)
    (tmp_path / "m.bin").rename(tmp_path / "weights" / "w.bin")
    assert_same_function(inside, load_model(tmp_path / "n.onnx"))


def test_external_data_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = external(tmp_path / "m.onnx")
    monkeypatch.chdir(tmp_path)
    assert_same_function(inside, load_model("m.onnx"))


OUTSIDE = [
    "../m.bin",
    "a/../../m.bin",
    "/etc/passwd",
    "C:\\weights.bin",
    "C:weights.bin",
    "..\\m.bin",
    "\\\\host\\m",
    "",
]


@pytest.mark.parametrize("location", OUTSIDE)
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    external(folder / "m.onnx", location)
    (folder / "m.bin").rename(tmp_path / "m.bin")  # it is there, but must not be read
    assert "outside its own folder" in refusal(folder / "m.onnx")


def link(source: Path, target: Path) -> None:
    try:
        source.symlink_to(target)
    except OSError:
        pytest.skip("this file system has no symbolic links")


def test_external_data_through_a_link_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    external(folder / "m.onnx")
    (folder / "m.bin").rename(tmp_path / "m.bin")
    link(folder / "m.bin", tmp_path / "m.bin")
    assert "a link that leads out" in refusal(folder / "m.onnx")


def test_a_store_of_links_works(tmp_path: Path) -> None:
    """As in a Hugging Face cache: model and weights are links to files that lie together elsewhere."""
    for name in ("blobs", "snapshot"):
        (tmp_path / name).mkdir()
    inside = external(tmp_path / "blobs" / "abc")
    (tmp_path / "blobs" / "m.bin").rename(tmp_path / "blobs" / "def")
    link(tmp_path / "snapshot" / "m.onnx", tmp_path / "blobs" / "abc")
    link(tmp_path / "snapshot" / "m.bin", tmp_path / "blobs" / "def")
    assert_same_function(inside, load_model(tmp_path / "snapshot" / "m.onnx"))


Damage = Callable[[Path], object]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "missing": (lambda p: p.unlink(), "there is no file 'm.bin'"),
    "folder": (lambda p: (p.unlink(), p.mkdir()), "there is no file 'm.bin'"),
    "short": (lambda p: os.truncate(p, 1000), "is too short"),
    "empty": (lambda p: os.truncate(p, 0), "is too short"),
    "pointer": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
}


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_damaged_external_data_is_refused(tmp_path: Path, name: str) -> None:
    external(tmp_path / "m.onnx")
    damage, words = DAMAGES[name]
    damage(tmp_path / "m.bin")
    assert words in refusal(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "info", [{"offset": 4}, {"offset": -4}, {"length": 100}, {"length": 1 << 60}, {"offset": "many"}]
)
def test_impossible_extents_are_refused(tmp_path: Path, info: dict[str, int]) -> None:
    external(tmp_path / "m.onnx", **info)
    message = refusal(tmp_path / "m.onnx")
    assert "'m.bin'" in message
    assert "too short" in message or "no usable place" in message


def test_external_data_needs_a_path(tmp_path: Path) -> None:
    external(tmp_path / "m.onnx")
    assert "Open the model by its path" in refusal((tmp_path / "m.onnx").read_bytes())


def test_external_data_in_a_branch_or_attribute(tmp_path: Path) -> None:
    """Weights hide in subgraphs and Constant nodes too; the same rules hold there."""
    proto = matmul()
    constant = node("Constant", [], ["k"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(
        proto.graph.initializer[0]
    )
    constant.attribute[0].t.ClearField("raw_data")
    constant.attribute[0].t.data_location = TensorProto.EXTERNAL
    constant.attribute[0].t.external_data.add(key="location", value="../k.bin")
    branch = onnx.helper.make_graph([constant], "b", [], [value("k")])
    proto.graph.input.append(value("if", [], TensorProto.BOOL))
    proto.graph.node.append(node("If", ["if"], ["z"], then_branch=branch, else_branch=branch))
    proto.graph.output.append(value("z"))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert "outside its own folder" in refusal(tmp_path / "m.onnx")
    inner = proto.graph.node[1].attribute
    for attribute in inner:
        attribute.g.node[0].attribute[0].t.external_data[0].value = "k.bin"
    inner[1].g.node[0].output[0] = inner[1].g.output[0].name = "k2"
    (tmp_path / "k.bin").write_bytes(np.ones((8, 50), np.float32).tobytes())
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert load_model(tmp_path / "m.onnx").op_counts == {"MatMul": 1, "If": 1}
