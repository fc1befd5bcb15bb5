"""Networks with planted faults, and everything that the cause of an error is found from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from quantscope.core.calibration import Statistics
from quantscope.core.model import Model, load_model
from quantscope.core.quantize import Encodings, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.sensitivity import Kind, Metric, Subject, metric_estimate, run_sensitivity
from quantscope.core.targets import Granularity
from quantscope.core.tuning.causes import Cause, Reason, diagnose
from tests.evaluating import list_samples
from tests.networks import NETWORKS, feeds
from tests.quantizing import Sample, statistics_of


class Planted:
    """A network of the table with changed weights, everything that a cause is found from, and its recipe."""

    def __init__(self, proto: onnx.ModelProto, items: list[Sample], recipe: Recipe | None = None) -> None:
        self.items, self.recipe = items, recipe or Recipe()
        self.model: Model = load_model(proto.SerializeToString(), name="planted")
        self.statistics: Statistics = statistics_of(self.model, items)
        self.encodings: Encodings = resolve(self.recipe, self.statistics, self.model)
        self.samples = list_samples(items)

    def layer_of(self, tensor: str) -> str:
        layer = self.model.layer_of(tensor)
        assert layer is not None
        return layer.name

    def causes(self, layer: str) -> dict[Reason, Cause]:
        found = diagnose(self.model, self.statistics, self.recipe, self.encodings, self.samples, [layer])[
            layer
        ]
        assert [c.share for c in found] == sorted((c.share for c in found), reverse=True)
        assert all(0.0 <= c.share <= 1.0 and c.layer == layer for c in found)
        return {cause.reason: cause for cause in found}

    def output_sqnr(self, recipe: Recipe) -> float:
        encodings = resolve(recipe, self.statistics, self.model)
        runs = run_sensitivity(self.model, encodings, self.samples, kinds=[Kind.ALL])
        found = metric_estimate(runs, Subject(kind=Kind.ALL), Metric.SQNR)
        assert found is not None
        return found.value


def network(name: str, **edits: Callable[[np.ndarray], np.ndarray]) -> onnx.ModelProto:
    """A network of the table with some weights replaced."""
    proto = NETWORKS[name][0]()
    for tensor in proto.graph.initializer:
        if tensor.name in edits:
            changed = edits[tensor.name](numpy_helper.to_array(tensor).copy())
            tensor.CopyFrom(numpy_helper.from_array(changed.astype(np.float32), tensor.name))
    return proto


def far_channel(bias: np.ndarray) -> np.ndarray:
    bias[3] = 400.0
    return bias


def blind_to_it(weight: np.ndarray) -> np.ndarray:
    weight[:, 3] = 0.0
    return weight


@pytest.fixture(scope="module")
def outlier() -> Planted:
    """One channel of one layer is far off, and nothing reads it: its range is wasted."""
    proto = network("residual_cnn", **{"b0.c1.b": far_channel, "b0.c2.w": blind_to_it})
    return Planted(proto, feeds("residual_cnn"))


@pytest.fixture(scope="module")
def depthwise() -> Planted:
    """Depthwise weights whose channels differ widely, with one scale for all of them."""
    spread = np.exp(np.linspace(0.0, 6.0, 24))[:, None, None, None]
    proto = network("mobile_cnn", **{"b0.depthwise.w": lambda w: w * spread / 60.0})
    return Planted(proto, feeds("mobile_cnn"), Recipe().with_default(weights=Granularity.PER_TENSOR))
