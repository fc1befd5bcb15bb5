"""Which layers matter: the model is run again and again with other quantizers switched on.

Enable-one runs quantize a single layer, and show what that costs at the outputs. Disable-one runs quantize
all layers but one, and show what leaving it in float wins back. Further runs quantize everything, only the
weights, only the activations, or all layers of one operator type.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from quantscope.core.data import Sample, Samples, sample_digest
from quantscope.core.errors import DataError
from quantscope.core.evaluate import (
    ErrorSums,
    RunOutputs,
    ScoresSpec,
    class_scores,
    compare_run,
    row_spans,
    scores_spec,
)
from quantscope.core.model import Array, Model
from quantscope.core.progress import ProgressFn, report
from quantscope.core.quant import Encoding
from quantscope.core.quantize import Encodings
from quantscope.core.runtime import parallel_map, thread_count
from quantscope.core.sensitivity.quantizers import Quantizers, all_quantizers, by_layer, root_of, union
from quantscope.core.sensitivity.simulator import Simulation, Trace, simulation


class Kind(StrEnum):
    """What a run leaves switched on."""

    ALL = "all"  # every quantizer
    WEIGHTS = "weights_only"
    ACTIVATIONS = "activations_only"
    OP_TYPE = "op_type"  # the layers of one operator
    ENABLE = "enable_one"  # one layer
    DISABLE = "disable_one"  # every layer but one


EVERYTHING = tuple(Kind)
SAMPLES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One row of a ranking: what is switched, and how."""

    kind: Kind
    name: str = ""  # layer or operator; "" for the whole model


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The outputs of one sample with some quantizers on, against the float model's."""

    subject: Subject
    sample: int  # position among the samples
    key: str  # digest of all that the run depends on
    error: ErrorSums | None  # all float outputs as one vector (else integers); None: not to be compared
    kl: float | None  # of the class scores, summed over the rows, in nats; None without scores
    rows: int  # rows of class scores
    agreeing: int  # rows in which both put the same class first
    float_right: int | None  # rows in which the first class is the label; None without labels
    right: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What there is to run, most telling first."""

    subjects: tuple[Subject, ...]
    on: Mapping[Subject, Quantizers]


def plan_runs(
    model: Model, encodings: Encodings, kinds: Iterable[Kind] = EVERYTHING, order: Sequence[str] = ()
) -> RunPlan:
    """The runs of the given kinds.

    Args:
        model: The float model.
        encodings: Its quantizers.
        kinds: Which ones; `DISABLE` brings `ALL` with it, which it is compared with.
        order: Layers to begin with, e.g. those that the histograms say are bad.
    """
    wanted = set(kinds)
    layers, everything = by_layer(encodings), all_quantizers(encodings)
    names = list(dict.fromkeys([*(n for n in order if n in layers), *(la.name for la in model.layers)]))
    names = [name for name in names if name in layers]
    on: dict[Subject, Quantizers] = {}
    if wanted & {Kind.ALL, Kind.DISABLE}:
        on[Subject(kind=Kind.ALL)] = everything
    if Kind.WEIGHTS in wanted:
        on[Subject(kind=Kind.WEIGHTS)] = Quantizers(weights=everything.weights)
    if Kind.ACTIVATIONS in wanted:
        on[Subject(kind=Kind.ACTIVATIONS)] = Quantizers(tensors=everything.tensors)
    if Kind.OP_TYPE in wanted:
        for op in dict.fromkeys(model.layer(name).op for name in names):
            parts = [layers[name] for name in names if model.layer(name).op == op]
            on[Subject(kind=Kind.OP_TYPE, name=op)] = union(parts)
    if Kind.ENABLE in wanted:
        on |= {Subject(kind=Kind.ENABLE, name=name): layers[name] for name in names}
    if Kind.DISABLE in wanted:
        on |= {Subject(kind=Kind.DISABLE, name=name): everything - layers[name] for name in names}
    return RunPlan(subjects=tuple(on), on=on)


def run_sensitivity(
    model: Model,
    encodings: Encodings,
    samples: Samples,
    *,
    kinds: Iterable[Kind] = EVERYTHING,
    count: int = SAMPLES,
    order: Sequence[str] = (),
    done: Iterable[Run] = (),
    threads: int | None = None,
    progress: ProgressFn | None = None,
) -> Iterator[Run]:
    """Every run as it finishes, sample by sample: a whole ranking soon, and a better one with each sample.

    Everything is computed in float between rounded tensors, see `core.sensitivity.simulator`.
    Runs in `done` that depend on the same things are given again instead of being repeated, also where
    the recipe has changed elsewhere. The results do not depend on `threads`, nor on the order of layers.

    Args:
        model: The float model.
        encodings: Its quantizers.
        samples: The first `count` of them are used.
        kinds: What to switch.
        count: Most samples to use.
        order: Layers to begin with.
        done: Runs of earlier calls.
        threads: Runs at the same time; None = one a processor.
        progress: Told after each run; may raise `Cancelled`. What was given before stays valid.

    Raises:
        DataError: There are no samples, or they do not fit the model.
        ModelError: ONNX Runtime does not accept a part of the model.
    """
    chosen = samples.take(count)
    if not len(chosen):
        raise DataError("there are no samples to run the model on")
    planned = plan_runs(model, encodings, kinds, order)
    work = _Work(model, encodings, planned, {run.key: run for run in done})
    total, finished = len(planned.subjects) * len(chosen), 0
    rows = list(row_spans(chosen))
    report(progress, 0, total, "sensitivity")
    for at, load in enumerate(chosen.loads()):
        sample = load()
        for run in work.sample(at, sample, rows[at], chosen, thread_count(threads)):
            finished += 1
            yield run
            report(progress, finished, total, "sensitivity")


class _Work:
    """The model in pieces, made when the first run needs it."""

    def __init__(self, model: Model, encodings: Encodings, planned: RunPlan, done: dict[str, Run]) -> None:
        self.model, self.encodings, self.planned, self.done = model, encodings, planned, done
        self.simulation: Simulation | None = None
        self.digests = _digests(model, encodings)
        self.spec: ScoresSpec | None = None
        self.known_spec = False

    def sample(
        self, at: int, sample: Sample, rows: tuple[int, int, int], samples: Samples, threads: int
    ) -> Iterator[Run]:
        """All runs of one sample."""
        content = sample_digest(sample)
        labels = samples.labels
        truth = b"" if labels is None else labels[rows[2] : rows[2] + rows[1]].tobytes()
        keys = {s: self._key(s, content + truth) for s in self.planned.subjects}
        if all(key in self.done for key in keys.values()):
            yield from (replace(self.done[key], subject=s, sample=at) for s, key in keys.items())
            return
        if self.simulation is None:
            self.simulation = simulation(self.model, self.encodings)
        base = self.simulation.trace(sample, Quantizers())
        if not self.known_spec:
            self.spec, self.known_spec = scores_spec(base.outputs, samples), True
        full: Trace | None = None
        if any(keys[s] not in self.done for s in keys if s.kind in (Kind.ALL, Kind.DISABLE)):
            full = self.simulation.trace(sample, all_quantizers(self.encodings))

        def measure(subject: Subject) -> Run:
            known = self.done.get(keys[subject])
            if known is not None:
                return replace(known, subject=subject, sample=at)  # others may have switched the same
            assert self.simulation is not None
            near = full if full is not None and subject.kind in (Kind.ALL, Kind.DISABLE) else base
            outputs = self.simulation.rerun(near, self.planned.on[subject])
            compared = compare_run(base.outputs, outputs, rows=rows, spec=self.spec)
            kl = _scores_kl(base.outputs, outputs, self.spec, rows[1])
            labelled = self.spec is not None and self.spec.labels is not None
            return _as_run(subject, at, keys[subject], compared, kl, labelled)

        subjects = self.planned.subjects
        yield from parallel_map(measure, subjects, total=len(subjects), threads=threads)

    def _key(self, subject: Subject, content: bytes) -> str:
        on = self.planned.on[subject]
        digest = hashlib.sha256(self.model.hash.encode() + content)
        for name in (*sorted(on.weights), "|", *sorted(on.tensors)):
            digest.update(self.digests.get(name, name.encode()))
        return digest.hexdigest()


def _as_run(
    subject: Subject, at: int, key: str, compared: RunOutputs, kl: float | None, labelled: bool
) -> Run:
    parts = list(compared.errors.values()) or [_unlike(*counts) for counts in compared.equal.values()]
    whole: ErrorSums | None = _sum([p for p in parts if p is not None])
    if compared.mismatched or None in parts or not parts:
        whole = None
    counts = [0] * 6 if compared.counts is None else [int(c) for c in compared.counts]
    return Run(
        subject=subject,
        sample=at,
        key=key,
        error=whole,
        kl=kl,
        rows=counts[0],
        agreeing=counts[1],
        float_right=counts[2] if labelled else None,
        right=counts[4] if labelled else None,
    )


def _unlike(equal: int, size: int) -> ErrorSums:
    """Integers: the share that differs stands for the noise, as in `core.evaluate.closeness`."""
    differ = float(size - equal)
    return ErrorSums(ff=float(size), qq=float(size), fq=float(equal), dd=differ, max_abs=0.0, count=size)


def _sum(parts: Sequence[ErrorSums]) -> ErrorSums:
    return ErrorSums(
        ff=math.fsum(p.ff for p in parts),
        qq=math.fsum(p.qq for p in parts),
        fq=math.fsum(p.fq for p in parts),
        dd=math.fsum(p.dd for p in parts),
        max_abs=max((p.max_abs for p in parts), default=0.0),
        count=sum(p.count for p in parts),
        non_finite=sum(p.non_finite for p in parts),
    )


def _scores_kl(
    f: Mapping[str, Array], q: Mapping[str, Array], spec: ScoresSpec | None, valid: int
) -> float | None:
    """KL(P‖Q) of the class probabilities, summed over the rows; None without scores or where not finite."""
    if spec is None:
        return None
    p_scores, q_scores = class_scores(f[spec.output]), class_scores(q[spec.output])
    if p_scores is None or q_scores is None or p_scores.shape != q_scores.shape:
        return None
    p, q_ = (scores[:valid].astype(np.float64) for scores in (p_scores, q_scores))
    if not (np.isfinite(p).all() and np.isfinite(q_).all()):
        return None
    given = bool((p >= 0.0).all() and np.allclose(p.sum(axis=1), 1.0, atol=1e-3))
    log_p, log_q = (_log_given(x) if given else _log_softmax(x) for x in (p, q_))
    return float(max(np.sum(np.exp(log_p) * (log_p - log_q)), 0.0))


def _log_softmax(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = x - x.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float64)


def _log_given(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scores that are probabilities already; an output rounded to 0 counts as 1e-6."""
    floored = np.maximum(p, 1e-6)
    return np.asarray(np.log(floored / floored.sum(axis=1, keepdims=True)), np.float64)


def _digests(model: Model, encodings: Encodings) -> dict[str, bytes]:
    """For each quantizer, a digest of all that decides what it does to the model."""
    placement = encodings.placement
    integer_readers: dict[str, list[str]] = {}
    made: set[str] = set()
    for node in model.ir.graph:
        if str(node.name) in placement.nodes:
            made.update(str(v.name) for v in node.outputs)
            for v in node.inputs:
                if v is not None:
                    integer_readers.setdefault(str(v.name), []).append(str(node.name))
    parts: dict[str, list[object]] = {}
    for tensor in placement.tensors:
        root = root_of(encodings, tensor)
        parts.setdefault(root, [_encoding_key(encodings.activations[tensor])])
        parts[root] += [tensor, tensor in made, integer_readers.get(tensor)]
    for constant in placement.constants:
        readers = integer_readers.get(constant, [])
        shifts = [encodings.bias_shifts[node].tobytes() for node in readers if node in encodings.bias_shifts]
        parts.setdefault(constant, []).append(_encoding_key(encodings.constants[constant]))
        parts[constant] += [readers, shifts]
    for name, weight in placement.weights.items():
        input_ = encodings.activations.get(weight.input)
        chosen, shift = encodings.integers.get(name), encodings.bias_shifts.get(name)
        parts[name] = [
            _encoding_key(encodings.weights[name]),
            None if input_ is None else input_.scale.tobytes(),  # of which the bias's scale is made
            None if chosen is None else hashlib.sha256(np.ascontiguousarray(chosen).tobytes()).digest(),
            None if shift is None else shift.tobytes(),
        ]
    return {name: hashlib.sha256(repr((name, part)).encode()).digest() for name, part in parts.items()}


def _encoding_key(e: Encoding) -> tuple[object, ...]:
    return e.scale.tobytes(), e.zero_point.tobytes(), str(e.type), e.axis, e.qmin, e.qmax
