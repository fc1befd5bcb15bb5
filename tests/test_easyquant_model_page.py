"""EasyQuant for the whole model in the app: measured before and after, one step, and said where it loses."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from quantscope.core.evaluate import compare
from quantscope.core.quant import Range
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe
from quantscope.core.tuning import EasyQuantResult
from quantscope.ui.runs import easyquant_model
from quantscope.ui.runs.easyquant_model import BeforeAndAfter, WholeRun
from quantscope.ui.runs.measurement_work import quantized_bytes
from quantscope.ui.session import cached, opening
from quantscope.ui.session.workspace import prepare
from quantscope.ui.views import easyquant_model as page
from tests.pages import go, healthy, opened, recipe, start, until
from tests.pages import home as home  # a fixture


@pytest.fixture
def overview() -> AppTest:
    app = start(opening.open_sample("digits_mlp"))
    until(app, lambda a: "recipe" in a.session_state)
    return go(app, "overview")


def keys(app: AppTest) -> set[str | None]:
    return {button.key for button in app.button}


@pytest.mark.slow
def test_it_is_measured_as_exported_used_in_one_step_and_undone(overview: AppTest) -> None:
    app, before = overview, recipe(overview)
    app.button(key="start_easymodel").click().run()
    until(app, lambda a: "use_easymodel" in keys(a), 60.0)
    healthy(app)
    assert recipe(app) == before
    run = easyquant_model.whole_job(opened(app).id).result
    assert run.tuned.complete
    assert run.figures.unseen
    space = prepare(opened(app), lambda _: None)
    for given, said in ((Recipe(), run.figures.before), (run.recipe, run.figures.after)):
        data = quantized_bytes(space.model, resolve(given, space.statistics, space.model))
        found = compare(space.model, data, space.evaluation, layers=False, latency=False)
        assert (said.output, said.accuracy) == (found.output, found.accuracy)
    depth = opened(app).depth
    app.button(key="use_easymodel").click().run()
    healthy(app)
    assert recipe(app) == run.recipe != before
    assert opened(app).depth == depth + 1
    assert app.button(key="use_easymodel").disabled
    app.button(key="undo").click().run()
    assert recipe(app) == before
    assert not app.button(key="use_easymodel").disabled


@pytest.mark.slow
def test_stopping_keeps_what_was_found_and_it_can_be_measured_later(
    overview: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = overview
    tune = easyquant_model.easyquant

    def stopped(*args: Any, progress: Any, **more: Any) -> Any:
        def tell(told: Any) -> None:
            if told.done > told.total // 2:
                easyquant_model.whole_job(opened(app).id).cancel()
            progress(told)

        return tune(*args, progress=tell, **more)

    monkeypatch.setattr(easyquant_model, "easyquant", stopped)
    app.button(key="start_easymodel").click().run()
    until(app, lambda a: "use_easymodel" in keys(a), 60.0)
    run = easyquant_model.whole_job(opened(app).id).result
    assert not run.tuned.complete
    assert run.figures is None
    assert 0 < len(run.tuned.layers) < run.of + 1
    assert any("stopped" in entry.value for entry in app.info)
    app.button(key="measure_easymodel").click().run()
    until(app, lambda a: "use_easymodel" in keys(a) and "measure_easymodel" not in keys(a), 60.0)
    again = easyquant_model.whole_job(opened(app).id).result
    assert again.tuned == run.tuned
    assert again.figures is not None


def outcome(sqnr_db: float, top1: float | None = None) -> Any:
    accuracy = None if top1 is None else SimpleNamespace(quantized_top1=top1, float_top1=0.99)
    return SimpleNamespace(output=SimpleNamespace(sqnr_db=sqnr_db), accuracy=accuracy, samples=10)


@pytest.mark.parametrize(
    ("before", "after", "loses", "closer"),
    [
        (outcome(20.0), outcome(22.0), False, True),
        (outcome(20.0), outcome(19.0), True, False),
        (outcome(20.0, 0.9), outcome(22.0, 0.8), True, True),
        (outcome(20.0, 0.9), outcome(19.0, 0.95), True, False),
        (outcome(20.0, 0.9), outcome(20.01, 0.9), False, False),
        (outcome(float("inf")), outcome(float("inf")), False, False),
    ],
)
def test_a_loss_is_one_in_either_figure(before: Any, after: Any, loses: bool, closer: bool) -> None:
    figures = BeforeAndAfter(before=before, after=after, unseen=True)
    assert (figures.loses, figures.closer) == (loses, closer)
    assert "→" in page._words(figures)
    assert "calibration has seen" not in page._words(figures)
    assert "calibration has seen" in page._words(replace(figures, unseen=False))


@pytest.mark.parametrize(
    ("after", "words", "label"),
    [
        (outcome(18.0, 0.9), "loses here", "Use these scales anyway"),
        (outcome(18.0, 0.95), "More samples are right, though", "Use these scales anyway"),
        (outcome(22.0, 0.85), "fewer samples are read right", "Use these scales anyway"),
        (outcome(22.0, 0.95), "(+2.0 dB)", "Use these scales"),
    ],
)
def test_a_loss_is_said_plainly(overview: AppTest, after: Any, words: str, label: str) -> None:
    app = overview
    figures = BeforeAndAfter(before=outcome(20.0, 0.9), after=after, unseen=True)
    found = EasyQuantResult(layers=(), ranges={"input": Range(0.0, 1.0)}, left_out={}, samples=4)
    run = WholeRun(given=recipe(app), tuned=found, of=1, figures=figures)
    cached.registry().submit(f"{opened(app).id}:easymodel", "EasyQuant", lambda _tell: run)
    app.run()
    said = [entry.value for entry in (app.warning if figures.loses else app.success)]
    assert any(words in entry for entry in said)
    assert app.button(key="use_easymodel").label == label
