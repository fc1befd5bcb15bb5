"""What is found out about a model goes with it: no cache of the core keeps models of before alive."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from quantscope.core import pipeline
from quantscope.core.calibration import Statistics, calibrate
from quantscope.core.data import Samples, open_samples
from quantscope.core.evaluate import float_reference, preview
from quantscope.core.memo import Memo
from quantscope.core.model import Model, load_model
from quantscope.core.passes import PassRecord
from quantscope.core.pipeline import prepare, quantize
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import PASSES, Recipe
from quantscope.core.targets import find_placement, not_finite, target
from tests.networks import NETWORKS, feeds

MODELS = 20
NETWORK = "mobile_cnn"  # every pass but rotation finds something to change
BYTES = NETWORKS[NETWORK][0]().SerializeToString()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTSCOPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    samples = feeds(NETWORK, 4)
    np.savez(tmp_path / "data.npz", **{n: np.concatenate([s[n] for s in samples]) for n in samples[0]})
    return tmp_path / "data.npz"


def _resolve(model: Model, samples: Samples) -> object:
    return resolve(Recipe(), calibrate(model, samples), model)


def _place(model: Model, samples: Samples) -> object:
    placement = find_placement(model, target(Recipe().target))
    return placement, not_finite(model, placement)


def _quantize(model: Model, samples: Samples, passes: tuple[str, ...] = ()) -> object:
    return quantize(model, Recipe().with_passes(*passes), samples, statistics=calibrate(model, samples))


def _evaluate(model: Model, samples: Samples) -> object:
    proto = quantize_model(model, resolve(Recipe(), calibrate(model, samples), model))
    return preview(float_reference(model, samples, count=2), proto)


USES: dict[str, Callable[[Model, Samples], object]] = {
    "resolve": _resolve,
    "place": _place,
    "quantize": _quantize,
    "evaluate": _evaluate,
    **{name: partial(_quantize, passes=(name,)) for name in PASSES},
    "all passes": partial(_quantize, passes=tuple(PASSES)),
}


@pytest.mark.parametrize("use", USES)
def test_models_go_when_nobody_uses_them(use: str, data: Path) -> None:
    seen = []
    for _ in range(MODELS):
        model = load_model(BYTES, name=NETWORK)
        samples = open_samples(data, model)
        result = USES[use](model, samples)
        seen.append((weakref.ref(model), weakref.ref(model.ir)))
    del result, samples
    gc.collect()
    assert [(m() is not None, ir() is not None) for m, ir in seen] == [(False, False)] * (MODELS - 1) + [
        (True, True)
    ]
    assert seen[-1][0]() is model


@pytest.mark.parametrize("passes", [("rotate",), ("equalize",), ("rotate", "equalize", "smooth")])
def test_a_model_needs_no_collector_to_go(passes: tuple[str, ...], data: Path) -> None:
    """A cycle of a model with what was found out about it would keep it until the next full collection."""
    gc.collect()
    gc.disable()
    try:
        model = load_model(BYTES, name=NETWORK)
        seen = weakref.ref(model)
        samples = open_samples(data, model)
        prepare(model, Recipe().with_passes(*passes), samples)
        del model, samples
        assert seen() is None
    finally:
        gc.enable()


def test_statistics_go_with_what_was_found_out_about_them(data: Path) -> None:
    model = load_model(BYTES, name=NETWORK)
    samples = open_samples(data, model)
    seen = []
    for _ in range(3):
        found = Statistics.from_bytes(calibrate(model, samples, cache=False).to_bytes())
        resolve(Recipe(), found, model)
        seen.append(weakref.ref(next(iter(found.histograms.values())).counts))
    del found
    gc.collect()
    assert [ref() for ref in seen] == [None] * 3


def test_passes_that_change_nothing_are_run_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(BYTES, name=NETWORK)
    samples, recipe, runs = open_samples(data, model), Recipe().with_passes("rotate"), []
    change = pipeline.change_model

    def counted(*args: object, **kwargs: object) -> tuple[Model, tuple[PassRecord, ...]]:
        runs.append(args)
        return change(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "change_model", counted)
    first, second = (prepare(model, recipe, samples) for _ in range(2))
    assert len(runs) == 1
    assert first.model is second.model is model
    assert first.statistics is second.statistics
    assert first.records == second.records
    assert first.records


class Yielding:
    """A key whose comparisons let other threads run, so that any lock that lacks shows."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        time.sleep(0)
        return isinstance(other, Yielding) and self.value == other.value


def in_threads(work: Callable[[int], object]) -> None:
    """Run `work(0)` to `work(3)` at the same time; what one of them raises is raised."""
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work, start) for start in range(4)]:
            future.result()


def test_threads_may_prepare_one_model_at_the_same_time(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More data sets than places: results are dropped by one thread while others look for theirs."""
    model, recipe = load_model(BYTES, name=NETWORK), Recipe().with_passes("rotate")
    statistics = calibrate(model, open_samples(data, model))
    monkeypatch.setattr(pipeline, "change_model", lambda model, *_, **__: (model, ()))
    monkeypatch.setattr(pipeline, "calibrate", lambda *_, **__: statistics)

    def work(first: int) -> None:
        for turn in range(100):
            samples = SimpleNamespace(fingerprint=Yielding((first + turn) % 7))
            assert prepare(model, recipe, samples).model is model  # type: ignore[arg-type]

    in_threads(work)


# --- the memo itself ---


def test_a_memo_makes_a_result_once_and_keeps_nothing_that_failed() -> None:
    memo, made = Memo(), []

    def fail() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        memo.get("a", fail)
    assert memo.get("a", lambda: made.append(1) or "found") == "found"
    assert memo.get("a", fail) == "found"
    assert made == [1]


def test_a_bounded_memo_keeps_what_was_asked_for_last() -> None:
    memo = Memo(most=2)
    for key in ("a", "b", "a", "c"):
        memo.get(key, lambda key=key: key.upper())
    assert len(memo) == 2
    assert memo.get("a", lambda: "made again") == "A"
    assert memo.get("b", lambda: "made again") == "made again"


def test_threads_that_ask_at_the_same_time_get_the_same_result() -> None:
    memo, both = Memo(), threading.Barrier(2, timeout=30)
    found: list[object] = []

    def make() -> object:
        both.wait()  # until the other makes it too
        return object()

    threads = [threading.Thread(target=lambda: found.append(memo.get("a", make))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert found[0] is found[1]


def test_a_memo_drops_results_while_other_threads_ask() -> None:
    memo = Memo(most=2)

    def work(first: int) -> None:
        for turn in range(100):
            value = (first + turn) % 5
            assert memo.get(Yielding(value), lambda value=value: value) == value

    in_threads(work)
    assert len(memo) == 2
