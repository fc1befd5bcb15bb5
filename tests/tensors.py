"""Tensors for the threshold tests: families with the shapes that activations have, and degenerate ones."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from quantscope.core.quant import INT4, INT8, INT16, UINT4, UINT8, UINT16, Encoding, QuantSpec, QuantType

COUNT = 200_000
FAMILIES = ("normal", "laplace", "relu", "relu6", "heavy_tail", "outliers", "gelu", "two_humps", "negative")
SPECS = {
    f"{type_}-{'symmetric' if symmetric else 'asymmetric'}{'-narrow' * narrow}": QuantSpec(
        type=type_, symmetric=symmetric, narrow_range=narrow
    )
    for type_ in (INT8, UINT8, INT16, UINT16, INT4, UINT4, QuantType(2, True), QuantType(12, False))
    for symmetric in (True, False)
    for narrow in ((False, True) if type_ is INT8 else (False,))
}
INT8_SYMMETRIC = SPECS["int8-symmetric"]
INT8_NARROW = SPECS["int8-symmetric-narrow"]
UINT8_ASYMMETRIC = SPECS["uint8-asymmetric"]


@lru_cache(maxsize=64)
def family(name: str, seed: int = 0, count: int = COUNT) -> np.ndarray:
    """A tensor of the family, float32; hundreds of tests share it, so that it cannot be written to."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(count)
    if name == "normal":
        x = z
    elif name == "laplace":
        x = rng.laplace(0.0, 1.0, count)
    elif name == "relu":
        x = np.maximum(z, 0.0)
    elif name == "relu6":
        x = np.clip(2.0 + 3.0 * z, 0.0, 6.0)
    elif name == "heavy_tail":
        x = rng.standard_t(3.0, count)
    elif name == "outliers":
        x = z * np.where(rng.random(count) < 1e-4, 50.0, 1.0)
    elif name == "gelu":
        x = z * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (2.0 * z + 0.35772 * z**3)))
    elif name == "two_humps":
        x = np.where(rng.random(count) < 0.7, 0.25 * z - 1.0, 0.5 * z + 2.0)
    elif name == "negative":
        x = -(0.1 + rng.gamma(2.0, 0.5, count))
    else:
        raise KeyError(name)
    values = x.astype(np.float32)
    values.setflags(write=False)
    return values


def quantized(x: np.ndarray, encoding: Encoding) -> np.ndarray:
    """What becomes of the values, in float64 (`fake_quantize` without float32 rounding)."""
    zero, scale = int(encoding.zero_point), float(encoding.scale)
    q = np.rint(x.astype(np.float64) / scale) + zero
    return (np.clip(q, encoding.qmin, encoding.qmax) - zero) * scale


def raw_mse(x: np.ndarray, encoding: Encoding) -> float:
    """Mean squared error on the values themselves."""
    return float(np.mean((x.astype(np.float64) - quantized(x, encoding)) ** 2))


def degenerate() -> dict[str, np.ndarray]:
    """Tensors with something wrong or extreme about them."""
    z = np.random.default_rng(0).standard_normal(1000)
    values: dict[str, object] = {
        "empty": [],
        "not finite": [np.nan, np.inf, -np.inf],
        "zeros": np.zeros(50),
        "negative zero": [-0.0],
        "one value": [3.0],
        "negative constant": np.full(100, -2.5),
        "denormal": [1e-45, -3e-45, 0.0],
        "denormal constant": np.full(5, 1e-40),
        "tiny": z * 1e-36,
        "huge": z * 1e30,
        "largest floats": [3.4e38, -3.4e38, 1.0],
        "some NaN": [np.nan, 1.0, 2.0, np.inf, -3.0],
        "positive": np.abs(z) + 5.0,
        "negative": -np.abs(z),
        "two spikes": np.repeat([0.0, 1.0], 500),
        "spikes on both sides": np.repeat([-1.0, 2.0], [300, 500]),
        "three spikes": np.repeat([-1.0, 0.0, 2.0], [300, 10, 500]),
        "one outlier": np.append(z, 1e30),
        "one negative outlier": np.append(z, -1e6),
        "barely negative": np.append(np.abs(z), -1e-30),
        "narrow": 5.0 + 1e-6 * z,
        "ten values": z[:10],
        "powers of two": [1.0, 2.0, 4.0, 8192.0, -8192.0],
    }
    return {name: np.asarray(x, np.float32) for name, x in values.items()}
