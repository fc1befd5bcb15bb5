"""The quality table's own pieces: what it makes is what it says, and the judge's figures are right."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks.quality.__main__ import Row, verdicts
from benchmarks.quality.judge import figures, latencies_ms, logits, quantized_activations
from benchmarks.quality.networks import Network, networks
from benchmarks.quality.tools import OUTPUT, Unavailable, nncf_file, tools, write_data


@pytest.fixture(scope="module")
def network() -> Network:
    whole = networks(Path("absent"))["digits_mlp"]()
    return replace(
        whole, calibration=whole.calibration[:40], held_out=whole.held_out[:200], labels=whole.labels[:200]
    )


def made(tool: str, network: Network, per_channel: bool, folder: Path) -> Path:
    write_data(network, folder)
    tools(None)[tool](network, per_channel, folder)
    return folder / OUTPUT


def weight_scales(path: Path) -> tuple[set[int], set[int]]:
    """Sizes of the scales of 8-bit weights, and types of the zero points of activations."""
    model = onnx.load(path)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    sizes, types = set(), set()
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            if constants[node.input[0]].data_type == TensorProto.INT8:
                sizes.add(math.prod(constants[node.input[1]].dims))
        elif node.op_type == "QuantizeLinear" and node.input[0] not in constants:
            types.add(constants[node.input[2]].data_type)
    return sizes, types


@pytest.mark.parametrize(
    ("tool", "per_channel"),
    [
        ("onnxruntime MinMax", True),
        ("onnxruntime MinMax", False),
        ("onnxruntime Percentile 99.9", True),
        ("QuantScope default", True),
        ("QuantScope default", False),
    ],
)
def test_files_have_the_settings_that_the_table_states(
    tool: str, per_channel: bool, network: Network, tmp_path: Path
) -> None:
    path = made(tool, network, per_channel, tmp_path)
    sizes, types = weight_scales(path)
    assert types == {TensorProto.UINT8}
    assert sizes == ({100, 10} if per_channel else {1}), sizes
    found = figures(path, network, logits(network.path, network))
    assert found.agreement > 0.9
    assert found.sqnr_db > 10
    assert found.size_bytes < network.path.stat().st_size / 2


@pytest.mark.slow
def test_calibrators_differ(network: Network, tmp_path: Path) -> None:
    answers = []
    for method in ("MinMax", "Percentile 99.9", "Entropy"):
        folder = tmp_path / method
        folder.mkdir()
        answers.append(logits(made(f"onnxruntime {method}", network, True, folder), network))
    assert not np.array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[1], answers[2])


def test_the_judge_against_figures_worked_out_by_hand(network: Network) -> None:
    reference = logits(network.path, network)
    exact = figures(network.path, network, reference)
    assert exact.agreement == 1.0
    assert math.isinf(exact.sqnr_db)
    assert exact.quantized == 0
    assert exact.top1 == pytest.approx(np.mean(reference.argmax(axis=1) == network.labels))
    shifted = figures(network.path, network, reference * np.float32(1.1))  # noise is 0.1 of 1.1 of the signal
    assert shifted.sqnr_db == pytest.approx(20 * math.log10(1.1 / 0.1), abs=0.01)
    swapped = figures(network.path, network, reference[:, ::-1])
    assert swapped.agreement == pytest.approx(
        np.mean(reference.argmax(axis=1) == 9 - reference.argmax(axis=1))
    )


def test_no_calibration_sample_is_among_those_held_out(network: Network) -> None:
    for load in networks(Path("absent")).values():
        whole = load()
        seen = {sample.tobytes() for sample in whole.calibration}
        assert len(seen) > 1
        assert len(whole.held_out) > 1
        assert not seen & {sample.tobytes() for sample in whole.held_out}, whole.name


def test_networks_beside_the_checkout(shared: Path) -> None:
    whole = networks(shared)["resnet8"]()
    assert whole.calibration.shape == (256, 3, 32, 32)
    assert whole.held_out.shape == (2000, 3, 32, 32)
    seen = {sample.tobytes() for sample in whole.calibration}
    assert not seen & {sample.tobytes() for sample in whole.held_out}
    few = replace(whole, held_out=whole.held_out[:200], labels=whole.labels[:200])
    assert np.mean(logits(few.path, few).argmax(axis=1) == few.labels) > 0.7


def test_nncf_that_is_missing_or_fails_says_why(network: Network, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="--nncf"):
        nncf_file(None, network, True, tmp_path)


def test_activations_are_counted_once_and_constants_never() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["b"]),
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["c"]),
    ]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    model = helper.make_model(helper.make_graph(nodes, "g", [], [], [weight]))
    assert quantized_activations(model) == 1


def test_every_figure_in_which_another_tool_is_better_is_said(network: Network) -> None:
    base = figures(network.path, network, 1.1 * logits(network.path, network))

    def row(tool: str, weights: str, **changes: float) -> Row:
        return Row(
            tool=tool,
            weights=weights,
            figures=replace(base, **changes),
            seconds=0.0,
            path=network.path,
            note="",
        )

    rows = [
        row("NNCF", "per channel", sqnr_db=30.0, top1=0.8),
        row("QuantScope default", "per channel", sqnr_db=40.0),
        row("QuantScope auto", "per channel", sqnr_db=29.0, top1=0.8),
        row("NNCF", "per tensor", sqnr_db=20.0),
        row("QuantScope auto", "per tensor", sqnr_db=21.0),
    ]
    assert verdicts("net", rows) == ["net, per channel: NNCF 30.00 dB, QuantScope auto 29.00"]


def test_latencies_are_of_every_file(network: Network) -> None:
    found = latencies_ms({"a": network.path, "b": network.path}, network)
    assert set(found) == {"a", "b"}
    assert all(ms > 0 for ms in found.values())
