"""Sums in 16 bits: the emulation against ONNX Runtime, and scales and integers that keep within them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantscope.core.passes.gptq import IntegerGrid, damped, round_weights, row_errors
from quantscope.core.quant import INT8, Encoding, QuantSpec, ScaleRule, fake_quantize, quantize_values
from quantscope.core.quantize import LIMIT, least_safe, pairs_of, partners, worst_sum
from quantscope.core.quantize.saturation import REACH, best_safe, neighbours, reading_order
from quantscope.core.runtime import integer_sums
from quantscope.core.thresholds import WeightMethod, channel_rows, weight_encoding
from tests.emulator import EmulatedSession
from tests.networks import NETWORKS, feeds
from tests.quantizing import MINMAX, network, quantized
from tests.sessions import options
from tests.sessions import session as open_session

SPEC = QuantSpec(type=INT8, symmetric=True, narrow_range=True)
# Operator, shape of the weight, attributes, channel axis.
WEIGHTS: tuple[tuple[str, tuple[int, ...], dict[str, int], int | None], ...] = (
    ("Conv", (5, 3, 3, 3), {}, 0),
    ("Conv", (4, 7, 3), {}, 0),
    ("Conv", (6, 2, 2, 2), {"group": 3}, 0),
    ("Conv", (8, 1, 3, 3), {"group": 4}, 0),
    ("Conv", (3, 2, 2, 2, 2), {}, None),
    ("Gemm", (9, 6), {}, 1),
    ("Gemm", (6, 9), {"transB": 1}, 0),
    ("MatMul", (12, 5), {}, 1),
    ("MatMul", (2, 7, 4), {}, None),
)


def case(number: int, seed: int) -> tuple[np.ndarray, ir.Node, int | None]:
    """A weight of heavy-tailed values, the node that multiplies by it, and the axis of its scales."""
    op, shape, attributes, axis = WEIGHTS[number]
    weight = np.random.default_rng(seed).standard_t(4, shape).astype(np.float32)
    return weight, ir.node(op, [], attributes=attributes), axis


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("saturating", [False, True])
def test_the_emulation_equals_onnx_runtime(name: str, saturating: bool) -> None:
    """Exact sums everywhere; saturating ones against a default session where the processor saturates."""
    items = feeds(name)
    proto, _ = quantized(network(name), items, MINMAX)
    here = integer_sums().saturates
    emulated = EmulatedSession(proto, saturating=saturating and here)
    actual = open_session(proto, options(exact=not saturating, threads=1))
    for item in items:
        for ours, theirs in zip(emulated.run(None, item), actual.run(None, item), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert emulated.products >= len(items)


@pytest.mark.parametrize("name", NETWORKS)
def test_saturation_shows_on_these_networks(name: str) -> None:
    items = feeds(name)
    proto, _ = quantized(network(name), items, MINMAX)
    exact, cut = (EmulatedSession(proto, saturating=s) for s in (False, True))
    assert any(not np.array_equal(exact.run(None, i)[0], cut.run(None, i)[0]) for i in items)


@given(
    st.integers(0, len(WEIGHTS) - 1),
    st.integers(0, 10**6),
    st.sampled_from(list(WeightMethod)),
    st.sampled_from([1.0, 1e-33, 1e36]),
)
def test_no_pair_saturates_and_no_smaller_scale_would_do(
    number: int, seed: int, method: WeightMethod, size: float
) -> None:
    weight, node, axis = case(number, seed)
    weight = np.clip(weight, -100, 100) * np.float32(size)
    spec = QuantSpec(type=INT8, symmetric=True, narrow_range=True, axis=axis)
    raw = weight_encoding(weight, spec, method)
    found = least_safe(raw, pairs_of(weight, node, 1, axis, known_order=True))
    assert (found.scale >= raw.scale).all()
    assert worst_sum(quantize_values(weight, found), node, 1) <= LIMIT
    less = np.nextafter(found.scale, np.float32(0))
    for channel in np.flatnonzero(np.atleast_1d(found.scale > raw.scale)):
        scale = np.atleast_1d(found.scale).copy()
        scale[channel] = np.atleast_1d(less)[channel]
        smaller = Encoding(
            scale.reshape(found.scale.shape), found.zero_point, found.type, axis, found.qmin, found.qmax
        )
        assert worst_sum(quantize_values(weight, smaller), node, 1) > LIMIT


@given(st.integers(0, len(WEIGHTS) - 1), st.integers(0, 10**6))
def test_the_best_safe_scale_is_safe_and_no_worse(number: int, seed: int) -> None:
    weight, node, axis = case(number, seed)
    raw = weight_encoding(weight, replace(SPEC, axis=axis))
    pairs = pairs_of(weight, node, 1, axis, known_order=True)
    least, best = least_safe(raw, pairs), best_safe(raw, weight, pairs)
    assert worst_sum(quantize_values(weight, best), node, 1) <= LIMIT
    assert (best.scale >= least.scale).all()
    assert (best.scale <= least.scale * (1 + REACH) * 1.00001).all()
    assert np.array_equal(best.scale[least.scale == raw.scale], raw.scale[least.scale == raw.scale])
    losses = [np.square(fake_quantize(weight, e) - weight) for e in (best, least)]
    per = [channel_rows(loss, axis).sum(axis=1) for loss in losses]
    assert (per[0] <= per[1] * 1.00001).all()


@given(st.integers(0, len(WEIGHTS) - 1), st.integers(0, 10**6))
def test_without_a_known_order_no_two_weights_of_an_output_saturate(number: int, seed: int) -> None:
    weight, node, axis = case(number, seed)
    spec = QuantSpec(type=INT8, symmetric=True, narrow_range=True, axis=axis)
    raw = weight_encoding(weight, spec)
    pairs = pairs_of(weight, node, 1, axis, known_order=False)
    assert pairs is not None
    integers = quantize_values(weight, least_safe(raw, pairs)).astype(int)
    rows = (
        integers.reshape(1, -1)
        if axis is None
        else np.moveaxis(integers, axis, 0).reshape(len(raw.scale), -1)
    )
    for row in rows:
        top = np.sort(
            np.concatenate([np.sort(np.maximum(s, 0))[-2:].sum(keepdims=True) for s in (row, -row)])
        )
        assert top.max() <= LIMIT
    known = least_safe(raw, pairs_of(weight, node, 1, axis, known_order=True))
    assert (known.scale <= least_safe(raw, pairs).scale).all()


@given(st.integers(0, 10**6))
def test_powers_of_two_stay_such(seed: int) -> None:
    weight, node, axis = case(0, seed)
    rule = ScaleRule.POWER_OF_TWO_UP
    spec = QuantSpec(type=INT8, symmetric=True, narrow_range=True, axis=axis, scale_rule=rule)
    found = least_safe(weight_encoding(weight, spec), pairs_of(weight, node, 1, axis, known_order=True), rule)
    assert (np.frexp(found.scale)[0] == 0.5).all()
    assert worst_sum(quantize_values(weight, found), node, 1) <= LIMIT


def test_what_adds_in_32_bits_is_left_alone() -> None:
    weight = np.full((4, 1, 3, 3), 1.0, np.float32)
    assert pairs_of(weight, ir.node("Conv", [], attributes={"group": 4}), 1, 0, known_order=True) is None
    assert pairs_of(weight, ir.node("ConvTranspose", []), 1, 1, known_order=True) is None
    assert pairs_of(weight[0, 0], ir.node("MatMul", []), 0, None, known_order=True) is None
    assert (
        worst_sum(np.full((4, 1, 3, 3), 127, np.int8), ir.node("Conv", [], attributes={"group": 4}), 1) == 0
    )
    one = pairs_of(np.ones((4, 1, 1, 1), np.float32), ir.node("Conv", []), 1, 0, known_order=True)
    assert one is not None
    assert not one.scales.size


@given(st.integers(0, len(WEIGHTS) - 1))
def test_partners_are_each_others(number: int) -> None:
    weight, node, _ = case(number, 0)
    order = reading_order(np.arange(weight.size).reshape(weight.shape), node, 1)
    beside = partners(weight.shape, node, 1)
    assert order is not None
    assert beside is not None
    assert sorted(order.reshape(-1).tolist()) == list(range(weight.size))
    has = np.flatnonzero(beside >= 0)
    assert np.array_equal(beside[beside[has]], has)
    assert has.size == neighbours(order).size


@given(st.integers(0, 10**6), st.sampled_from([7, 8, 40]))
def test_rounding_keeps_to_the_bound_and_gains(seed: int, columns: int) -> None:
    """Never worse than the nearest integers, at the least scale for which these are safe."""
    rng = np.random.default_rng(seed)
    weight = rng.standard_t(4, (1, 6, columns))
    node = ir.node("Gemm", [], attributes={"transB": 1})
    flat = weight[0].astype(np.float32)
    raw = weight_encoding(flat, QuantSpec(type=INT8, symmetric=True, narrow_range=True, axis=0))
    encoding = least_safe(raw, pairs_of(flat, node, 1, 0, known_order=True))
    beside = partners(flat.shape, node, 1)
    assert beside is not None
    mates = beside[:columns]
    x = rng.standard_normal((300, columns)) @ rng.standard_normal((columns, columns)) + 0.5
    gram = damped((x.T @ x)[None] / 300, 0.01)
    grid = IntegerGrid(
        scale=encoding.scale.astype(np.float64)[None], zero=np.zeros((1, 6)), qmin=-127, qmax=127
    )
    found = round_weights(flat[None].astype(np.float64), gram, grid, mates)
    assert worst_sum(found[0].astype(np.int8), node, 1) <= LIMIT
    assert np.abs(found).max() <= 127
    nearest = quantize_values(flat, encoding).astype(np.float64)[None]
    before = row_errors(flat[None].astype(np.float64), nearest, grid, gram)
    after = row_errors(flat[None].astype(np.float64), found, grid, gram)
    assert (after <= before * (1 + 1e-9)).all()


def test_it_costs_less_than_a_bit() -> None:
    """Normal and Laplace weights lose 1 to 3 dB to full 8 bits, where 7 bits lose 6."""
    rng = np.random.default_rng(0)
    node = ir.node("Conv", [])
    for draw in (rng.standard_normal, lambda size: rng.laplace(size=size)):
        weight = draw((64, 32, 3, 3)).astype(np.float32)
        spec = QuantSpec(type=INT8, symmetric=True, narrow_range=True, axis=0)
        full = weight_encoding(weight, spec)
        bounded = least_safe(full, pairs_of(weight, node, 1, 0, known_order=True))
        step = {"full": full.scale, "bounded": bounded.scale, "seven": full.scale * np.float32(127 / 63)}
        loss = {name: 20 * np.log10(np.sqrt(np.mean((s / full.scale) ** 2))) for name, s in step.items()}
        assert 0.3 < loss["bounded"] < 3.5
        assert loss["seven"] > loss["bounded"] + 2.5
