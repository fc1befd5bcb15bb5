"""Weight rounding by measured inputs: integers that keep each layer's output, not its weights, closest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import data_rows
from quantscope.core.data import Picked, Sample, Samples, pick
from quantscope.core.model import Model, float_session
from quantscope.core.passes.gptq import IntegerGrid, damped, round_weights, row_errors
from quantscope.core.passes.patches import Product, product
from quantscope.core.progress import ProgressFn, report
from quantscope.core.quant import Encoding
from quantscope.core.quantize import Encodings, adds_pairs, partners
from quantscope.core.runtime import pairs_are_neighbours, parallel_map, thread_count
from quantscope.core.targets import WeightPlacement

SAMPLES = 64
DAMPING = 0.01  # of the mean energy of a layer's inputs
MAX_COLUMNS = 3072  # weights an output; the work grows with the cube, memory with the square
ROWS = 4  # positions looked at in all samples, for each column
MIN_ROWS = 4096  # at least so many, where there are
GROUP_BYTES = 1 << 28  # of Gram matrices held at the same time
LABEL = "rounding weights"

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRounding:
    """Error of one layer's output that rounding its weights makes, summed over the positions looked at."""

    layer: str
    nearest: float  # with every weight rounded to the nearest integer
    rounded: float  # with the integers found


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """Encodings with integers for weights."""

    encodings: Encodings
    layers: tuple[LayerRounding, ...]  # in the order of the network
    left_out: Mapping[str, str]  # layer → why its weights are rounded to nearest
    samples: int


def round_to_outputs(
    model: Model,
    encodings: Encodings,
    samples: Samples,
    *,
    count: int = SAMPLES,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> Rounding:
    """Choose the integers of every weight by the least squared error of the layer's output.

    For inputs X as the float model has them, ‖W X - Wq X‖² = δ H δᵀ with H = X Xᵀ is lowered for each output
    on its own, at the scales that the encodings have (see `core.passes.gptq`). It is never larger than with
    weights rounded to nearest. Gram matrices are summed while the samples stream by.

    Args:
        model: The float model.
        encodings: As `resolve` gives them; integers in them are replaced.
        samples: Calibration samples; up to `count`, chosen by content, are used.
        count: Most samples to use.
        threads: Samples run at the same time; None = one a processor.
        progress: Told after each layer; may raise `Cancelled`.

    Raises:
        DataError: There are no samples, or they do not fit the model.
    """
    jobs, left_out = _jobs(model, encodings)
    integers: dict[str, npt.NDArray[np.integer]] = {}
    layers: dict[str, LayerRounding] = {}
    picked = pick(samples, count) if jobs else None
    for group in _jobs_in_memory(jobs):
        assert picked is not None
        grams = _grams(model, {n: jobs[n] for n in group}, picked, thread_count(threads))
        for name in group:
            integers[name], layers[name] = _rounded_weight(jobs[name], grams.pop(name))
            report(progress, len(layers), len(jobs), LABEL)
    return Rounding(
        encodings=replace(encodings, integers=integers),
        layers=tuple(layers[name] for name in jobs),
        left_out=left_out,
        samples=len(picked.runs) if picked is not None else 0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A weight to round."""

    place: WeightPlacement
    product: Product
    weight: npt.NDArray[np.float32]
    encoding: Encoding
    partner: npt.NDArray[np.int64] | None  # of each column, where their sums must fit (quantize.saturation)

    @property
    def gram_bytes(self) -> int:
        return 8 * self.product.linear.groups * self.product.columns**2


def _jobs(model: Model, encodings: Encodings) -> tuple[dict[str, _Job], dict[str, str]]:
    jobs: dict[str, _Job] = {}
    left_out: dict[str, str] = {}
    for node in model.ir.graph:
        name = str(node.name)
        place = encodings.placement.weights.get(name)
        if place is None:
            continue
        found = product(node) if place.operand == 1 else None
        bounded = adds_pairs(encodings.placement.target, encodings.activations.get(place.input))
        if found is None:
            left_out[place.layer] = "its weight does not meet its input as in one product"
        elif found.columns > MAX_COLUMNS:
            left_out[place.layer] = f"each output has {found.columns:,} weights, more than {MAX_COLUMNS:,}"
        elif bounded and not pairs_are_neighbours():
            left_out[place.layer] = "which products its kernel adds first is not known"
        else:
            value = model.ir.graph.initializers[place.initializer].const_value
            assert value is not None
            jobs[name] = _Job(
                place=place,
                product=found,
                weight=np.asarray(value.numpy(), np.float32),
                encoding=encodings.weights[name],
                partner=_partner(found) if bounded else None,
            )
    return jobs, left_out


def _partner(product_: Product) -> npt.NDArray[np.int64] | None:
    """For each column that of the weight which the kernel adds with it; None where it adds none first."""
    weight = product_.linear.weight
    found = partners(weight.shape, product_.linear.node, 1)
    if found is None:
        return None
    numbers = np.arange(weight.size, dtype=np.int64).reshape(weight.shape)
    columns = product_.matrix(numbers)[0, 0]  # alike for all outputs
    column_of = {int(number): column for column, number in enumerate(columns)}
    return np.array([column_of.get(int(number), -1) for number in found[columns]], np.int64)


def _jobs_in_memory(jobs: Mapping[str, _Job]) -> Iterator[list[str]]:
    """Jobs whose Gram matrices are held, and summed in one pass over the samples, together."""
    group: list[str] = []
    total = 0
    for name, job in jobs.items():
        if group and total + job.gram_bytes > GROUP_BYTES:
            yield group
            group, total = [], 0
        group.append(name)
        total += job.gram_bytes
    if group:
        yield group


def _grams(model: Model, jobs: Mapping[str, _Job], picked: Picked, threads: int) -> dict[str, Float64]:
    """H = Σ x xᵀ over rows x of each job's input, (groups, K, K), of an average row."""
    inputs = {v.name for v in model.ir.graph.inputs}
    tensors = list(dict.fromkeys(job.place.input for job in jobs.values() if job.place.input not in inputs))
    session = float_session(model, tensors) if tensors else None
    most = {
        name: -(-max(ROWS * job.product.columns, MIN_ROWS) // len(picked.runs)) for name, job in jobs.items()
    }

    def work(item: tuple[Sample, int]) -> dict[str, tuple[npt.NDArray[np.float32], int]]:
        sample, valid = item
        values = dict(session.values(sample)) if session is not None else {}
        found = {}
        for name, job in jobs.items():
            given = values[job.place.input] if job.place.input in values else sample[job.place.input]
            rows = job.product.rows(data_rows(given, picked.batch, valid), most[name])
            found[name] = rows.swapaxes(1, 2) @ rows, rows.shape[1]
        return found

    grams: dict[str, Float64] = {}
    counts = dict.fromkeys(jobs, 0)
    items = list(zip(picked.runs, picked.valid, strict=True))
    for found in parallel_map(work, items, total=len(items), threads=threads):
        for name, (gram, rows) in found.items():
            grams[name] = grams[name] + gram if name in grams else gram.astype(np.float64)
            counts[name] += rows
    for name, total in grams.items():
        total /= max(counts[name], 1)
    return grams


def _rounded_weight(job: _Job, gram: Float64) -> tuple[npt.NDArray[np.integer], LayerRounding]:
    encoding = job.encoding
    weight = job.product.matrix(job.weight).astype(np.float64)

    def of_rows(values: npt.NDArray[np.generic]) -> Float64:
        shape = [1] * job.weight.ndim
        if encoding.axis is not None and values.ndim:
            shape[encoding.axis] = -1
        full = np.broadcast_to(values.reshape(shape), job.weight.shape)
        return job.product.matrix(full)[..., 0].astype(np.float64)

    grid = IntegerGrid(
        scale=of_rows(encoding.scale),
        zero=of_rows(encoding.zero_point),
        qmin=encoding.qmin,
        qmax=encoding.qmax,
    )
    steady = damped(gram, DAMPING)
    found = round_weights(weight, steady, grid, job.partner)
    before = row_errors(weight, grid.nearest(weight), grid, steady)
    after = row_errors(weight, found, grid, steady)
    stored = job.product.weight(found).astype(encoding.type.dtype)
    result = LayerRounding(layer=job.place.layer, nearest=float(before.sum()), rounded=float(after.sum()))
    return np.ascontiguousarray(stored), result
