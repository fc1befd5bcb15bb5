"""The inputs that each weight of a node meets, as rows of a matrix: convolutions written as products."""

from dataclasses import dataclass
from math import gcd, prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.passes.linear import LinearWeight, linear_weight

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How a node moves its kernel; one entry a spatial axis, and none for Gemm and MatMul."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...] | None  # before and behind; None = so that the output is input / stride
    stuffed: tuple[int, ...]  # ConvTranspose: the input is spread out by this stride first


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A linear node as one product for each group: outputs (rows, O) = inputs (rows, K) · weights (O, K)ᵀ."""

    linear: LinearWeight
    geometry: Geometry

    @property
    def columns(self) -> int:
        """K: weights that one output is made with."""
        return self.linear.in_channels // self.linear.groups * prod(self.geometry.kernel)

    def matrix(self, weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Something of the weight's shape as (groups, O, K)."""
        split = self._turned(self.linear.split(weight))
        return split.reshape(*split.shape[:2], -1)

    def weight(self, matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The inverse of `matrix`."""
        split = matrix.reshape(*matrix.shape[:2], -1, prod(self.geometry.kernel))
        return self.linear.joined(self._turned(split))

    def _turned(self, split: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """ConvTranspose meets its input with the kernel turned round; the last axis holds all positions."""
        return split[..., ::-1] if self.linear.node.op_type == "ConvTranspose" else split

    def rows(self, x: Float32, most: int) -> Float32:
        """Up to `most` rows for one run's input, spread over its positions: (groups, rows, K)."""
        if not self.geometry.kernel:
            flat = x.reshape(-1, x.shape[-1])
            return flat[_evenly_spread(len(flat), most)][None]
        windows = _windows(x, self.geometry)
        spatial = len(self.geometry.kernel)
        positions = (windows.shape[0], *windows.shape[2 : 2 + spatial])
        places = np.unravel_index(_evenly_spread(prod(positions), most), positions)
        index: tuple[Any, ...] = (places[0], slice(None), *places[1:])
        taken = windows[index]  # (rows, channels, kernel)
        split = taken.reshape(len(taken), self.linear.groups, -1)
        return np.ascontiguousarray(split.swapaxes(0, 1))


def product(node: ir.Node) -> Product | None:
    """The node as a `Product`; None where its weight is not constant, or its geometry is unusual."""
    found = linear_weight(node)
    if found is None:
        return None
    geometry: Geometry | None = Geometry(kernel=(), strides=(), dilations=(), pads=(), stuffed=())
    if node.op_type in ("Conv", "ConvTranspose"):
        geometry = _geometry(node, found.weight.shape[2:])
    return None if geometry is None else Product(linear=found, geometry=geometry)


def _geometry(node: ir.Node, kernel: tuple[int, ...]) -> Geometry | None:
    axes = len(kernel)
    ones = (1,) * axes
    strides = tuple(node.attributes.get_ints("strides", ones))
    dilations = tuple(node.attributes.get_ints("dilations", ones))
    given = tuple(node.attributes.get_ints("pads", (0,) * 2 * axes))
    auto = node.attributes.get_string("auto_pad", "NOTSET")
    pads: tuple[tuple[int, int], ...] | None = tuple(zip(given[:axes], given[axes:], strict=True))
    if auto == "VALID":
        pads = ((0, 0),) * axes
    if node.op_type == "Conv":
        if auto == "SAME_LOWER":
            return None
        pads = None if auto == "SAME_UPPER" else pads
        return Geometry(kernel=kernel, strides=strides, dilations=dilations, pads=pads, stuffed=ones)
    if auto.startswith("SAME") or "output_shape" in node.attributes:
        return None
    extra = tuple(node.attributes.get_ints("output_padding", (0,) * axes))
    assert pads is not None
    turned = tuple(
        (d * (k - 1) - before, d * (k - 1) - behind + more)
        for k, d, (before, behind), more in zip(kernel, dilations, pads, extra, strict=True)
    )
    return Geometry(kernel=kernel, strides=ones, dilations=dilations, pads=turned, stuffed=strides)


def _windows(x: Float32, geometry: Geometry) -> Float32:
    """A view (N, C, positions..., kernel...) of the padded input."""
    spatial = len(geometry.kernel)
    if any(s > 1 for s in geometry.stuffed):
        sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], geometry.stuffed, strict=True)]
        wide = np.zeros((*x.shape[:2], *sizes), np.float32)
        between: tuple[Any, ...] = (..., *(slice(None, None, s) for s in geometry.stuffed))
        wide[between] = x
        x = wide
    reach = [d * (k - 1) + 1 for k, d in zip(geometry.kernel, geometry.dilations, strict=True)]
    pads = geometry.pads
    if pads is None:
        missing = [
            max((-(-n // s) - 1) * s + r - n, 0)
            for n, s, r in zip(x.shape[2:], geometry.strides, reach, strict=True)
        ]
        pads = tuple((m // 2, m - m // 2) for m in missing)
    x = np.pad(x, [(0, 0), (0, 0), *((max(a, 0), max(b, 0)) for a, b in pads)])
    crop = tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pads, x.shape[2:], strict=True))
    x = x[(slice(None), slice(None), *crop)]
    axes = tuple(range(2, 2 + spatial))
    view = np.lib.stride_tricks.sliding_window_view(x, tuple(reach), axis=axes)
    steps = (slice(None, None, s) for s in (*geometry.strides, *geometry.dilations))
    return np.asarray(view[(slice(None), slice(None), *steps)])


def _evenly_spread(count: int, most: int) -> npt.NDArray[np.int64]:
    """Up to `most` of the numbers below `count`, evenly spread, the same ones every time."""
    if count <= most:
        return np.arange(count)
    step = max(int(count * 0.6180339887), 1)
    while gcd(step, count) != 1:
        step += 1
    return np.sort(np.arange(most) * step % count)
