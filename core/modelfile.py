"""Read a model file: recognise what it is, check where its weights lie, and parse it."""

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from google.protobuf.message import DecodeError

from core.errors import ModelError

PROTOBUF_LIMIT = (1 << 31) - 1  # bytes; no protobuf message may be larger
_EXPORT_HINT = "Export the model to ONNX first (e.g. torch.onnx.export, tf2onnx) and open the .onnx file."
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (4, b"TFL3", f"a TensorFlow Lite model. {_EXPORT_HINT}"),
    (4, b"ORTM", "a model in ONNX Runtime's .ort format, which is already optimized. Open the .onnx it was made from."),
    (0, b"\x89HDF\r\n\x1a\n", f"an HDF5 file (Keras .h5). {_EXPORT_HINT}"),
    (0, b"\x80\x02", f"a Python pickle (PyTorch .pt or .pth); pickles are never opened here. {_EXPORT_HINT}"),
    (0, b"\x80\x03", f"a Python pickle; pickles are never opened here. {_EXPORT_HINT}"),
    (0, b"\x80\x04", f"a Python pickle; pickles are never opened here. {_EXPORT_HINT}"),
    (0, b"\x80\x05", f"a Python pickle; pickles are never opened here. {_EXPORT_HINT}"),
    (0, b"GGUF", "a GGUF file (llama.cpp). Open the ONNX export of the model instead."),
    (0, b"ptrt", "a TensorRT engine, which is already compiled. Open the .onnx it was built from."),
    (0, b"ftrt", "a TensorRT engine, which is already compiled. Open the .onnx it was built from."),
    (0, b"\x93NUMPY", "a NumPy array, which is data and not a model. Pass it as calibration data."),
    (0, b"\x1f\x8b", "a gzip archive. Unpack it and open the .onnx file inside."),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive. Unpack it and open the .onnx file inside."),
    (0, b"\xfd7zXZ\x00", "an xz archive. Unpack it and open the .onnx file inside."),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive. Unpack it and open the .onnx file inside."),
    (257, b"ustar", "a tar archive. Unpack it and open the .onnx file inside."),
    (0, b"%PDF", "a PDF document."),
    (0, b"\x89PNG", "a PNG picture."),
    (0, b"\xff\xd8\xff", "a JPEG picture."),
    (0, b"7767517", f"an ncnn parameter file. {_EXPORT_HINT}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A parsed model as it lies on disk; large weights may still be outside `proto`."""

    proto: onnx.ModelProto
    path: Path | None  # None when it came as bytes
    name: str
    source_hash: str  # sha256 of the file, and of its external data where it has any
    size_bytes: int  # file and external data together
    external: tuple[Path, ...]  # files that hold its external data


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
        shown = path.name
        data = _read(path)
    proto = parse(data, shown)
    digest = hashlib.sha256(data)
    external = check_external_data(proto, path, shown)
    for file in external:
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    size = len(data) + sum(file.stat().st_size for file in external)
    stem = path.stem if path is not None else "model"
    return ModelFile(
        proto=proto,
        path=path,
        name=name or stem,
        source_hash=digest.hexdigest(),
        size_bytes=size,
        external=external,
    )


def _read(path: Path) -> bytes:
    """The file's bytes, or why there are none."""
    try:
        if path.is_dir():
            raise ModelError(_directory_message(path))
        if not path.exists():
            raise ModelError(f"there is no file '{path}'. Check the path.")
        if path.stat().st_size > PROTOBUF_LIMIT:
            head = path.open("rb").read(512)
            raise ModelError(
                _foreign(head, path.name)
                or f"'{path.name}' is larger than 2 GB, which no single ONNX file can be. Save the model with "
                "external data (onnx.save(..., save_as_external_data=True)) and open the small .onnx file."
            )
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # e.g. a NUL character in the path
        raise ModelError(f"{str(path)!r} is not a path: {error}.") from error


def _directory_message(path: Path) -> str:
    if (path / "saved_model.pb").exists():
        return f"'{path}' is a TensorFlow SavedModel. Convert it with tf2onnx and open the .onnx file."
    found = sorted(p.name for p in path.glob("*.onnx"))
    hint = f" It holds {', '.join(found[:3])}{' …' if len(found) > 3 else ''}: open that." if found else ""
    return f"'{path}' is a folder, not an ONNX file.{hint}"


def parse(data: bytes, shown: str = "model") -> onnx.ModelProto:
    """`data` as a model, or a `ModelError` that names what it is instead."""
    if not data:
        raise ModelError(f"'{shown}' is empty (0 bytes). Download or export it again.")
    foreign = _foreign(data, shown)
    if foreign:
        raise ModelError(foreign)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, ValueError) as error:
        raise ModelError(_broken_message(data, shown)) from error
    if not proto.HasField("graph"):
        raise ModelError(_broken_message(data, shown))
    if not proto.graph.node:
        raise ModelError(f"'{shown}' has no operators in its graph, so there is nothing to quantize.")
    return proto


def _foreign(data: bytes, shown: str) -> str:
    """A message when `data` is a known format other than ONNX; empty otherwise."""
    head = data[:4096]
    if head.startswith(b"version https://git-lfs"):
        return (
            f"'{shown}' is a Git LFS pointer, not the model itself. Run `git lfs install` and `git lfs pull` "
            "in its repository, then open it again."
        )
    for offset, magic, what in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return f"'{shown}' is not an ONNX model: it is {what}"
    if head.startswith(b"PK\x03\x04"):
        return f"'{shown}' is not an ONNX model: it is {_zip_kind(data)}"
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < (1 << 30):
        return f"'{shown}' is not an ONNX model: it is a safetensors file, weights without a graph. {_EXPORT_HINT}"
    return _text_kind(head, shown)


def _zip_kind(data: bytes) -> str:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a ZIP archive, and a damaged one. Unpack it and open the .onnx file inside."
    if any(n.endswith("data.pkl") for n in names):
        return f"a PyTorch checkpoint (.pt), which is a pickle and never opened here. {_EXPORT_HINT}"
    if "config.json" in names and any(n.endswith(".h5") for n in names):
        return f"a Keras model (.keras). {_EXPORT_HINT}"
    if names and all(n.endswith(".npy") for n in names):
        return "a NumPy archive (.npz), which is data and not a model. Pass it as calibration data."
    return "a ZIP archive. Unpack it and open the .onnx file inside."


def _text_kind(head: bytes, shown: str) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return f"'{shown}' is a web page, not an ONNX model. Download the raw file rather than the page that shows it."
    if start.startswith(b"<?xml") or start.startswith(b"<net"):
        return f"'{shown}' is an XML file (OpenVINO?), not an ONNX model. {_EXPORT_HINT}"
    if start.startswith((b"{", b"[")) or (start and all(c in b"\t\r\n" or 32 <= c < 127 for c in start)):
        return f"'{shown}' is a text file, not an ONNX model. {_EXPORT_HINT}"
    return ""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Value and the position after it; raises IndexError at the end of the data."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("varint too long")


def _broken_message(data: bytes, shown: str) -> str:
    """Tell a cut-off ONNX file from something that never was one, by its top-level protobuf fields."""
    seen: set[tuple[int, int]] = set()
    at, missing = 0, 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            field, wire = tag >> 3, tag & 7
            if field == 0 or wire not in (0, 1, 2, 5):
                break
            seen.add((field, wire))
            if wire == 0:
                _, at = _varint(data, at)
            else:
                length, at = (8, at) if wire == 1 else (4, at) if wire == 5 else _varint(data, at)
                at += length
                missing = max(0, at - len(data))
    except IndexError:
        missing = max(missing, 1)
    except ValueError:
        missing = 0
    if (1, 2) in seen and (7, 2) not in seen:
        return f"'{shown}' is not an ONNX model; it looks like a TensorFlow GraphDef (.pb). Convert it with tf2onnx."
    if b"saved_model" in data[-65536:] or b"saved_model" in data[:65536]:
        return f"'{shown}' is a TensorFlow SavedModel, not an ONNX model. Convert it with tf2onnx."
    if missing and (1, 0) in seen:
        return (
            f"'{shown}' is truncated: it ends after {len(data):,} bytes, at least {missing:,} before its end. "
            "Download or copy it again."
        )
    if (1, 0) in seen and (7, 2) in seen:
        return f"'{shown}' is damaged: its ONNX graph cannot be decoded. Download or export it again."
    return f"'{shown}' is not an ONNX model, or is damaged beyond recognition. {_EXPORT_HINT}"


def all_graphs(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph and every graph nested in attributes, functions included."""
    stack = [proto.graph]
    nodes = [n for f in proto.functions for n in f.node]
    while stack or nodes:
        if stack:
            graph = stack.pop()
            yield graph
            nodes.extend(graph.node)
        while nodes:
            for attribute in nodes.pop().attribute:
                if attribute.HasField("g"):
                    stack.append(attribute.g)
                stack.extend(attribute.graphs)


def all_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor stored in the model: initializers and tensor attributes, in all graphs."""
    nodes = [n for f in proto.functions for n in f.node]
    for graph in all_graphs(proto):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield sparse.values
            yield sparse.indices
        nodes.extend(graph.node)
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def check_external_data(proto: onnx.ModelProto, path: Path | None, shown: str) -> tuple[Path, ...]:
    """The files that hold external data, each inside the model's folder and long enough.

    Raises:
        ModelError: given as bytes, or a location that is absolute, leaves the folder (also through a
            symbolic link), is missing or too short.
    """
    files: dict[str, Path] = {}
    for tensor in all_tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        info = {entry.key: entry.value for entry in tensor.external_data}
        location = info.get("location", "")
        if path is None:
            raise ModelError(
                f"the weights of '{shown}' lie in a separate file ('{location}'), which bytes alone do not bring "
                "along. Open the model by its path, or save it with all weights inside."
            )
        if location not in files:
            files[location] = _external_file(location, path)
        _check_extent(tensor, info, files[location], location)
    return tuple(files[key] for key in sorted(files))


def _external_file(location: str, path: Path) -> Path:
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    outside = (
        not location
        or "\0" in location
        or posix.is_absolute()
        or bool(windows.drive or windows.root)
        or ".." in windows.parts
    )
    remedy = "Keep the weights beside the model and save it again (onnx.save with a relative location)."
    if outside:
        raise ModelError(
            f"'{path.name}' wants its weights from {location!r}, outside its own folder; that is refused. {remedy}"
        )
    file = path.parent / location
    real = file.resolve()
    # The model may itself be a link into a store (as in a Hugging Face cache): beside its target is fine too.
    homes = {path.parent.resolve(), path.resolve().parent}
    if not any(real.is_relative_to(home) for home in homes):
        raise ModelError(
            f"'{path.name}' has its weights in {location!r}, a link that leads out of its folder; that is refused. "
            "Copy the model with links followed (cp -rL) and open the copy."
        )
    if not real.is_file():
        raise ModelError(
            f"the weights of '{path.name}' are missing: there is no file '{location}' in {path.parent}. "
            "Download or copy it to the same folder."
        )
    return real


def _check_extent(tensor: onnx.TensorProto, info: dict[str, str], file: Path, location: str) -> None:
    try:
        offset, length = int(info.get("offset", "0") or 0), int(info.get("length", "0") or 0)
    except ValueError:
        raise ModelError(f"tensor '{tensor.name}' has a malformed place in '{location}'. Export it again.") from None
    size = file.stat().st_size
    if size < 1024 and file.read_bytes()[:23] == b"version https://git-lfs":
        raise ModelError(f"the weights in '{location}' are a Git LFS pointer. Run `git lfs pull` in its repository.")
    if not length:
        length = storage_bytes(tensor)
    if offset < 0 or length < 0 or offset + length > size:
        raise ModelError(
            f"'{location}' is too short: tensor '{tensor.name}' needs bytes {offset:,} to {offset + length:,}, the "
            f"file has {size:,}. Download or copy it again."
        )


def storage_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes that the tensor's elements take, from its type and dimensions; 0 for unknown types."""
    elements = 1
    for dim in tensor.dims:
        elements *= dim
    try:
        item = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, ValueError):
        return 0
    packed = {onnx.TensorProto.INT4, onnx.TensorProto.UINT4}
    return (elements + 1) // 2 if tensor.data_type in packed else elements * item
