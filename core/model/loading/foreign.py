"""Tell what a file is that is not an ONNX model, and what to do about it."""

import zipfile
from io import BytesIO

_EXPORT = "Export the model to ONNX first (torch.onnx.export, tf2onnx, …) and open the .onnx file."
_PICKLE = f"a Python pickle (PyTorch .pt or .pth), which is never opened here. {_EXPORT}"
_ARCHIVE = "Unpack it and open the .onnx file inside."
_ENGINE = "a TensorRT engine, which is already compiled. Open the .onnx it was built from."

_MAGIC: tuple[tuple[int, bytes, str], ...] = (  # offset, bytes there, what it is
    (4, b"TFL3", f"a TensorFlow Lite model. {_EXPORT}"),
    (4, b"ORTM", "ONNX Runtime's .ort format, already optimized. Open the .onnx it was made from."),
    (0, b"\x89HDF\r\n\x1a\n", f"an HDF5 file (Keras .h5). {_EXPORT}"),
    (0, b"\x80\x02", _PICKLE),
    (0, b"\x80\x03", _PICKLE),
    (0, b"\x80\x04", _PICKLE),
    (0, b"\x80\x05", _PICKLE),
    (0, b"GGUF", "a GGUF file (llama.cpp). Open an ONNX export of the model instead."),
    (0, b"ptrt", _ENGINE),
    (0, b"ftrt", _ENGINE),
    (0, b"\x93NUMPY", "a NumPy array, data rather than a model. Pass it as calibration data."),
    (0, b"\x1f\x8b", f"a gzip archive. {_ARCHIVE}"),
    (0, b"7z\xbc\xaf\x27\x1c", f"a 7-Zip archive. {_ARCHIVE}"),
    (0, b"\xfd7zXZ\x00", f"an xz archive. {_ARCHIVE}"),
    (0, b"\x28\xb5\x2f\xfd", f"a Zstandard archive. {_ARCHIVE}"),
    (0, b"Rar!", f"a RAR archive. {_ARCHIVE}"),
    (257, b"ustar", f"a tar archive. {_ARCHIVE}"),
    (0, b"%PDF", "a PDF document. Choose the .onnx file."),
    (0, b"\x89PNG", "a PNG picture. Choose the .onnx file; pictures are calibration data."),
    (0, b"\xff\xd8\xff", "a JPEG picture. Choose the .onnx file; pictures are calibration data."),
    (0, b"7767517", f"an ncnn parameter file. {_EXPORT}"),
)
LFS_POINTER = b"version https://git-lfs"


def foreign_format(data: bytes, shown: str) -> str:
    """A message when `data` (its beginning is enough, but for ZIP) is of another format; empty otherwise."""
    head = data[:4096]
    if head.startswith(LFS_POINTER):
        return (
            f"'{shown}' is a Git LFS pointer, not the model itself. Run `git lfs install` and `git lfs pull` "
            "in its repository, then open it again."
        )
    what = next((w for at, magic, w in _MAGIC if head[at : at + len(magic)] == magic), "")
    if not what and head.startswith(b"PK\x03\x04"):
        what = _zip_kind(data)
    if not what and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30:
        what = f"a safetensors file, weights without a graph. {_EXPORT}"
    what = what or _text_kind(head)
    return f"'{shown}' is not an ONNX model: it is {what}" if what else ""


def _zip_kind(data: bytes) -> str:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return f"a ZIP archive, and a damaged one. {_ARCHIVE}"
    if any(n.endswith("data.pkl") for n in names):
        return f"a PyTorch checkpoint (.pt), a pickle, which is never opened here. {_EXPORT}"
    if "config.json" in names and any(n.endswith(".h5") for n in names):
        return f"a Keras model (.keras). {_EXPORT}"
    if names and all(n.endswith(".npy") for n in names):
        return "a NumPy archive (.npz), data rather than a model. Pass it as calibration data."
    return f"a ZIP archive. {_ARCHIVE}"


def _text_kind(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page. Download the raw file rather than the page that shows it."
    if start.startswith((b"<?xml", b"<net")):
        return f"an XML file (OpenVINO?). {_EXPORT}"
    if start and all(c in b"\t\r\n" or 32 <= c < 127 for c in start):
        return f"a text file. {_EXPORT}"
    return ""


def undecodable(data: bytes, shown: str) -> str:
    """Why bytes that no magic number gives away are no ONNX model: cut off, damaged, or something else."""
    fields, missing = _top_level(data)
    if (1, 2) in fields and (7, 2) not in fields:
        return f"'{shown}' is not an ONNX model but a TensorFlow graph (.pb). Convert it with tf2onnx."
    if b"saved_model" in data[:65536] or b"saved_model" in data[-65536:]:
        return f"'{shown}' is not an ONNX model: it is a TensorFlow SavedModel. Convert it with tf2onnx."
    if missing and (1, 0) in fields:
        return (
            f"'{shown}' is truncated: it ends after {len(data):,} bytes, and at least {missing:,} more were "
            "announced. Download or copy it again."
        )
    if (1, 0) in fields and (7, 2) in fields:
        return f"'{shown}' is damaged: its ONNX graph cannot be decoded. Download or export it again."
    if (1, 0) in fields and fields <= {(k, w) for k in range(1, 21) for w in (0, 2)}:
        return f"'{shown}' holds no graph: it is an incomplete ONNX file. Download or export it again."
    return f"'{shown}' is not an ONNX model, or damaged beyond recognition. {_EXPORT}"


def _top_level(data: bytes) -> tuple[set[tuple[int, int]], int]:
    """(field, wire type) pairs of the outermost protobuf message, and how many bytes it lacks."""
    fields: set[tuple[int, int]] = set()
    at = 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            wire = tag & 7
            if tag >> 3 == 0 or wire not in (0, 1, 2, 5):
                break
            fields.add((tag >> 3, wire))
            if wire == 0:
                _, at = _varint(data, at)
            else:
                length, at = {1: (8, at), 5: (4, at)}.get(wire) or _varint(data, at)
                at += length
    except IndexError:
        return fields, 1
    except ValueError:
        return fields, 0
    return fields, max(0, at - len(data))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Value, and the position after it; IndexError at the end of the data, ValueError when too long."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("no protobuf integer is that long")
