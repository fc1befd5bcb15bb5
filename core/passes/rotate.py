"""Rotation: turn residual streams to a basis in which no channel stands out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from quantscope.core.calibration import data_rows
from quantscope.core.data import Picked, Sample, Samples, pick
from quantscope.core.model import Model, float_session
from quantscope.core.model.loading import set_constant
from quantscope.core.passes.linear import linear_weight
from quantscope.core.passes.rewrite import Difference, add_constant, difference, rebuilt
from quantscope.core.passes.streams import Stream, find_streams
from quantscope.core.progress import ProgressFn
from quantscope.core.runtime import parallel_map, thread_count

SAMPLES = 32
CANDIDATES = 24  # bases tried for each stream
WORTHWHILE_DB = 1.0  # less range that is not turned for
ROW_BYTES = 1 << 24  # of activations kept, to tell ranges in any basis

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedTensor:
    """One activation of a turned stream."""

    tensor: str
    before: float  # width of its range
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A float model with other weights and the same outputs."""

    model: Model
    tensors: tuple[TurnedTensor, ...]  # in the order of the network
    left_out: Mapping[str, str]  # first activation of a stream → why it was not turned
    difference: Difference


def rotate(
    model: Model,
    samples: Samples,
    *,
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> Rotation:
    """Put an orthogonal R behind all that makes a residual stream, and its inverse before all that reads it.

    A few channels far larger than the others (the "massive activations" of transformers, linear bottlenecks)
    make one 8-bit step too coarse for the rest. In a basis in which each channel is a sum of all of them,
    with signs, the peaks shrink by up to the root of the number of channels (Ashkboos et al. 2024, QuaRot),
    at no cost: R is multiplied into the weights. Factors of normalizations go into the layers behind them.
    Of several bases the one that leaves the smallest ranges on the samples is taken.

    Args:
        model: The float model.
        samples: Calibration samples; up to 32, chosen by content, are used.
        threads: Samples run at the same time; None = one a processor.
        progress: Told after each sample; may raise `Cancelled`.

    Raises:
        DataError: There are no samples, or they do not fit the model.
    """
    streams = find_streams(model.ir.graph)
    left_out: dict[str, str] = {}
    tensors: list[TurnedTensor] = []
    copy = model.ir.clone() if streams else model.ir
    picked = pick(samples, SAMPLES) if streams else None
    for stream in streams:
        assert picked is not None
        if not _divisible(stream):
            left_out[next(iter(stream.axes))] = "a normalization multiplies a channel by 0"
            continue
        rows = _largest_rows(model, stream, picked, thread_count(threads), progress)
        basis, ranges = _best_basis(stream, rows)
        if basis is None:
            left_out[next(iter(stream.axes))] = "no channel stands out"
            continue
        _turn(copy.graph, stream, basis)
        found = zip(stream.axes, ranges, strict=True)
        tensors += [TurnedTensor(tensor=name, before=b, after=a) for name, (b, a) in found]
    result = rebuilt(model, copy) if tensors else model
    return Rotation(
        model=result,
        tensors=tuple(tensors),
        left_out=left_out,
        difference=difference(model, result, samples, threads=threads),
    )


def _divisible(stream: Stream) -> bool:
    """Whether biases of normalizations can be divided by their factors."""
    return all(_factors(node)[0].all() or not _factors(node)[1].any() for node in stream.norms.values())


def _factors(node: ir.Node) -> tuple[Float64, Float64]:
    """Factor and bias of a normalization, or of a Mul that is part of one."""
    constants = [None if v is None or v.const_value is None else v.const_value.numpy() for v in node.inputs]
    if node.op_type == "Mul":
        factor = next(c for c in constants if c is not None)
        return np.asarray(factor, np.float64).reshape(-1), np.zeros(1)
    bias = constants[2] if len(constants) > 2 else None
    assert constants[1] is not None
    shift = np.zeros(1) if bias is None else np.asarray(bias, np.float64)
    return np.asarray(constants[1], np.float64).reshape(-1), shift.reshape(-1)


def _largest_rows(
    model: Model,
    stream: Stream,
    picked: Picked,
    threads: int,
    progress: ProgressFn | None,
) -> list[Float32]:
    """For each tensor the channel vectors of largest norm, (rows, channels)."""
    session = float_session(model, list(stream.axes))
    most = max(1, ROW_BYTES // (4 * stream.size * len(stream.axes) * len(picked.runs)))

    def work(item: tuple[Sample, int]) -> list[Float32]:
        sample, valid = item
        found = []
        for name, values in session.values(sample):
            flat = np.moveaxis(data_rows(values, picked.batch, valid), stream.axes[name], -1).reshape(
                -1, stream.size
            )
            if len(flat) > most:
                norms = np.einsum("ij,ij->i", flat, flat)
                flat = flat[np.argsort(-norms, kind="stable")[:most]]
            found.append(np.ascontiguousarray(flat))
        return found

    items = list(zip(picked.runs, picked.valid, strict=True))
    runs = parallel_map(
        work, items, total=len(items), threads=threads, progress=progress, label="looking at streams"
    )
    return [np.concatenate(parts) for parts in zip(*runs, strict=True)]


def _best_basis(stream: Stream, rows: Sequence[Float32]) -> tuple[Float64 | None, list[tuple[float, float]]]:
    """The candidate that shrinks the ranges most, on average in dB; None where none is worth it."""
    before = [_width(values) for values in rows]
    best: tuple[float, Float64 | None, list[float]] = (-WORTHWHILE_DB, None, before)
    main = _main_direction(rows, stream.centered)
    for number in range(CANDIDATES):
        spread = _basis(stream.size, number, stream.centered)
        for basis in (
            spread,
            _aligned(spread, main, stream.centered),
            _aligned(spread, -main, stream.centered),
        ):
            after = [_width(values @ basis.astype(np.float32)) for values in rows]
            gained = [20 * np.log10(a / b) for a, b in zip(after, before, strict=True) if a > 0 and b > 0]
            change = float(np.mean(gained)) if gained else 0.0
            if change < best[0]:
                best = change, basis, after
    return best[1], list(zip(before, best[2], strict=True))


def _main_direction(rows: Sequence[Float32], centered: bool) -> Float64:
    """The unit vector along which the activations are largest, all tensors counting alike."""
    total = np.zeros((rows[0].shape[1],) * 2)
    for values in rows:
        wide = values.astype(np.float64)
        wide = wide - wide.mean(axis=1, keepdims=True) if centered else wide
        gram = wide.T @ wide
        total += gram / (np.trace(gram) or 1.0)
    return np.asarray(np.linalg.eigh(total)[1][:, -1], np.float64)


def _aligned(basis: Float64, main: Float64, centered: bool) -> Float64:
    """The basis reflected so that the main direction becomes the flattest one there is.

    That is (1, 1, …), whose peak is the smallest of all and which has one sign only, so that a range
    from 0 holds it; or half of it negative where the mean must stay.
    """
    size = len(basis)
    flat = np.full(size, size**-0.5)
    if centered:
        flat[size // 2 : 2 * (size // 2)] *= -1.0
        flat[2 * (size // 2) :] = 0.0
        flat /= np.linalg.norm(flat)
    return _reflected(main, basis @ flat) @ basis


def _reflected(one: Float64, other: Float64) -> Float64:
    """The reflection that exchanges two unit vectors."""
    normal = one - other
    square = float(normal @ normal)
    if square < 1e-12:
        return np.eye(len(one))
    return np.asarray(np.eye(len(one)) - 2.0 / square * np.outer(normal, normal), np.float64)


def _width(values: Float32) -> float:
    return float(max(values.max(initial=0.0), 0.0) - min(values.min(initial=0.0), 0.0))


def _basis(size: int, number: int, centered: bool) -> Float64:
    """An orthogonal matrix (size, size) whose entries are nearly all of one magnitude; the same every time.

    Signs and order of the channels differ from number to number. `centered`: rows keep their mean, R 1 = 1,
    which a reflection sees to.
    """
    rng = np.random.default_rng(number)
    matrix = np.ones((1, 1))
    rest = size
    while rest % 2 == 0:
        matrix, rest = np.kron(matrix, np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2.0)), rest // 2
    k, i = np.arange(rest)[:, None], np.arange(rest)[None, :]
    cosines = np.sqrt((2.0 - (k == 0)) / rest) * np.cos(np.pi * k * (2 * i + 1) / (2 * rest))
    matrix = np.kron(matrix, cosines) * rng.choice([-1.0, 1.0], size)[:, None]
    matrix = matrix[rng.permutation(size)] * rng.choice([-1.0, 1.0], size)
    if centered:
        ones = np.full(size, size**-0.5)
        matrix = _reflected(matrix @ ones, ones) @ matrix
    return np.asarray(matrix, np.float64)


def _turn(graph: ir.Graph, stream: Stream, basis: Float64) -> None:
    """Multiply the basis into everything that makes or reads the stream."""
    nodes = {str(node.name): node for node in graph}
    factors = {name: _factors(node)[0] for name, node in stream.norms.items()}
    for maker in stream.makers:
        node = nodes[maker.name]
        found = linear_weight(node)
        assert found is not None
        split = found.split(found.weight).astype(np.float64)
        turned = np.einsum("goip,oq->gqip", split, basis)
        _store(graph, node, 1, found.joined(turned))
        if found.bias is not None and found.bias.const_value is not None:
            bias = np.asarray(found.bias.const_value.numpy(), np.float64)
            shape = (*bias.shape[:-1], stream.size)
            _store(graph, node, 2, np.broadcast_to(bias, shape) @ basis)
    for reader, norm in stream.readers:
        node = nodes[reader.name]
        found = linear_weight(node)
        assert found is not None
        split = found.split(found.weight).astype(np.float64)
        if norm:
            split = split * np.broadcast_to(factors[norm], stream.size)[None, None, :, None]
        _store(graph, node, 1, found.joined(np.einsum("goip,iq->goqp", split, basis)))
    for name in stream.norms:
        _turn_norm(graph, nodes[name], basis)
    for table in stream.tables:
        value = nodes[str(table.name)].inputs[0]
        assert value is not None
        assert value.const_value is not None
        _store(graph, nodes[str(table.name)], 0, value.const_value.numpy().astype(np.float64) @ basis)
    for addend in stream.addends:
        node = nodes[str(addend.node.name)]
        value = node.inputs[addend.operand]
        assert value is not None
        assert value.const_value is not None
        constant = value.const_value.numpy().astype(np.float64)
        constant = constant.reshape((1,) * (-addend.axis - constant.ndim) + constant.shape)
        last = np.moveaxis(constant, addend.axis, -1)
        turned = np.broadcast_to(last, (*last.shape[:-1], stream.size)) @ basis
        _store(graph, node, addend.operand, np.moveaxis(turned, -1, addend.axis))


def _turn_norm(graph: ir.Graph, node: ir.Node, basis: Float64) -> None:
    """Factors become 1, as the layers behind have them now; a bias is turned."""
    factor, bias = _factors(node)
    operand = 1
    if node.op_type == "Mul":
        operand = next(i for i, v in enumerate(node.inputs) if v is not None and v.const_value is not None)
    elif len(node.inputs) > 2 and node.inputs[2] is not None:
        size = len(basis)
        share = np.divide(bias, factor, out=np.zeros(size), where=np.broadcast_to(bias != 0, size))
        _store(graph, node, 2, share @ basis)
    value = node.inputs[operand]
    assert value is not None
    assert value.const_value is not None
    _store(graph, node, operand, np.ones(value.const_value.shape.numpy()))


def _store(graph: ir.Graph, node: ir.Node, operand: int, array: npt.NDArray[np.floating]) -> None:
    """Give one node another constant; other nodes that share the old one keep it."""
    value = node.inputs[operand]
    assert value is not None
    if len(value.uses()) == 1 and not value.is_graph_output():
        set_constant(value, np.asarray(array, np.float32))
    else:
        new = add_constant(graph, f"{node.name}.turned.{operand}", np.asarray(array, np.float32))
        node.replace_input_with(operand, new)
