"""Samples from lists of arrays, and quantized models made by onnxruntime's own tool, for evaluation tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from quantscope.core.data import Load, Samples
from quantscope.core.model import Model, load_model
from tests.networks import NETWORKS, feeds
from tests.sessions import session as open_session

Sample = dict[str, np.ndarray]


class ListFeed:
    """A feed over samples in memory; the last of them may be padded."""

    def __init__(self, items: Sequence[Sample], batch: int = 1, rows: int | None = None) -> None:
        self.items, self.batch = items, batch
        self.count = len(items)
        self.rows = rows if rows is not None else self.count * batch

    def open(self, indices: Sequence[int]) -> Iterator[Load]:
        for index in indices:
            yield lambda index=index: self.items[index]

    def digests(self, indices: Sequence[int]) -> None:
        """None: content has to be read."""


def list_samples(
    items: Sequence[Sample], labels: Any = None, batch: int = 1, rows: int | None = None
) -> Samples:
    """Samples as the model takes them."""
    feed = ListFeed(items, batch, rows)
    return Samples(
        names=tuple(items[0]) if items else (),
        feed=feed,
        indices=range(len(items)),
        kind="npz",
        source="test",
        labels=None if labels is None else np.asarray(labels, np.int64),
    )


class _Reader(CalibrationDataReader):
    def __init__(self, items: Sequence[Sample]) -> None:
        self._items = iter(items)

    def get_next(self) -> Sample | None:
        return next(self._items, None)


def static_quantized(model: Model | bytes, items: Sequence[Sample], **options: Any) -> onnx.ModelProto:
    """What onnxruntime's quantize_static makes of the cleaned float model, or of a file's bytes."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "quantized.onnx"
        source.write_bytes(model if isinstance(model, bytes) else model.float_bytes())
        settings = {
            "quant_format": QuantFormat.QDQ,
            "per_channel": True,
            "activation_type": QuantType.QUInt8,
            "weight_type": QuantType.QInt8,
            **options,
        }
        quantize_static(source, target, _Reader(items), **settings)
        return onnx.load(target)


@cache
def case(name: str) -> tuple[Model, onnx.ModelProto, tuple[Sample, ...]]:
    """A network of the table: loaded, quantized by onnxruntime, and its samples. Not to be changed."""
    items = tuple(feeds(name))
    model = load_model(NETWORKS[name][0]().SerializeToString(), name=name)
    return model, static_quantized(model, items), items


def run_plainly(
    model: bytes | onnx.ModelProto, items: Sequence[Sample], names: list[str] | None = None
) -> list[list[np.ndarray]]:
    """Outputs of every sample from an ordinary session."""
    session = open_session(model)
    return [session.run(names, dict(item)) for item in items]
