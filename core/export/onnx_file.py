"""Quantized ONNX models on disk: one file, or beyond 2 GB a file and its weights beside it."""

from pathlib import Path

import onnx

from quantscope.core.errors import ExportError
from quantscope.core.files import write_atomic
from quantscope.core.model.loading import all_graphs, read_model_file

PROTOBUF_LIMIT = 2**31 - 1  # bytes that a single protobuf file can have
SMALLEST = 1024  # bytes of a tensor that is worth moving out; shapes stay where checkers look for them


def write_onnx(model: onnx.ModelProto, path: Path, *, limit: int = PROTOBUF_LIMIT) -> int:
    """Write a model, and return how many bytes it takes on disk.

    A model larger than `limit` gets its weights in `<name>.data` in the same folder, which has to move with
    it. Both files appear only when complete.

    Raises:
        ExportError: the folder cannot be written, or the disk is full; files of an earlier run are then as
            they were, or both new.
    """
    try:
        if model.ByteSize() < limit:
            content = model.SerializeToString(deterministic=True)
            write_atomic(path, content)
            return len(content)
        return _write_split(model, path)
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror or error}") from error


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read a model as `write_onnx` was given it, with the weights that lie beside it.

    Raises:
        ModelError: the file is missing, truncated, or no ONNX model; or its weights are.
    """
    model = read_model_file(path).proto
    onnx.load_external_data_for_model(model, str(path.parent))
    return model


def _write_split(model: onnx.ModelProto, path: Path) -> int:
    """Write weights and graph as two files."""
    weights = path.with_name(path.name + ".data")
    outside = onnx.ModelProto()
    outside.CopyFrom(model)
    blobs: list[bytes] = []
    offset = 0
    for graph in all_graphs(outside):
        for tensor in graph.initializer:
            blob = bytes(tensor.raw_data)
            if len(blob) < SMALLEST:
                continue
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", weights.name), ("offset", offset), ("length", len(blob))):
                tensor.external_data.add(key=key, value=str(value))
            blobs.append(blob)
            offset += len(blob)
    content = outside.SerializeToString(deterministic=True)
    write_atomic(weights, blobs)
    write_atomic(path, content)
    return len(content) + offset
