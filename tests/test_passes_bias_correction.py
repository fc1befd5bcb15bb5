"""Bias correction: mean errors of every layer vanish, whatever holds its bias, and outputs come closer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from quantscope.core.data import Samples, open_samples
from quantscope.core.model import Model, load_model
from quantscope.core.passes import with_bias_shifts
from quantscope.core.passes.bias_correction import correct_biases
from quantscope.core.passes.segments import Segments
from quantscope.core.quantize import Encodings, quantize_ir, quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Granularity
from quantscope.core.thresholds import WeightMethod
from tests.networks import NETWORKS, Net, feeds
from tests.quantizing import network, run, sqnr, statistics_of
from tests.sessions import options
from tests.sessions import session as open_session

PER_TENSOR = Recipe().with_default(weights=Granularity.PER_TENSOR)


def samples_of(model: Model, folder: Path, runs: list[dict[str, np.ndarray]], name: str = "data") -> Samples:
    """Seeded inputs as a user's file."""
    path = folder / f"{name}.npz"
    np.savez(path, **{k: np.concatenate([r[k] for r in runs]) for k in runs[0]})
    return open_samples(path, model)


def shifted_net(bias: bool = True) -> Model:
    """Two convolutions; the small weights of the first all round to 0 beside one large one."""
    n = Net(3)
    w = n.rng.uniform(0.1, 0.4, (4, 3, 3, 3)).astype(np.float32) * 1e-2
    w[0, 0, 0, 0] = 3.0
    given = ["image", n.const("w", w)] + ([n.const("b", np.zeros(4))] if bias else [])
    x = n.add("Relu", [n.add("Conv", given, "first", kernel_shape=[3, 3])], "first_relu")
    n.conv(x, "second", 4, 5)
    model = n.model({"image": ["N", 3, 12, 12]}, {"second": ["N", 5, 10, 10]})
    return load_model(model.SerializeToString(), name="shifted")


def channel_errors(model: Model, quantized: onnx.ModelProto, runs: list[dict[str, np.ndarray]]) -> np.ndarray:
    """|Mean error| of the first output by channel (axis 1), in units of its standard deviation."""
    f, q = np.concatenate(run(model.proto(), runs)), np.concatenate(run(quantized, runs))
    axes = (0, *range(2, f.ndim))
    return np.abs((f - q).mean(axis=axes)) / f.std()


@pytest.mark.parametrize("bias", [True, False])
def test_a_planted_mean_shift_is_removed(bias: bool, tmp_path: Path) -> None:
    model = shifted_net(bias)
    rng = np.random.default_rng(5)
    runs = [{"image": rng.uniform(0.5, 1.5, (1, 3, 12, 12)).astype(np.float32)} for _ in range(24)]
    encodings = resolve(PER_TENSOR, statistics_of(model, runs), model)
    fixed = correct_biases(model, encodings, samples_of(model, tmp_path, runs))
    plain, better = quantize_model(model, encodings), quantize_model(model, fixed.encodings)
    onnx.checker.check_model(better, full_check=True)
    fresh = [{"image": rng.uniform(0.5, 1.5, (1, 3, 12, 12)).astype(np.float32)} for _ in range(24)]
    assert channel_errors(model, plain, fresh).max() > 0.03
    assert channel_errors(model, better, fresh).max() < 0.003
    floats = run(model.proto(), fresh)
    assert sqnr(floats, run(better, fresh)) > sqnr(floats, run(plain, fresh)) + 6
    assert [layer.layer for layer in fixed.layers] == ["first_Conv", "second_Conv"]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_corrected_and_gets_no_worse(name: str, tmp_path: Path) -> None:
    model, runs = network(name), feeds(name, 16)
    encodings = resolve(PER_TENSOR, statistics_of(model, runs), model)
    fixed = correct_biases(model, encodings, samples_of(model, tmp_path, runs))
    plain, better = quantize_model(model, encodings), quantize_model(model, fixed.encodings)
    onnx.checker.check_model(better, full_check=True)
    floats, fresh = run(model.proto(), feeds(name, 16, seed=9)), feeds(name, 16, seed=9)
    assert sqnr(floats, run(better, fresh)) > sqnr(floats, run(plain, fresh)) - 0.3
    assert {layer.layer for layer in fixed.layers} | set(fixed.left_out) == {
        place.layer for place in encodings.placement.weights.values()
    }


def test_a_bias_behind_a_matmul_is_shifted_where_it_is_added(tmp_path: Path) -> None:
    n = Net(1)
    w = n.rng.uniform(0.0, 0.01, (6, 4)).astype(np.float32)
    w[0, 0] = 4.0
    x = n.add("MatMul", ["x", n.const("w", w)], "product")
    n.add("Add", [x, n.const("b", [0.5, -0.5, 0.25, 1.0])], "y")
    model = load_model(n.model({"x": ["N", 5, 6]}, {"y": ["N", 5, 4]}).SerializeToString(), name="mm")
    rng = np.random.default_rng(0)
    runs = [{"x": rng.uniform(1, 2, (1, 5, 6)).astype(np.float32)} for _ in range(20)]
    encodings = resolve(PER_TENSOR, statistics_of(model, runs), model)
    fixed = correct_biases(model, encodings, samples_of(model, tmp_path, runs))
    assert set(fixed.encodings.bias_shifts) == {"y_Add"}
    plain, better = quantize_model(model, encodings), quantize_model(model, fixed.encodings)

    def errors(proto: onnx.ModelProto) -> np.ndarray:
        f, q = np.concatenate(run(model.proto(), runs)), np.concatenate(run(proto, runs))
        return np.abs((f - q).mean(axis=(0, 1)))

    rounding = float(fixed.encodings.constants["b"].scale + encodings.activations["y"].scale) / 2
    assert errors(plain).max() > 2 * rounding
    assert errors(better).max() < rounding


@pytest.mark.parametrize("dead", [False, True])
def test_what_rounding_a_bias_itself_does_is_not_doubled(dead: bool, tmp_path: Path) -> None:
    n = Net(0)
    if dead:  # reads zeros, so that the scale of its input, and of its bias, is a stand-in
        n.add("Conv", ["image", n.const("w", np.zeros((8, 3, 3, 3))), n.const("b", np.zeros(8))], "a")
        n.conv(n.add("Relu", ["a"], "a_relu"), "y", 8, 6)
    else:  # steps of the constant are far coarser than what else is off
        weight, bias = n.random("w", 3, 6, scale=0.05), n.random("b", 6, scale=3.0)
        last = n.add("Transpose", ["image"], "last", perm=[0, 2, 3, 1])
        n.add("Add", [n.add("MatMul", [last, weight], "product"), bias], "y")
    shape: list[object] = ["N", 6, 6, 6] if dead else ["N", 8, 8, 6]
    model = load_model(n.model({"image": ["N", 3, 8, 8]}, {"y": shape}).SerializeToString())
    rng = np.random.default_rng(1)
    items = [{"image": rng.standard_normal((1, 3, 8, 8)).astype(np.float32)} for _ in range(16)]
    encodings = resolve(Recipe(), statistics_of(model, items), model)
    found = correct_biases(model, encodings, samples_of(model, tmp_path, items))
    floats = run(model.proto(), items)
    before, after = (
        np.concatenate(run(quantize_model(model, e), items)) - np.concatenate(floats)
        for e in (encodings, found.encodings)
    )
    axes = (0, 2, 3) if dead else (0, 1, 2)
    assert np.abs(after.mean(axis=axes)).mean() <= np.abs(before.mean(axis=axes)).mean()


def test_the_order_of_the_samples_does_not_matter(tmp_path: Path) -> None:
    model, runs = network("mobile_cnn"), feeds("mobile_cnn", 12)
    encodings = resolve(PER_TENSOR, statistics_of(model, runs), model)
    one = correct_biases(model, encodings, samples_of(model, tmp_path, runs), count=7, threads=1)
    other = correct_biases(model, encodings, samples_of(model, tmp_path, runs[::-1], "back"), count=7)
    assert one.encodings.bias_shifts.keys() == other.encodings.bias_shifts.keys()
    for node, shift in one.encodings.bias_shifts.items():
        np.testing.assert_array_equal(shift, other.encodings.bias_shifts[node])


def test_shifts_belong_to_one_set_of_encodings(tmp_path: Path) -> None:
    model, runs = network("residual_cnn"), feeds("residual_cnn")
    statistics = statistics_of(model, runs)
    encodings = resolve(PER_TENSOR, statistics, model)
    fixed = correct_biases(model, encodings, samples_of(model, tmp_path, runs)).encodings
    other = PER_TENSOR.with_default(weight_method=WeightMethod.MSE)
    again = resolve(other, statistics, model, previous=fixed)
    assert fixed.bias_shifts
    assert not again.bias_shifts
    assert not resolve(PER_TENSOR, statistics, model, previous=fixed).bias_shifts


def test_room_is_made_for_a_shift_that_would_overflow() -> None:
    model, runs = network("residual_cnn"), feeds("residual_cnn")
    encodings = resolve(Recipe(), statistics_of(model, runs), model)
    node = next(iter(encodings.placement.weights))
    shift = np.full(8, 1e9, np.float32)
    moved = with_bias_shifts(model, encodings, {node: shift})
    quantize_model(model, moved)  # raises OverflowError where the int32 bias does not fit
    with pytest.raises(OverflowError):
        quantize_model(model, replace(encodings, bias_shifts={node: shift}))


def whole(model: ir.Model, tensors: list[str], sample: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Tensors of an undivided run without optimizations."""
    proto = ir.to_proto(model)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    session = open_session(proto, options(plain=True))
    return session.run(tensors, sample)


@pytest.mark.parametrize("name", NETWORKS)
def test_pieces_give_what_the_whole_gives(name: str) -> None:
    model, runs = network(name), feeds(name, 2)
    encodings: Encodings = resolve(Recipe(), statistics_of(model, runs), model)
    cut_nodes = set(encodings.placement.weights)
    quantized = quantize_ir(model, encodings)
    cuts = [str(n.outputs[0].name) for n in quantized.graph if str(n.name) in cut_nodes]
    pieces = Segments(quantized, cuts, runs, threads=1)
    expected = [whole(quantized, cuts, sample) for sample in runs]
    assert cuts
    assert len(runs) == 2
    seen = []
    for k, cut in enumerate(pieces):
        seen.append(cut)
        for held, values in zip(pieces.values, expected, strict=True):
            # Integer kernels may round ties the other way: at most a step or two of a tensor before it.
            scale = max(float(np.abs(values[k]).max()), 1e-6)
            assert np.abs(held[cut] - values[k]).max() < 0.05 * scale
    assert seen == cuts
    assert all(set(held) <= {cuts[-1], *runs[0]} for held in pieces.values)
