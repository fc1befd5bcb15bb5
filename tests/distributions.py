"""Tensors that calibration tools were run on: 200 000 values of 16 families, drawn from a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

Draw = Callable[[np.random.Generator], Any]

COUNT = 200_000


def _bimodal(rng: np.random.Generator) -> Any:
    left, normal = rng.random(COUNT) < 0.7, rng.standard_normal(COUNT)
    return np.where(left, -1.0 + 0.25 * normal, 2.0 + 0.5 * normal)


def _sparse_outliers(rng: np.random.Generator) -> Any:
    values = rng.standard_normal(COUNT)
    values[rng.choice(COUNT, 20, replace=False)] *= 50.0
    return values


def _gelu(rng: np.random.Generator) -> Any:
    values = 2.0 * rng.standard_normal(COUNT)
    return (
        0.5 * values * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (values + 0.044715 * values * values * values)))
    )


def _softmax(rng: np.random.Generator) -> Any:
    logits = 3.0 * rng.standard_normal((COUNT // 100, 100))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).ravel()


def _spike_at_zero(rng: np.random.Generator) -> Any:
    kept = rng.random(COUNT) < 0.05
    return np.where(kept, rng.standard_normal(COUNT), 0.0)


# Family → how it is drawn in float64, and how the SHA-256 of its float32 values begins for seeds 0 and 1.
FAMILIES: dict[str, tuple[Draw, str, str]] = {
    "normal": (lambda rng: rng.standard_normal(COUNT), "c0dc1c07518ee37a", "18c7e22b6f0b36b3"),
    "laplace": (lambda rng: rng.laplace(0.0, 1.0, COUNT), "5f3e26c2972da86d", "8145d48321cd396c"),
    "relu_normal": (
        lambda rng: np.maximum(rng.standard_normal(COUNT), 0.0),
        "12d289c77ed05107",
        "f51c83d080c55b6e",
    ),
    "relu6_clipped": (
        lambda rng: np.clip(2.0 + 3.0 * rng.standard_normal(COUNT), 0.0, 6.0),
        "06bdad271a003668",
        "4ae585b9db9b9710",
    ),
    "student_t3": (lambda rng: rng.standard_t(3.0, COUNT), "3bfacb239937a287", "082167918deebdf2"),
    "lognormal": (lambda rng: rng.lognormal(0.0, 1.0, COUNT), "d38f7c02bdbe58af", "5edd009ed26012ca"),
    "uniform": (lambda rng: rng.uniform(-1.0, 1.0, COUNT), "97a9addb1d74709b", "660faccf489e45c4"),
    "bimodal": (_bimodal, "588a9ad9c7c7fffb", "36ba430f0c26f9ad"),
    "sparse_outliers": (_sparse_outliers, "3245560fd2257e36", "0286029c740a4138"),
    "gelu_like": (_gelu, "fba049b577738734", "f157bf9eb4f03600"),
    "softmax_like": (_softmax, "aaa85c3fe3561b5c", "fb9f3f1ee1b6187d"),
    "shifted_asymmetric": (
        lambda rng: 3.0 + rng.standard_normal(COUNT),
        "1898106bcffdd1e6",
        "eec1f27df1f1e067",
    ),
    "shifted_positive": (
        lambda rng: 10.0 + rng.standard_normal(COUNT),
        "c94e89e8fe13c961",
        "fd4e6d175a7fe1ee",
    ),
    "negative_only": (
        lambda rng: -(0.1 + rng.gamma(2.0, 0.5, COUNT)),
        "5cc78896dd31c816",
        "e87e9d612f72026a",
    ),
    "tiny_range": (lambda rng: 1e-6 * rng.standard_normal(COUNT), "6ea7c858999fca38", "be03aab7fbf0860e"),
    "spike_at_zero": (_spike_at_zero, "cfccbb4ad58adf4e", "7853510b5f839913"),
}


@cache
def drawn(name: str, seed: int) -> Any:
    """The float32 values; skips the test where this NumPy, or this processor, gives others."""
    draw, *digests = FAMILIES[name]
    values = np.asarray(draw(np.random.default_rng(seed)), np.float32)
    values.setflags(write=False)
    if hashlib.sha256(values.tobytes()).hexdigest()[:16] != digests[seed]:
        pytest.skip(f"this NumPy draws other numbers for {name}/{seed}")
    return values
