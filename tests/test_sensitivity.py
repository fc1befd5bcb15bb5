"""Sensitivity runs: the same as quantizing only those layers, resumable, and in any order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from core.errors import DataError
from core.model import Model
from core.progress import Cancelled, Progress
from core.qdq import quantize_model
from core.quantizers import Quantizers, all_quantizers, by_layer, restricted, union
from core.ranking import LARGER_IS_BETTER, Metric, figure, metrics_of, ranking
from core.recipe import Encodings, Recipe, resolve
from core.runtime import Session
from core.sensitivity import Kind, Run, Subject, plan, stream
from core.simulation import Simulation, simulation
from core.targets import Precision
from core.thresholds import Method
from tests.evaluating import list_samples
from tests.networks import NETWORKS, feeds
from tests.quantizing import network, statistics_of

SIMULATED = {"session.disable_quant_qdq": "1"}


@cache
def prepared(name: str) -> tuple[Model, Encodings, list[dict[str, np.ndarray]]]:
    model, items = network(name), feeds(name)
    return model, resolve(Recipe(), statistics_of(model, items), model), items


@pytest.mark.parametrize("name", NETWORKS)
def test_runs_equal_quantizing_only_those_layers(name: str) -> None:
    model, encodings, items = prepared(name)
    simulated = simulation(model, encodings)
    floats = simulated.trace(items[0], Quantizers())
    full = simulated.trace(items[0], all_quantizers(encodings))
    planned = plan(model, encodings)
    assert {s.kind for s in planned.subjects} == set(Kind)
    for subject in planned.subjects:
        on = planned.on[subject]
        near, far = simulated.rerun(floats, on), simulated.rerun(full, on)
        quantized = quantize_model(model, restricted(encodings, on))
        session = Session(quantized.SerializeToString(), entries=SIMULATED)
        for output, expected in session.run(items[0]).items():
            assert np.array_equal(near[output], far[output]), subject
            error = np.abs(expected - floats.outputs[output]).max()
            assert error > 0.0
            assert np.abs(expected - near[output]).max() <= 2e-3 * error, subject


def test_streaming_gives_each_run_once_and_any_thread_count_the_same() -> None:
    model, encodings, items = prepared("residual_cnn")
    samples = list_samples(items)
    seen: list[Progress] = []
    runs = list(stream(model, encodings, samples, threads=1, progress=seen.append))
    assert runs == list(stream(model, encodings, samples, threads=3))
    planned = plan(model, encodings)
    assert [(r.subject, r.sample) for r in runs] == [
        (s, i) for i in range(len(items)) for s in planned.subjects
    ]
    assert [p.done for p in seen] == list(range(len(runs) + 1))


def keep(runs: Iterator[Run], kept: list[Run]) -> None:
    for run in runs:
        kept.append(run)


def test_cancelling_loses_nothing_and_resuming_repeats_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, encodings, items = prepared("mobile_cnn")
    samples = list_samples(items)
    whole = list(stream(model, encodings, samples, kinds=[Kind.ENABLE]))

    def stop(progress: Progress) -> None:
        if progress.done == 20:
            raise Cancelled

    got: list[Run] = []
    with pytest.raises(Cancelled):
        keep(stream(model, encodings, samples, kinds=[Kind.ENABLE], progress=stop), got)
    assert got == whole[:20]
    counted: list[object] = []
    original = Simulation.rerun
    monkeypatch.setattr(Simulation, "rerun", lambda *args: (counted.append(1), original(*args))[1])
    assert list(stream(model, encodings, samples, kinds=[Kind.ENABLE], done=got)) == whole
    assert len(counted) == len(whole) - 20
    counted.clear()
    assert list(stream(model, encodings, samples, kinds=[Kind.ENABLE], done=whole)) == whole
    assert not counted


def test_an_edit_of_one_layer_leaves_the_runs_of_the_others() -> None:
    model, items = network("residual_cnn"), feeds("residual_cnn")
    statistics = statistics_of(model, items)
    recipe = Recipe()
    before = resolve(recipe, statistics, model)
    layer = model.layers[3].name
    after = resolve(recipe.with_layer(layer, method=Method.PERCENTILE, percentile=90.0), statistics, model)
    samples = list_samples(items)
    kinds = [Kind.ENABLE]
    first = {(r.subject.name, r.sample): r.key for r in stream(model, before, samples, kinds=kinds)}
    second = {(r.subject.name, r.sample): r.key for r in stream(model, after, samples, kinds=kinds)}
    changed = {name for (name, sample), key in first.items() if second[name, sample] != key}
    assert layer in changed
    # The layers that read it store their biases in steps of its scale.
    readers = {la.name for la in model.layers if model.layer(layer).output in la.inputs and la.weight}
    assert changed == {layer} | readers


def test_float_layers_have_no_quantizers() -> None:
    model = network("residual_cnn")
    layer = next(la.name for la in model.layers if la.weight)
    recipe = Recipe().with_layer(layer, precision=Precision.FLOAT)
    encodings = resolve(recipe, statistics_of(model, feeds("residual_cnn")), model)
    assert not by_layer(encodings).get(layer, Quantizers()).weights
    assert union(by_layer(encodings).values()) == all_quantizers(encodings)


def test_no_samples() -> None:
    model, encodings, items = prepared("residual_cnn")
    with pytest.raises(DataError, match="no samples"):
        next(stream(model, encodings, list_samples(items).take(0)))


def test_ranking_does_not_depend_on_the_order_of_samples_or_runs() -> None:
    model, encodings, items = prepared("mobile_cnn")
    forth = list(stream(model, encodings, list_samples(items)))
    back = list(
        stream(model, encodings, list_samples(items[::-1]), order=[la.name for la in model.layers[::-1]])
    )
    assert set(metrics_of(forth)) == set(Metric) - {Metric.TOP1}
    for kind in (Kind.ENABLE, Kind.DISABLE, Kind.OP_TYPE):
        for metric in metrics_of(forth):
            first, second = ranking(forth, kind, metric), ranking(back[::-1], kind, metric)
            assert first == second
            assert first == ranking(forth, kind, metric)
            assert [s.rank for s in first] == list(range(1, len(first) + 1))
            assert all(s.low <= s.value <= s.high for s in first)
            assert all(s.rank_low <= s.rank_high for s in first)
            worse = [
                -s.value if metric in LARGER_IS_BETTER and kind is not Kind.DISABLE else s.value
                for s in first
            ]
            assert worse == sorted(worse, reverse=True)


def test_the_whole_model_and_its_halves() -> None:
    model, encodings, items = prepared("residual_cnn")
    labels = np.zeros(len(items), np.int64)
    runs = list(stream(model, encodings, list_samples(items, labels)))
    both, weights, activations = (
        figure(runs, Subject(kind=kind), Metric.SQNR) for kind in (Kind.ALL, Kind.WEIGHTS, Kind.ACTIVATIONS)
    )
    assert both is not None
    assert weights is not None
    assert activations is not None
    assert both.value < min(weights.value, activations.value)
    assert both.low <= both.value <= both.high
    assert Metric.TOP1 in metrics_of(runs)
    assert figure(runs[:0], Subject(kind=Kind.ALL), Metric.SQNR) is None
    name = model.layers[1].name
    without = figure(runs, Subject(kind=Kind.DISABLE, name=name), Metric.SQNR)
    assert without is not None
    won = next(score.value for score in ranking(runs, Kind.DISABLE) if score.name == name)
    assert won == pytest.approx(without.value - both.value)
    by_hand = [r for r in runs if r.subject == Subject(kind=Kind.ALL)]
    ratio = sum(r.error.ff for r in by_hand if r.error) / sum(r.error.dd for r in by_hand if r.error)
    assert both.value == pytest.approx(10 * np.log10(ratio))
