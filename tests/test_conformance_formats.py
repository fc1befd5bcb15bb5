"""Every export format of the table goes through the same checks; a new one is covered by being listed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import quantscope as qs
from quantscope.core.errors import ExportError, ModelError
from quantscope.core.export import (
    FORMATS,
    ONNX_QDQ,
    PROTOBUF_LIMIT,
    SUFFIXES,
    ExportFormat,
    format_of,
    write_onnx,
)
from quantscope.core.runtime import Session
from quantscope.sample_data import SAMPLES
from tests.networks import feeds
from tests.quantizing import network, quantized, run
from tests.support import Run


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return quantized(network("residual_cnn"), feeds("residual_cnn", 2))[0]


def plain(model: onnx.ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)


def faults(entry: ExportFormat, model: onnx.ModelProto, folder: Path) -> Iterator[str]:
    """What is wrong with a format, one line each; `folder` is empty."""
    path, before = folder / f"model{entry.suffix}", plain(model)
    size = entry.write(model, path)
    if plain(model) != before:
        yield "writing changes the model"
    if size != sum(file.stat().st_size for file in folder.iterdir()):
        yield "the size is not that on disk"
    read = entry.read(path)
    if plain(read) != before:
        yield "what is read is not what was written"
    for sample in feeds("residual_cnn", 2, seed=5):
        ours, theirs = (Session(plain(one), what="it").run(sample) for one in (model, read))
        if any(not np.array_equal(value, theirs[name]) for name, value in ours.items()):
            yield "it computes something else"
            break
    first = path.read_bytes()
    entry.write(model, path)
    if path.read_bytes() != first:
        yield "two files of one model differ"


def test_the_table_holds_every_format() -> None:
    assert FORMATS
    assert all(name == entry.name for name, entry in FORMATS.items())
    assert ONNX_QDQ in FORMATS.values()
    assert len(set(SUFFIXES)) == len(SUFFIXES) >= len(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_described_and_found_by_its_endings(name: str) -> None:
    entry = FORMATS[name]
    assert entry.label
    for suffix in entry.suffixes:
        assert re.fullmatch(r"\.[a-z0-9.]+", suffix)
        assert format_of(Path(f"a{suffix}")) is format_of(Path(f"b{suffix.upper()}")) is entry
    with pytest.raises(ExportError, match=f"should end in .*{re.escape(entry.suffix)}"):
        format_of(Path("a.nonsense"))


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".nonsense"])
def test_the_command_line_writes_each_format_and_no_other(
    suffix: str, quantscope: Run, tmp_path: Path
) -> None:
    model, path = SAMPLES["digits_mlp"].model, tmp_path / f"out{suffix}"
    done = quantscope("quantize", model, "--random", 2, "--method", "minmax", "-o", path)
    if suffix in SUFFIXES:
        assert done.code == 0
        assert format_of(path).read(path).graph.node
    else:
        assert done.code == 2
        assert f"should end in {' or '.join(SUFFIXES)}" in done.err


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_python_writes_each_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    sample = SAMPLES["digits_mlp"]
    data = qs.open_data(sample.calibration, sample.model, limit=8)
    made = qs.quantize(sample.model, data, qs.recipe(method="minmax"), judge=False, cache=False)
    made.save(path)
    assert plain(format_of(path).read(path)) == plain(made.proto)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_is_read_back(name: str, model: onnx.ModelProto, tmp_path: Path) -> None:
    assert list(faults(FORMATS[name], model, tmp_path)) == []


@pytest.mark.parametrize("name", FORMATS)
def test_what_cannot_be_written_or_read_is_refused_by_name(
    name: str, model: onnx.ModelProto, tmp_path: Path
) -> None:
    entry = FORMATS[name]
    with pytest.raises(ExportError, match=r"no.*cannot be written"):
        entry.write(model, tmp_path / "no" / f"model{entry.suffix}")
    path = tmp_path / f"model{entry.suffix}"
    with pytest.raises(ModelError, match=re.escape(path.name)):
        entry.read(path)
    entry.write(model, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match=re.escape(path.name)):
        entry.read(path)


def test_onnx_files_run_from_disk_in_one_piece_and_in_two(model: onnx.ModelProto, tmp_path: Path) -> None:
    samples = feeds("residual_cnn", 2, seed=5)
    expected = run(model, samples)
    for limit in (PROTOBUF_LIMIT, 1000):
        path = tmp_path / f"{limit}.onnx"
        write_onnx(model, path, limit=limit)
        assert path.with_name(f"{path.name}.data").is_file() is (limit == 1000)
        assert plain(ONNX_QDQ.read(path)) == plain(model)
        for ours, theirs in zip(expected, run(onnx.load(path), samples), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_planted_faults_are_found(model: onnx.ModelProto, tmp_path: Path) -> None:
    def lossy(path: Path) -> onnx.ModelProto:
        read = ONNX_QDQ.read(path)
        scale = next(t for t in read.graph.initializer if t.name.endswith("_scale"))
        scale.CopyFrom(onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(scale), scale.name))
        return read

    def miscounting(proto: onnx.ModelProto, path: Path) -> int:
        return ONNX_QDQ.write(proto, path) - 1

    found = list(faults(replace(ONNX_QDQ, read=lossy, write=miscounting), model, tmp_path))
    assert found == [
        "the size is not that on disk",
        "what is read is not what was written",
        "it computes something else",
    ]
