"""Uniform quantization: ONNX Runtime's own operators as oracle, and what every encoding must promise."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from quantscope.core.quant import (
    INT8,
    INT16,
    TYPES,
    UINT8,
    Encoding,
    QuantSpec,
    QuantType,
    Range,
    dequantize,
    encoding_from_range,
    encoding_from_ranges,
    fake_quantize,
    quantize_values,
)
from tests.sessions import options
from tests.sessions import session as open_session
from tests.tensors import SPECS

FINITE = st.floats(-(2.0**100), 2.0**100, width=32)
RANGES = st.tuples(FINITE, FINITE).map(lambda ends: Range(*sorted(ends)))
ONNX_TYPES = {
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "int16": TensorProto.INT16,
    "uint16": TensorProto.UINT16,
}


def runtime(type_: QuantType, axis: int | None) -> onnxruntime.InferenceSession:
    """QuantizeLinear and DequantizeLinear of ONNX Runtime: x, scale, zero point → q, x'."""
    kind, extra = ONNX_TYPES[type_.name], {} if axis is None else {"axis": axis}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **extra),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **extra),
    ]
    shape = [] if axis is None else [None]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * 3),
        helper.make_tensor_value_info("s", TensorProto.FLOAT, shape),
        helper.make_tensor_value_info("z", kind, shape),
    ]
    outputs = [
        helper.make_tensor_value_info("q", kind, [None] * 3),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 3),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    return open_session(model, options(plain=True))


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("name", ONNX_TYPES)
def test_the_same_integers_and_floats_as_onnxruntime(name: str, axis: int | None) -> None:
    type_, rng = TYPES[name], np.random.default_rng(0)
    session = runtime(type_, axis)
    for _ in range(20):
        x = rng.standard_normal((7, 5, 11)).astype(np.float32) * np.float32(10.0 ** rng.uniform(-4, 4))
        x.flat[:6] = 0.0, -0.0, 1e30, -1e30, x.max() * 2, 1e-40
        size = () if axis is None else (5,)
        spread = np.abs(x).max() * rng.uniform(0.001, 1.2, size)
        spec = QuantSpec(type=type_, symmetric=bool(rng.random() < 0.5), axis=axis)
        encoding = encoding_from_ranges(-spread * rng.random(), spread, spec)
        zero = encoding.zero_point.astype(type_.dtype)
        q, y = session.run(None, {"x": x, "s": encoding.scale, "z": zero})
        np.testing.assert_array_equal(quantize_values(x, encoding), q)
        np.testing.assert_array_equal(dequantize(q, encoding), y)
        np.testing.assert_array_equal(fake_quantize(x, encoding), y)


def test_ties_round_to_even() -> None:
    encoding = Encoding(np.float32(2.0), np.int32(3), INT8, None, -128, 127)
    x = np.float32([-5, -3, -1, 1, 3, 5, 7])
    np.testing.assert_array_equal(quantize_values(x, encoding), np.int8([1, 1, 3, 3, 5, 5, 7]))


@given(RANGES, st.sampled_from(list(SPECS.values())))
def test_any_range_gives_a_usable_encoding_that_holds_zero(range_: Range, spec: QuantSpec) -> None:
    e = encoding_from_range(range_, spec)
    assert e.scale.dtype == np.float32
    assert e.scale >= np.finfo(np.float32).tiny
    assert np.isfinite(e.scale)
    assert spec.qmin <= e.zero_point <= spec.qmax
    assert (e.qmin, e.qmax) == (spec.qmin, spec.qmax)
    assert fake_quantize(np.zeros(1, np.float32), e)[0] == 0.0


@given(RANGES, st.sampled_from(list(SPECS.values())))
def test_the_range_is_covered_to_within_a_step(range_: Range, spec: QuantSpec) -> None:
    e = encoding_from_range(range_, spec)
    scale = float(e.scale)
    if min(-range_.low, range_.high, range_.high - range_.low) < 1e-30:
        return
    # Rounding the zero point moves both ends by half a step at most; float32 rounding by a trifle more.
    slack = 0.5 * scale * (1 + 1e-4) + 1e-6 * range_.abs_max
    assert float(e.low) <= min(range_.low, 0.0) + slack
    assert float(e.high) >= max(range_.high, 0.0) - slack


@given(RANGES, st.sampled_from(list(SPECS.values())), st.integers(0, 10_000))
def test_inside_the_range_nothing_moves_by_more_than_half_a_step(
    range_: Range, spec: QuantSpec, seed: int
) -> None:
    e = encoding_from_range(range_, spec)
    x = np.random.default_rng(seed).uniform(float(e.low), float(e.high), 50).astype(np.float32)
    moved = np.abs(fake_quantize(x, e).astype(np.float64) - x)
    assert np.all(moved <= 0.5 * float(e.scale) * (1 + 1e-3) + 1e-6 * np.abs(x))


@given(RANGES, st.sampled_from(list(SPECS.values())), st.integers(0, 10_000))
def test_quantizing_twice_changes_nothing(range_: Range, spec: QuantSpec, seed: int) -> None:
    e = encoding_from_range(range_, spec)
    x = np.random.default_rng(seed).uniform(2 * float(e.low), 2 * float(e.high), 50).astype(np.float32)
    once = quantize_values(x, e)
    np.testing.assert_array_equal(quantize_values(dequantize(once, e), e), once)
    assert once.min() >= e.qmin
    assert once.max() <= e.qmax


def test_known_encodings() -> None:
    symmetric = encoding_from_range(Range(-1.0, 2.54), QuantSpec(type=INT8, symmetric=True))
    assert (float(symmetric.scale), int(symmetric.zero_point)) == (np.float32(0.02), 0)
    assert float(symmetric.low) == pytest.approx(-2.56)
    narrow = encoding_from_range(Range(-2.54, 1.0), QuantSpec(type=INT8, symmetric=True, narrow_range=True))
    assert (narrow.qmin, float(narrow.low)) == (-127, pytest.approx(-2.54))
    asymmetric = encoding_from_range(Range(-1.0, 1.55), QuantSpec(type=UINT8, symmetric=False))
    assert (float(asymmetric.scale), int(asymmetric.zero_point)) == (np.float32(0.01), 100)
    one_sided = encoding_from_range(Range(0.0, 5.1), QuantSpec(type=UINT8, symmetric=True))
    assert (float(one_sided.scale), int(one_sided.zero_point)) == (np.float32(0.02), 0)
    middle = encoding_from_range(Range(-2.54, 1.0), QuantSpec(type=UINT8, symmetric=True))
    assert (float(middle.scale), int(middle.zero_point)) == (np.float32(0.02), 128)
    wide = encoding_from_range(Range(-1.0, 1.0), QuantSpec(type=INT16, symmetric=True))
    assert float(wide.scale) == np.float32(1 / 32767)
    positive = encoding_from_range(Range(3.0, 5.1), QuantSpec(type=UINT8, symmetric=False))
    assert (float(positive.scale), int(positive.zero_point)) == (np.float32(0.02), 0)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_no_width_gives_scale_1(spec: QuantSpec) -> None:
    for range_ in (Range(0.0, 0.0), Range(-1e-45, 1e-45)):
        assert encoding_from_range(range_, spec).scale == 1.0


def test_per_channel_is_each_channel_by_itself() -> None:
    rng = np.random.default_rng(2)
    low, high = -rng.random(6), rng.random(6)
    spec = QuantSpec(type=INT8, symmetric=False, axis=2)
    together = encoding_from_ranges(low, high, spec)
    x = rng.standard_normal((3, 4, 6, 2)).astype(np.float32)
    y = fake_quantize(x, together)
    for c in range(6):
        alone = encoding_from_range(Range(low[c], high[c]), QuantSpec(type=INT8, symmetric=False))
        assert (together.scale[c], together.zero_point[c]) == (alone.scale, alone.zero_point)
        np.testing.assert_array_equal(y[:, :, c], fake_quantize(x[:, :, c], alone))


@pytest.mark.parametrize("ends", [(1.0, -1.0), (np.nan, 1.0), (0.0, np.inf), (-np.inf, 0.0)])
def test_impossible_ranges_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="range"):
        Range(*ends)


@pytest.mark.parametrize("bits", [1, 17])
def test_impossible_types_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="bits"):
        QuantType(bits, True)


def test_types_know_their_limits() -> None:
    for bits in range(2, 17):
        signed, unsigned = QuantType(bits, True), QuantType(bits, False)
        assert (signed.qmin, signed.qmax) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        assert (unsigned.qmin, unsigned.qmax) == (0, 2**bits - 1)
        for type_ in (signed, unsigned):
            limits = np.iinfo(type_.dtype)
            assert limits.min <= type_.qmin < type_.qmax <= limits.max
    assert str(QuantType(4, False)) == "uint4"


def test_encodings_compare_by_content() -> None:
    spec = QuantSpec(type=INT8, symmetric=True)
    a = encoding_from_range(Range(-1, 1), spec)
    assert a == encoding_from_range(Range(-1, 1), spec)
    assert a != encoding_from_range(Range(-1, 1.5), spec)
    assert a != 3
