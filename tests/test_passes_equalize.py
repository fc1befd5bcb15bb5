"""Equalization: outputs stay what they were, planted unevenness goes, and the noise model is sound."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from quantscope.core.data import open_samples
from quantscope.core.model import Model, load_model
from quantscope.core.model.loading import graph_hash
from quantscope.core.passes.absorb import absorb_biases
from quantscope.core.passes.equalize import clip_bounds, equalize, rescaled
from quantscope.core.passes.following import find_channels
from quantscope.core.passes.gains import noise_gains
from quantscope.core.passes.noise import noise_model
from quantscope.core.passes.observe import Observed, observe
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Granularity, find_placement, target
from quantscope.sample_data import SAMPLES
from tests.networks import NETWORKS, Net, feeds
from tests.quantizing import network, run, sqnr, statistics_of
from tests.test_passes_bias_correction import samples_of

PER_TENSOR = Recipe().with_default(weights=Granularity.PER_TENSOR)
IMAGE = {"image": ["N", 4, 8, 8]}


def loaded(n: Net, outputs: dict[str, list[object]], inputs: dict[str, list[object]] = IMAGE) -> Model:
    return load_model(n.model(inputs, outputs).SerializeToString(), name="net")


def images(count: int = 8, seed: int = 1) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"image": rng.standard_normal((1, 4, 8, 8)).astype(np.float32)} for _ in range(count)]


def uneven(model: Model, size: float = 2.0) -> Model:
    """The same function with weights that need one another's scales."""
    channels = find_channels(model.ir.graph)
    logs = np.random.default_rng(11).normal(0, size, channels.count)
    return rescaled(model, channels, np.exp(np.where(channels.fixed, 0.0, logs)))


def chain() -> Model:
    """Pointwise, depthwise, pointwise."""
    n = Net(7)
    x = n.add("Relu", [n.conv("image", "a", 4, 16, k=1)], "a_relu")
    x = n.add("Relu", [n.conv(x, "b", 16, 16, group=16)], "b_relu")
    n.conv(x, "c", 16, 6, k=1)
    return loaded(n, {"c": ["N", 6, 8, 8]})


def fire() -> Model:
    """Two branches of a concatenation, split again, pooled, flattened into a Gemm."""
    n = Net(8)
    x = n.add("LeakyRelu", [n.conv("image", "s", 4, 6, k=1)], "s_act", alpha=0.2)
    p = n.add("Relu", [n.conv(x, "l", 6, 5, k=1)], "l_relu")
    q = n.add("Relu", [n.conv(x, "r", 6, 7)], "r_relu")
    c = n.add("Concat", [p, q], "joined", axis=1)
    c = n.add("PRelu", [n.conv(c, "m", 12, 8, k=1), n.const("slope", np.full((8, 1, 1), 0.1))], "m_act")
    c = n.add("MaxPool", [c], "pooled", kernel_shape=[2, 2], strides=[2, 2])
    c = n.add("Flatten", [n.add("Mul", [c, n.const("half", 0.5)], "halved")], "flat")
    w = n.random("fc.w", 128, 10)
    n.add("Gemm", [c, w, n.random("fc.b", 10)], "logits")
    return loaded(n, {"logits": ["N", 10]})


def odd() -> Model:
    """Things that scales must not cross, or cross only in part."""
    n = Net(9)
    x = n.conv("image", "a", 4, 8, k=1)
    sizes = n.const("sizes", [3, 5], np.int64)
    n.nodes.append(onnx.helper.make_node("Split", [x, sizes], ["u", "v"], name="split", axis=1))
    gate = n.add("Sigmoid", [n.conv("u", "g", 3, 5, k=1)], "gate")
    y = n.add("Mul", ["v", gate], "gated")
    y = n.add("Add", [n.conv(y, "b", 5, 5), y], "sum")
    y = n.add("Sub", [y, n.const("offset", n.rng.standard_normal((5, 1, 1)))], "moved")
    y = n.add("ConvTranspose", [y, n.random("t.w", 5, 3, 2, 2)], "t", strides=[2, 2], kernel_shape=[2, 2])
    y = n.add("Tanh", [n.add("Transpose", [y], "turned", perm=[0, 2, 3, 1])], "tanh")
    y = n.add("MatMul", [y, n.random("mm.w", 3, 7)], "mm")
    y = n.add("Abs", [n.add("Add", [y, n.const("mm.b", n.rng.standard_normal(7))], "biased")], "abs")
    n.add("MatMul", [y, n.random("last.w", 7, 2)], "last")
    return loaded(n, {"last": ["N", 16, 16, 2], "biased": ["N", 16, 16, 7]})


@pytest.mark.parametrize("build", [chain, fire, odd])
@pytest.mark.parametrize("granularity", Granularity)
def test_any_scales_leave_the_outputs_alone(build: Callable[[], Model], granularity: Granularity) -> None:
    model = build()
    channels = find_channels(model.ir.graph)
    assert (~channels.fixed).sum() > 0
    scales = np.exp(np.random.default_rng(3).normal(0, 2, channels.count))
    scales[channels.fixed] = 1.0
    changed = rescaled(model, channels, scales)
    assert changed.hash != model.hash
    for one, other in zip(run(model.proto(), images()), run(changed.proto(), images()), strict=True):
        np.testing.assert_allclose(other, one, atol=2e-4 * np.abs(one).max())


def divisor(n: Net, x: str) -> tuple[str, list[object]]:
    return n.add("Div", [n.add("Sigmoid", ["image"], "open"), x], "z"), ["N", 4, 8, 8]


def places(n: Net, x: str) -> tuple[str, list[object]]:
    return n.conv(n.add("Add", [x, n.random("places", 1, 4, 8, 8)], "placed"), "z", 4, 2), ["N", 2, 8, 8]


def rows(n: Net, x: str) -> tuple[str, list[object]]:
    return n.add("MatMul", [x, n.random("across", 8, 3)], "z"), ["N", 4, 8, 3]


@pytest.mark.parametrize("end", [divisor, places, rows])
@pytest.mark.parametrize("granularity", Granularity)
def test_what_is_no_plain_channel_at_the_end(
    end: Callable[[Net, str], tuple[str, list[object]]], granularity: Granularity, tmp_path: Path
) -> None:
    n = Net(6)
    x = n.add("Relu", [n.conv("image", "a", 4, 8)], "a_relu")
    x = n.conv(x, "b", 8, 4)
    x = x if end is places else n.add("Relu", [x], "b_relu")
    if end is divisor:
        x = n.add("Add", [x, n.const("one", np.ones((1, 1, 1, 1)))], "above")
    name, shape = end(n, x)
    model = uneven(loaded(n, {name: shape}))
    found = equalize(model, samples_of(model, tmp_path, images()), Recipe().with_default(weights=granularity))
    assert {layer.layer for layer in found.layers} >= {"a_Conv"}
    for one, other in zip(run(model.proto(), images()), run(found.model.proto(), images()), strict=True):
        np.testing.assert_allclose(other, one, atol=2e-4 * np.abs(one).max())


def test_what_may_be_scaled_is_found() -> None:
    counts = {}
    for build in (chain, fire, odd):
        channels = find_channels(build().ir.graph)
        counts[build.__name__] = int((~channels.fixed).sum())
    # odd: v's 5 channels, tied to b's; t's go through Tanh; mm's leave the network.
    assert counts == {"chain": 32, "fire": 6 + 12 + 8, "odd": 3 + 5}


@pytest.mark.parametrize("build", [chain, fire])
def test_uneven_channels_are_made_even(build: Callable[[], Model], tmp_path: Path) -> None:
    even = build()
    model = uneven(even)
    runs, fresh = images(24), images(24, seed=2)
    found = equalize(model, samples_of(model, tmp_path, runs), PER_TENSOR)
    floats = run(model.proto(), fresh)

    def quality(m: Model) -> float:
        return sqnr(floats, run(quantize_model(m, resolve(PER_TENSOR, statistics_of(m, runs), m)), fresh))

    assert quality(found.model) > quality(model) + 10
    assert quality(found.model) > quality(even) - 1
    assert found.noise_db[1] > found.noise_db[0] + 10
    same = equalize(even, samples_of(even, tmp_path, runs), PER_TENSOR)
    assert abs(found.noise_db[1] - same.noise_db[1]) < 0.01  # the best there is, wherever it starts
    assert found.difference.sqnr_db > 80
    assert np.median([layer.after / layer.before for layer in found.layers]) < 0.5


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("granularity", Granularity)
def test_networks_keep_their_outputs(name: str, granularity: Granularity, tmp_path: Path) -> None:
    model, runs = network(name), feeds(name, 12)
    found = equalize(model, samples_of(model, tmp_path, runs), Recipe().with_default(weights=granularity))
    for one, other in zip(run(model.proto(), runs), run(found.model.proto(), runs), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-4 * np.abs(one).max())
    assert [layer.name for layer in found.model.layers] == [layer.name for layer in model.layers]
    assert found.noise_db[1] >= found.noise_db[0]
    assert found.difference.largest <= 1e-4 * max(np.abs(one).max() for one in run(model.proto(), runs))
    assert graph_hash(model.ir) == model.hash


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_models_keep_their_outputs(name: str) -> None:
    model = load_model(SAMPLES[name].model)
    samples = open_samples(SAMPLES[name].calibration, model).take(24)
    found = equalize(model, samples, PER_TENSOR)
    assert found.difference.sqnr_db > 80


def test_clips_cut_off_what_they_did() -> None:
    model, runs = network("mobile_cnn"), feeds("mobile_cnn", 20)
    channels = find_channels(model.ir.graph)
    seen = observe_list(model, {clip.tensor: 1 for clip in channels.clips}, runs)
    low, high = clip_bounds(channels, seen)
    rng = np.random.default_rng(0)
    assert len(channels.clips) == 5
    for _ in range(3):  # any scales within the bounds
        logs = rng.uniform(np.log(low), np.minimum(np.log(high), np.log(low) + 3))
        changed = rescaled(model, channels, np.exp(logs))
        for one, other in zip(run(model.proto(), runs), run(changed.proto(), runs), strict=True):
            np.testing.assert_allclose(other, one, atol=1e-4 * np.abs(one).max())
    hit = np.concatenate([seen[c.tensor].high > c.upper for c in channels.clips])
    assert 0 < hit.sum() < hit.size


def observe_list(
    model: Model, axes: dict[str, int], runs: list[dict[str, np.ndarray]]
) -> dict[str, Observed]:
    with tempfile.TemporaryDirectory() as folder:
        return observe(model, axes, samples_of(model, Path(folder), runs))


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_noise_models_gradient(per_channel: bool) -> None:
    model = chain()
    channels = find_channels(model.ir.graph)
    axes = dict.fromkeys(model.tensors, 1)
    seen = observe_list(model, axes, images())
    placement = find_placement(model, target("onnxruntime-cpu"))
    noise = noise_model(
        channels,
        seen,
        noise_gains(model.ir.graph, channels, seen),
        dict.fromkeys(channels.linears, per_channel),
        frozenset(placement.tensors),
    )
    rng = np.random.default_rng(1)
    at = rng.normal(0, 1, channels.count)
    value, gradient = noise.noise(at)
    assert value > 0
    for _ in range(5):
        along = rng.normal(0, 1, channels.count)
        slope = (noise.noise(at + 1e-4 * along)[0] - noise.noise(at - 1e-4 * along)[0]) / 2e-4
        np.testing.assert_allclose(gradient @ along, slope, rtol=1e-3, atol=1e-6 * value)
        middle, ends = noise.noise(at + along)[0], (value, noise.noise(at + 2 * along)[0])
        assert middle <= (ends[0] + ends[1]) / 2 * (1 + 1e-6)  # convex


def test_the_least_noise_is_not_beaten_by_chance() -> None:
    model = chain()
    channels = find_channels(model.ir.graph)
    seen = observe_list(model, dict.fromkeys(model.tensors, 1), images())
    gains = noise_gains(model.ir.graph, channels, seen)
    flags = dict.fromkeys(channels.linears, False)
    noise = noise_model(channels, seen, gains, flags, frozenset(model.tensors))
    free = np.where(channels.fixed, 0.0, 6.0)
    best = noise.least(-free, free)
    least = noise.noise(best)[0]
    rng = np.random.default_rng(5)
    for size in (0.01, 0.1, 1.0):
        for _ in range(20):
            near = np.clip(best + rng.normal(0, size, best.shape), -free, free)
            assert noise.noise(near)[0] > least * (1 - 2e-3)


def test_the_order_of_the_samples_does_not_matter(tmp_path: Path) -> None:
    model, runs = network("residual_cnn"), feeds("residual_cnn", 9)
    one = equalize(model, samples_of(model, tmp_path, runs), PER_TENSOR, threads=1)
    other = equalize(model, samples_of(model, tmp_path, runs[::-1], "back"), PER_TENSOR)
    assert one.model.hash == other.model.hash


@pytest.mark.parametrize("reader", ["Conv", "Gemm"])
def test_a_high_bias_is_absorbed(reader: str, tmp_path: Path) -> None:
    n = Net(4)
    w = n.random("a.w", 8, 4, 1, 1)
    bias = np.zeros(8)
    bias[2] = 200.0  # its Relu never does anything
    x = n.add("Relu", [n.add("Conv", ["image", w, n.const("a.b", bias)], "a", kernel_shape=[1, 1])], "r")
    if reader == "Conv":
        n.add("Conv", [x, n.random("b.w", 6, 8, 3, 3)], "y", kernel_shape=[3, 3])
        model = loaded(n, {"y": ["N", 6, 6, 6]})
    else:
        n = Net(4)
        x = n.add("Relu", [n.add("Gemm", ["image", n.random("a.w", 4, 8), n.const("a.b", bias)], "a")], "r")
        n.add("Gemm", [x, n.random("b.w", 6, 8), n.random("b.b", 6)], "y", transB=1, alpha=0.5, beta=2.0)
        model = loaded(n, {"y": ["N", 6]}, {"image": ["N", 4]})
    rng = np.random.default_rng(0)
    shape = (1, 4, 8, 8) if reader == "Conv" else (1, 4)
    runs = [{"image": rng.standard_normal(shape).astype(np.float32)} for _ in range(32)]
    changed, layers = absorb_biases(model, samples_of(model, tmp_path, runs))
    assert layers == ("a_Conv" if reader == "Conv" else "a_Gemm",)
    for one, other in zip(run(model.proto(), runs), run(changed.proto(), runs), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-3)
    before, after = (statistics_of(m, runs).histograms["r"].max for m in (model, changed))
    assert before > 190
    assert after < 20


def test_absorption_stops_where_zeros_are_padded(tmp_path: Path) -> None:
    n = Net(4)
    bias = np.full(8, 50.0)
    w = n.random("a.w", 8, 4, 1, 1)
    x = n.add("Relu", [n.add("Conv", ["image", w, n.const("a.b", bias)], "a", kernel_shape=[1, 1])], "r")
    n.conv(x, "y", 8, 6)
    model = loaded(n, {"y": ["N", 6, 8, 8]})
    changed, layers = absorb_biases(model, samples_of(model, tmp_path, images()))
    assert not layers
    assert changed is model
