"""Integer kernels of ONNX Runtime in NumPy, with exact or with saturating sums: the second implementation.

A quantized model is optimized by ONNX Runtime as for a default session, and run node by node. Products of
integers are computed here; every other node by ONNX Runtime itself. So a test can see on any machine what
another kind of processor does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from quantscope.core.runtime import machine, sessions
from tests.sessions import options
from tests.sessions import session as open_session

Arrays = dict[str, np.ndarray]
CHUNK = 1 << 22  # products held at a time


def summed(a: np.ndarray, b: np.ndarray, saturating: bool) -> np.ndarray:
    """Sums of products (rows, outputs) of raw integers a (rows, K), 8 bits, and b (outputs, K).

    Saturating, as x86 without VNNI does for unsigned a and signed b: neighbours are added in 16 bits.
    """
    if not saturating or a.dtype != np.uint8 or b.dtype != np.int8:
        return a.astype(np.int64) @ b.astype(np.int64).T
    a, b = a.astype(np.int32), b.astype(np.int32)
    if a.shape[1] % 2:
        a, b = np.pad(a, ((0, 0), (0, 1))), np.pad(b, ((0, 0), (0, 1)))
    out = np.empty((len(a), len(b)), np.int64)
    step = max(1, CHUNK // max(a.size, 1))
    for start in range(0, len(b), step):
        part = b[start : start + step]
        pairs = a[:, None, 0::2] * part[None, :, 0::2] + a[:, None, 1::2] * part[None, :, 1::2]
        out[:, start : start + step] = np.clip(pairs, -(2**15), 2**15 - 1).sum(axis=2)
    return out


def product(a: np.ndarray, a_zero: int, b: np.ndarray, b_zero: np.ndarray, saturating: bool) -> np.ndarray:
    """Σ (a - a_zero)(b - b_zero) as kernels compute it: raw integers first, then what zero points add."""
    raw = summed(a, b, saturating)
    a_sums, b_sums = a.sum(axis=1, dtype=np.int64), b.sum(axis=1, dtype=np.int64)
    zeros = np.broadcast_to(b_zero.astype(np.int64).reshape(-1), (len(b),))
    return raw - a_zero * b_sums - a_sums[:, None] * zeros + a.shape[1] * a_zero * zeros


def requantized(sums: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """Integers of the output type: float32 product, half to even, cut off at the ends of the type."""
    ends = np.iinfo(zero.dtype)
    z = np.float32(int(zero))
    values = sums.astype(np.int32).astype(np.float32) * scale.astype(np.float32)
    return (np.rint(np.clip(values, ends.min - z, ends.max - z)) + z).astype(zero.dtype)


class EmulatedSession:
    """Runs a quantized model as a default session does on a processor that saturates, or that does not."""

    def __init__(self, model: onnx.ModelProto | bytes | str | Path, *, saturating: bool) -> None:
        self.saturating = saturating
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            settings = options(exact=False, threads=1)
            settings.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
            self.session = open_session(model, settings)
            self.graph = onnx.load(Path(folder) / "optimized.onnx")
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.graph.graph.initializer}
        self.single: dict[tuple[str, tuple[Any, ...]], ort.InferenceSession] = {}
        self.products = 0  # nodes that were computed here

    def get_inputs(self) -> list[Any]:
        return self.session.get_inputs()

    def get_outputs(self) -> list[Any]:
        return self.session.get_outputs()

    def run(self, names: Sequence[str] | None, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        values: Arrays = {**self.constants, **{name: np.asarray(value) for name, value in feed.items()}}
        for node in self.graph.graph.node:
            given = [values.get(name) for name in node.input]
            kernel = KERNELS.get(node.op_type)
            if kernel is not None:
                self.products += 1
                attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
                values[node.output[0]] = kernel(given, attributes, self.saturating)
            else:
                values.update(zip(node.output, self._single(node, given), strict=True))
        wanted = [out.name for out in self.session.get_outputs()] if names is None else names
        return [values[name] for name in wanted]

    def _single(self, node: onnx.NodeProto, given: list[np.ndarray | None]) -> list[np.ndarray]:
        """One node, run by ONNX Runtime."""
        feed = {n: v for n, v in zip(node.input, given, strict=True) if n and v is not None}
        key = (node.output[0], tuple((v.dtype.str, v.shape) for v in feed.values()))
        if key not in self.single:
            inputs = [
                helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
                for n, v in feed.items()
            ]
            outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
            graph = helper.make_graph([node], "one", inputs, outputs)
            model = helper.make_model(
                graph, opset_imports=self.graph.opset_import, ir_version=self.graph.ir_version
            )
            self.single[key] = open_session(model, options(plain=True, exact=False, threads=1))
        return self.single[key].run(list(node.output), feed)


def _convolution(given: list[Any], attributes: Mapping[str, Any], saturating: bool) -> np.ndarray:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *rest = given
    last = bool(attributes.get("channels_last", 0))
    x = np.moveaxis(x, -1, 1) if last else x
    spatial = w.ndim - 2
    strides = attributes.get("strides") or [1] * spatial
    dilations = attributes.get("dilations") or [1] * spatial
    kernel, groups = w.shape[2:], attributes.get("group", 1)
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    pads = _pads(attributes, x.shape[2:], strides, reach)
    padded = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=x_zero)
    view = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, 2 + spatial)))
    view = view[(slice(None), slice(None), *(slice(None, None, s) for s in (*strides, *dilations)))]
    size = view.shape[2 : 2 + spatial]
    depthwise = groups > 1 and w.shape[0] == groups and w.shape[1] == 1
    sums = []
    zeros = np.broadcast_to(w_zero.reshape(-1), (len(w),))
    for group in range(groups):
        own = slice(group * w.shape[1], (group + 1) * w.shape[1])
        # Rows hold the kernel's positions with the channel fastest.
        rows = np.moveaxis(view[:, own], 1, -1).reshape(len(x) * int(np.prod(size)), -1)
        outs = slice(group * len(w) // groups, (group + 1) * len(w) // groups)
        weights = np.moveaxis(w[outs], 1, -1).reshape(outs.stop - outs.start, -1)
        part = product(rows, int(x_zero), weights, zeros[outs], saturating and not depthwise)
        sums.append(part)
    total = np.concatenate(sums, axis=1)
    if rest and rest[0] is not None:
        total = total + rest[0].astype(np.int64)
    scale = np.float32(x_scale) * w_scale.reshape(-1).astype(np.float32) / np.float32(y_scale)
    y = requantized(total, scale, y_zero).reshape(len(x), *size, len(w))
    return y if last else np.ascontiguousarray(np.moveaxis(y, -1, 1))


def _pads(
    attributes: Mapping[str, Any], sizes: Sequence[int], strides: Sequence[int], reach: Sequence[int]
) -> list[tuple[int, int]]:
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    if auto.startswith("SAME"):
        missing = [
            max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(sizes, strides, reach, strict=True)
        ]
        halves = [(m // 2, m - m // 2) for m in missing]
        return halves if auto == "SAME_UPPER" else [(b, a) for a, b in halves]
    given = attributes.get("pads") or [0] * 2 * len(sizes)
    return list(zip(given[: len(sizes)], given[len(sizes) :], strict=True))


def _matrices(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pairs of matrices that MatMul multiplies; the second one transposed."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left = np.broadcast_to(a, (*batch, *a.shape[-2:])).reshape(-1, *a.shape[-2:])
    right = np.broadcast_to(b, (*batch, *b.shape[-2:])).reshape(-1, *b.shape[-2:])
    for one, other in zip(left, right, strict=True):
        yield one, other.T


def _matmul_sums(a: np.ndarray, a_zero: Any, b: np.ndarray, b_zero: Any, saturating: bool) -> np.ndarray:
    a_zero = 0 if a_zero is None else int(a_zero)
    b_zero = np.zeros(1, b.dtype) if b_zero is None else b_zero
    if b.ndim == 1:
        return _matmul_sums(a, a_zero, b[:, None], b_zero, saturating)[..., 0]
    found = [product(one, a_zero, other, b_zero, saturating) for one, other in _matrices(a, b)]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return np.stack(found).reshape(*batch, a.shape[-2], b.shape[-1])


def _matmul(given: list[Any], attributes: Mapping[str, Any], saturating: bool) -> np.ndarray:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = given
    sums = _matmul_sums(a, a_zero, b, b_zero, saturating)
    return requantized(sums, np.float32(a_scale) * b_scale.astype(np.float32) / np.float32(y_scale), y_zero)


def _matmul_to_float(given: list[Any], attributes: Mapping[str, Any], saturating: bool) -> np.ndarray:
    a, b, a_scale, b_scale, *rest = [*given, None, None, None][:7]
    a_zero, b_zero, bias = rest
    sums = _matmul_sums(a, a_zero, b, b_zero, saturating)
    y = sums.astype(np.int32).astype(np.float32) * (np.float32(a_scale) * b_scale.astype(np.float32))
    return y if bias is None else y + bias


def _gemm(given: list[Any], attributes: Mapping[str, Any], saturating: bool) -> np.ndarray:
    a, a_scale, a_zero, b, b_scale, b_zero, c, y_scale, y_zero = [*given, None, None, None][:9]
    a = a.T if attributes.get("transA", 0) else a
    weights = b if attributes.get("transB", 0) else b.T
    sums = product(a, int(a_zero), weights, b_zero, saturating)
    sums = sums if c is None else sums + c.astype(np.int64)
    scale = np.float32(attributes.get("alpha", 1.0)) * np.float32(a_scale) * b_scale.astype(np.float32)
    if y_scale is None:
        return sums.astype(np.int32).astype(np.float32) * scale
    return requantized(sums, scale / np.float32(y_scale), y_zero)


def _integers(given: list[Any], attributes: Mapping[str, Any], saturating: bool) -> np.ndarray:
    a, b, a_zero, b_zero = [*given, None, None][:4]
    return _matmul_sums(a, a_zero, b, b_zero, saturating).astype(np.int32)


KERNELS = {
    "QLinearConv": _convolution,
    "QLinearMatMul": _matmul,
    "MatMulIntegerToFloat": _matmul_to_float,
    "MatMulInteger": _integers,
    "QGemm": _gemm,
}


@contextmanager
def processor(*, saturating: bool) -> Iterator[None]:
    """Inside, default sessions of the product add products as on a processor that saturates, or does not."""

    def opened(model: Any, settings: ort.SessionOptions, **extra: Any) -> Any:
        try:
            exact = settings.get_session_config_entry(sessions.EXACT) == "1"
        except RuntimeError:  # no such entry
            exact = False
        return made(model, settings, **extra) if exact else EmulatedSession(model, saturating=saturating)

    made = sessions.open_session
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "open_session", opened)
        patch.setattr(machine, "open_session", opened)
        machine.integer_sums.cache_clear()
        yield
    machine.integer_sums.cache_clear()
