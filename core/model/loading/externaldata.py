"""Find the files that hold a model's external weights, and refuse those it has no business to read."""

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx

from quantscope.core.errors import ModelError
from quantscope.core.model.loading.foreign import LFS_POINTER

_PACKED = frozenset({onnx.TensorProto.INT4, onnx.TensorProto.UINT4})  # two elements a byte


def external_files(proto: onnx.ModelProto, path: Path | None, shown: str) -> dict[str, Path]:
    """Location → real file that holds external data, each inside the model's folder and long enough.

    Raises:
        ModelError: the model came as bytes, or a location is absolute, leaves the folder (also through a
            symbolic link), is missing, a Git LFS pointer, or too short.
    """
    files: dict[str, Path] = {}
    for tensor in _tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        info = {entry.key: entry.value for entry in tensor.external_data}
        location = info.get("location", "")
        if path is None:
            raise ModelError(
                f"the weights of '{shown}' lie in another file ({location!r}) that did not come along. "
                "Open the model by its path, or save it with all weights inside."
            )
        if location not in files:
            files[location] = _resolve(location, path)
        _check_extent(tensor, info, files[location], location)
    return files


def all_graphs(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph and every graph nested in attributes, those of functions included."""
    graphs = [proto.graph]
    nodes = [n for f in proto.functions for n in f.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield graph
            nodes.extend(graph.node)
        while nodes:
            for attribute in nodes.pop().attribute:
                if attribute.HasField("g"):
                    graphs.append(attribute.g)
                graphs.extend(attribute.graphs)


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor stored in the model: initializers and tensor attributes, in all graphs and functions."""
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


def _resolve(location: str, path: Path) -> Path:
    """The real file behind a location."""
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    rooted = posix.is_absolute() or bool(windows.drive or windows.root)
    if not location or "\0" in location or rooted or ".." in windows.parts:
        raise ModelError(
            f"'{path.name}' wants its weights from {location!r}, outside its own folder, which is refused. "
            "Put them beside the model and save it with a relative location."
        )
    real = (path.parent / location).resolve()
    # The model may itself be a link into a store (as in a Hugging Face cache): beside its target is fine too.
    homes = (path.parent.resolve(), path.resolve().parent)
    if not any(real.is_relative_to(home) for home in homes):
        raise ModelError(
            f"'{path.name}' has its weights in {location!r}, a link that leads out of its folder, which is "
            "refused. Copy the folder with links followed (cp -rL) and open the copy."
        )
    if not real.is_file():
        raise ModelError(
            f"the weights of '{path.name}' are missing: there is no file '{location}' in {path.parent}. "
            "Download or copy it to the same folder."
        )
    return real


def _check_extent(tensor: onnx.TensorProto, info: dict[str, str], file: Path, location: str) -> None:
    needed = _storage_bytes(tensor)
    try:
        offset, length = int(info.get("offset") or 0), int(info.get("length") or needed)
    except ValueError:
        raise ModelError(
            f"tensor '{tensor.name}' names no usable place in '{location}'. Export the model again."
        ) from None
    size = file.stat().st_size
    if size < 1024 and file.read_bytes().startswith(LFS_POINTER):
        raise ModelError(
            f"the weights '{location}' are a Git LFS pointer. Run `git lfs pull` in its repository."
        )
    if offset < 0 or length < needed or offset + length > size:
        end = offset + max(length, needed)
        raise ModelError(
            f"'{location}' is too short: tensor '{tensor.name}' needs its bytes {offset:,} to {end:,}, and "
            f"it has {size:,}. Download or copy it again."
        )


def _storage_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes that the tensor's elements take; 0 for types without a fixed size."""
    elements = int(math.prod(tensor.dims))
    if tensor.data_type in _PACKED:
        return (elements + 1) // 2
    try:
        item: int = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, ValueError):
        return 0
    return elements * item
