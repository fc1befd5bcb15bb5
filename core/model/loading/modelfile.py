"""Read a model file: its bytes, its protobuf content, and where its weights lie."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from quantscope.core.errors import ModelError
from quantscope.core.model.loading.externaldata import all_graphs, external_files
from quantscope.core.model.loading.foreign import foreign_format, undecodable

__all__ = ["PROTOBUF_LIMIT", "ModelFile", "all_graphs", "parse", "read_model_file"]

PROTOBUF_LIMIT = (1 << 31) - 1  # bytes; no protobuf message may be larger
_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A parsed model as it lies on disk; large weights may still be outside `proto`."""

    proto: onnx.ModelProto
    path: Path | None  # None when it came as bytes
    name: str  # for people: as given, or the file's without its suffix
    shown: str  # in messages: the file's name
    source_hash: str  # sha256 of the file, and of its external data where it has any
    size_bytes: int  # file and external data together
    external: Mapping[str, Path]  # location of external data → the real file that holds it


def read_model_file(source: str | Path | bytes, name: str | None = None) -> ModelFile:
    """Read and parse; nothing in the model is run.

    Raises:
        ModelError: missing, empty, not ONNX, truncated, or with external data that is out of bounds.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data, path = bytes(source), None
        shown = name or "model"
    else:
        path = Path(source)
        shown = path.name or str(path)
        data = _read_bytes(path)
    proto = parse(data, shown)
    digest = hashlib.sha256(data)
    external = external_files(proto, path, shown)
    try:
        for _, file in sorted(external.items()):
            with file.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
        size = len(data) + sum(file.stat().st_size for file in set(external.values()))
    except OSError as error:
        raise ModelError(f"the weights of '{shown}' cannot be read: {error.strerror or error}.") from error
    return ModelFile(
        proto=proto,
        path=path,
        name=name or (path.stem if path is not None else "model"),
        shown=shown,
        source_hash=digest.hexdigest(),
        size_bytes=size,
        external=external,
    )


def _read_bytes(path: Path) -> bytes:
    """The file's bytes, or why there are none."""
    try:
        if path.is_dir():
            raise ModelError(_directory_message(path))
        if not path.exists():
            raise ModelError(f"there is no file '{path}'. Check the path.")
        if path.stat().st_size <= PROTOBUF_LIMIT:
            return path.read_bytes()
        with path.open("rb") as stream:
            head = stream.read(4096)
    except OSError as error:
        raise ModelError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    raise ModelError(
        foreign_format(head, path.name)
        or f"'{path.name}' is larger than 2 GB, which no ONNX file can be. Save the model with external data "
        "(onnx.save with save_as_external_data=True) and open the small .onnx file."
    )


def _directory_message(path: Path) -> str:
    if (path / "saved_model.pb").exists():
        return f"'{path}' is a TensorFlow SavedModel. Convert it with tf2onnx and open the .onnx file."
    found = sorted(p.name for p in path.glob("*.onnx"))
    hint = f" It holds {', '.join(found[:3])}{' …' if len(found) > 3 else ''}: open that." if found else ""
    return f"'{path}' is a folder, not an ONNX file.{hint or ' Choose the .onnx file inside.'}"


def parse(data: bytes, shown: str = "model") -> onnx.ModelProto:
    """`data` as a model with a graph.

    Raises:
        ModelError: it is something else, and says what.
    """
    if not data:
        raise ModelError(f"'{shown}' is empty (0 bytes). Download or export it again.")
    foreign = foreign_format(data, shown)
    if foreign:
        raise ModelError(foreign)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, ValueError) as error:
        raise ModelError(undecodable(data, shown)) from error
    if not proto.HasField("graph"):
        raise ModelError(undecodable(data, shown))
    if not proto.graph.node:
        raise ModelError(f"'{shown}' has no operators in its graph, so there is nothing to quantize.")
    return proto
