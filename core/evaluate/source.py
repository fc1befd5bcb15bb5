"""A float model in the form that sessions are made from, whatever its size."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir

from core.evaluate.runtime import Session
from core.evaluate.view import expose
from core.model import Model

LARGE = 1 << 30  # bytes of weights from which on they are kept out of the protobuf message (limit: 2 GB)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloatSource:
    """The cleaned float model, serialized; large weights lie in a scratch folder."""

    model: Model
    data: bytes
    folder: Path | None

    def session(self, tensors: Iterable[str] = (), *, threads: int = 1, arena: bool = True) -> Session:
        """A session that gives `tensors` beside the outputs."""
        graph = self.model.proto().graph
        types: Mapping[str, int] = {v.name: v.type.tensor_type.elem_type for v in graph.value_info}
        wanted = {name: types.get(name, onnx.TensorProto.FLOAT) for name in tensors}
        data = expose(self.data, wanted, {v.name for v in graph.output})
        return Session(data, folder=self.folder, threads=threads, arena=arena, what="the float model")


@contextmanager
def float_source(model: Model) -> Iterator[FloatSource]:
    """Serialize the float model once for several sessions; they are to be used inside the `with` block."""
    weights = (v.const_value for v in model.ir.graph.initializers.values())
    if sum(tensor.nbytes for tensor in weights if tensor is not None) < LARGE:
        yield FloatSource(model=model, data=model.float_bytes(), folder=None)
        return
    # On Windows a file that a session still maps cannot be removed.
    with tempfile.TemporaryDirectory(prefix="quantscope-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch).resolve()
        onnx_ir.save(model.ir, folder / "model.onnx", external_data="weights.bin")
        yield FloatSource(model=model, data=(folder / "model.onnx").read_bytes(), folder=folder)
