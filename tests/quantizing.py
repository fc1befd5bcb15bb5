"""Short ways from a network to its quantized outputs, for tests."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx

from quantscope.core.calibration import Accumulator, Statistics
from quantscope.core.model import Model, load_model
from quantscope.core.quantize import Encodings, quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.core.targets import activation_tensors
from quantscope.core.thresholds import Method
from tests.networks import NETWORKS
from tests.sessions import options
from tests.sessions import session as open_session

Sample = dict[str, np.ndarray]
MINMAX = Recipe().with_default(method=Method.MINMAX)


def network(name: str) -> Model:
    """A network of the table, loaded."""
    return load_model(NETWORKS[name][0]().SerializeToString(), name=name)


def run(model: onnx.ModelProto, samples: list[Sample], *, plain: bool = False) -> list[np.ndarray]:
    """First output for each sample; `plain` turns every graph optimization off."""
    session = open_session(model, options(plain=plain))
    return [session.run(None, sample)[0] for sample in samples]


def statistics_of(model: Model, samples: list[Sample]) -> Statistics:
    """Histograms by a plain loop over onnxruntime with every tensor exposed."""
    names = activation_tensors(model)
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto())
    inputs = {i.name for i in proto.graph.input}
    exposed = [n for n in names if n not in inputs]
    known = {o.name for o in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in exposed if n not in known)
    session = open_session(proto)
    accumulators = {n: Accumulator() for n in names}
    for index, sample in enumerate(samples):
        for name, values in zip(exposed, session.run(exposed, sample), strict=True):
            accumulators[name].add(values, index)
        for name in set(names) & set(sample):
            accumulators[name].add(sample[name], index)
    return Statistics(
        histograms={n: a.histogram() for n, a in accumulators.items()},
        samples=len(samples),
        model_hash=model.hash,
        data_fingerprint="test",
        synthetic=True,
        data_source="seeded",
    )


def quantized(
    model: Model, samples: list[Sample], recipe: Recipe | None = None
) -> tuple[onnx.ModelProto, Encodings]:
    """The checked quantized model, and the encodings in it."""
    encodings = resolve(recipe or Recipe(), statistics_of(model, samples), model)
    proto = quantize_model(model, encodings)
    onnx.checker.check_model(proto, full_check=True)
    return proto, encodings


def sqnr(floats: list[np.ndarray], others: list[np.ndarray]) -> float:
    """Signal to quantization noise over all samples, dB."""
    f = np.concatenate([x.ravel() for x in floats]).astype(np.float64)
    q = np.concatenate([x.ravel() for x in others]).astype(np.float64)
    return float(10 * np.log10((f**2).sum() / ((f - q) ** 2).sum()))


def executed(model: onnx.ModelProto, folder: Path) -> Counter[str]:
    """Operators that onnxruntime's CPU provider executes after its own fusions."""
    settings = options(exact=False)  # whose arithmetic is of no matter here
    settings.optimized_model_filepath = str(folder / "optimized.onnx")
    open_session(model, settings)
    return Counter(n.op_type for n in onnx.load(folder / "optimized.onnx").graph.node)


def initializer(model: onnx.ModelProto, name: str) -> np.ndarray:
    """A stored constant by name."""
    return next(onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == name)
