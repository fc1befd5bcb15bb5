"""Model fixes and auto-tune in the app: applied in the background, exported as measured, undone, reopened."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from quantscope.core.data import open_samples
from quantscope.core.model import load_model
from quantscope.core.pipeline import quantize
from quantscope.core.quant import Range
from quantscope.core.recipe import PASSES, Recipe, recipe_to_yaml
from quantscope.core.targets import Precision
from quantscope.core.thresholds import Method
from quantscope.sample_data import SAMPLES
from quantscope.ui.content import text
from quantscope.ui.runs import exported_encodings, held_range, recipe_search
from quantscope.ui.session import cached, fixes, opening, state
from tests.pages import go, healthy, home, opened, recipe, start, until

__all__ = ["home"]  # a fixture

SAMPLE = SAMPLES["digits_mlp"]


@pytest.fixture
def ready() -> AppTest:
    app = start(opening.open_sample(SAMPLE.name))
    until(app, lambda a: "recipe" in a.session_state)
    return app


def upload(app: AppTest, asked: Recipe) -> None:
    go(app, "export")
    text = recipe_to_yaml(asked).encode()
    app.get("file_uploader")[0].set_value(("fixes.yaml", text, "application/yaml")).run()


def there(app: AppTest, words: str) -> bool:
    return any(words in element.value for element in (*app.markdown, *app.caption, *app.success, *app.info))


def switch(app: AppTest, name: str) -> Any:
    return next((t for t in app.toggle if t.label == PASSES[name].label), None)


def digest(app: AppTest) -> str:
    """Of the exported file, as the page says it."""
    go(app, "export")
    until(app, lambda a: there(a, "Verified"))
    return next(c.value.split()[-1] for c in app.caption if c.value.startswith("SHA-256"))


def headless(asked: Recipe) -> str:
    """Of the file that the command line makes of a recipe."""
    model = load_model(SAMPLE.model)
    made = quantize(model, asked, open_samples(SAMPLE.calibration, model), cache=False)
    return hashlib.sha256(made.proto.SerializeToString()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize(
    "names", [("equalize",), ("smooth", "rounding"), ("bias_correction",), tuple(PASSES)], ids="+".join
)
def test_the_app_exports_what_the_command_line_makes(ready: AppTest, names: tuple[str, ...]) -> None:
    layer = load_model(SAMPLE.model).layers[1].name
    asked = Recipe().with_passes(*names).with_layer(layer, method=Method.KL)
    upload(ready, asked)
    healthy(ready)
    assert recipe_to_yaml(recipe(ready)) == recipe_to_yaml(asked)
    assert digest(ready) == headless(asked)


def test_a_recipe_for_another_model_is_refused_with_its_passes_too(ready: AppTest) -> None:
    before = recipe(ready)
    upload(ready, Recipe().with_passes("smooth").with_layer("nowhere", precision=Precision.FLOAT))
    assert "nowhere" in ready.error[0].value
    assert recipe(ready) == before


def test_switches_follow_the_recipe_and_undo(ready: AppTest) -> None:
    plain = digest(ready)
    go(ready, "overview")
    switch(ready, "equalize").set_value(True).run()
    until(ready, lambda a: there(a, "Equalization rescaled"))
    healthy(ready)
    assert [choice.name for choice in recipe(ready).passes] == ["equalize"]
    assert digest(ready) != plain
    go(ready, "overview")
    switch(ready, "bias_correction").set_value(True).run()
    until(ready, lambda a: there(a, "Bias correction shifted the biases of 3 layers"))
    assert [choice.name for choice in recipe(ready).passes] == ["equalize", "bias_correction"]
    ready.number_input[0].set_value(16.0).run()
    until(ready, lambda a: there(a, r"\(16 samples\)"))
    assert recipe(ready).passes[1].options == {"samples": 16.0}
    for _ in range(3):
        ready.button(key="undo").click().run()
        until(ready, lambda a: switch(a, "equalize") is not None)
    assert not switch(ready, "equalize").value
    assert digest(ready) == plain
    ready.button(key="redo").click().run()
    go(ready, "overview")
    until(ready, lambda a: switch(a, "equalize") is not None)
    assert switch(ready, "equalize").value
    switch(ready, "equalize").set_value(False).run()
    healthy(ready)
    assert recipe(ready).passes == ()


def test_each_fix_is_measured_with_and_without(ready: AppTest) -> None:
    go(ready, "overview")
    switch(ready, "bias_correction").set_value(True).run()
    ready.button(key="start_fixes").click().run()
    until(ready, lambda a: there(a, "with against without"))
    shown = [m.value for m in ready.markdown if m.value.endswith("dB**]") and m.value.startswith(":")]
    assert len(shown) == len(PASSES)
    helps = {m.value: m.help for m in ready.markdown if m.value in shown}
    assert sum("without this fix" in words for words in helps.values()) == 1


def test_a_project_with_fixes_is_reopened_as_it_was(ready: AppTest) -> None:
    upload(ready, Recipe().with_passes("equalize", "bias_correction"))
    before = digest(ready)
    st.cache_resource.clear()  # as after a kill
    again = start(opened(ready))
    until(again, lambda a: "recipe" in a.session_state)
    assert digest(again) == before


def test_a_default_found_for_an_earlier_recipe_is_said_to_be_one(ready: AppTest) -> None:
    go(ready, "overview")
    ready.button(key="start_trials").click().run()
    until(ready, lambda a: any(b.key == "use_best" for b in a.button))
    assert there(ready, "measured on")
    assert not there(ready, text.EARLIER)
    if not ready.button(key="use_best").disabled:
        ready.button(key="use_best").click().run()
        until(ready, lambda a: any(b.key == "use_best" and b.disabled for b in a.button))
        assert not there(ready, text.EARLIER)  # what was tried is of this recipe
    switch(ready, "bias_correction").set_value(True).run()
    until(ready, lambda a: there(a, text.EARLIER))
    ready.button(key="undo").click().run()
    until(ready, lambda a: there(a, "measured on") and not there(a, text.EARLIER))


@pytest.mark.slow
def test_auto_tune_is_one_step_that_can_be_undone(ready: AppTest) -> None:
    plain = digest(ready)
    go(ready, "overview")
    ready.button(key="start_tune").click().run()
    until(ready, lambda a: any(b.key == "use_tuned" for b in a.button), 120)
    healthy(ready)
    assert there(ready, "tuned, on 64 calibration samples kept for judging")
    assert there(ready, "over 1,000 evaluation samples")  # before and after, as the cards count
    ready.button(key="use_tuned").click().run()
    until(ready, lambda a: any(b.key == "use_tuned" and b.label == "In use" for b in a.button))
    tuned = recipe(ready)
    assert tuned != Recipe()
    assert digest(ready) == headless(tuned)
    ready.button(key="undo").click().run()
    healthy(ready)
    assert digest(ready) == plain


def test_auto_tune_that_is_stopped_keeps_what_it_found(ready: AppTest) -> None:
    go(ready, "overview")
    ready.button(key="start_tune").click().run()
    job = cached.registry().get(f"{opened(ready).id}:tune")
    assert job is not None
    growing = cached.results_of_project(opened(ready).id, recipe_search.AutotuneRuns).newest
    assert growing is not None
    while len(growing.steps) < 2 and job.active:  # without drawing the page: that takes longer than a step
        job.wait(0.005)
    job.cancel()
    until(ready, lambda a: any(b.key == "use_tuned" for b in a.button))
    assert there(ready, "stopped early")
    healthy(ready)


def test_a_held_line_carries_integers_and_shifts_over(
    ready: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a line is dragged nothing is rounded or corrected anew; the saved step is."""
    upload(ready, Recipe().with_passes("rounding", "bias_correction"))
    go(ready, "overview")
    until(ready, lambda a: there(a, "Bias correction shifted"))
    seen: list[str] = []
    kept = {name: ready.session_state[name] for name in ("open_project", "recipe")}
    monkeypatch.setattr(st, "session_state", kept)
    monkeypatch.setattr(st, "query_params", {"project": kept["open_project"].id})
    now = state.session()
    assert now is not None
    name = next(layer.name for layer in now.model.layers if layer.kind == "compute")
    held_range.hold(now, name, Range(-1.0, 1.0))
    held = held_range.following(now)
    assert held.encodings.activations != now.encodings.activations
    monkeypatch.setattr(fixes, "finish", lambda *_, **__: seen.append("finished"))
    carried = exported_encodings.exported_encodings(held, lambda _: None)
    done = exported_encodings.known_exported_encodings(now)
    assert done is not None
    assert not seen
    assert set(carried.bias_shifts) == set(done.bias_shifts)
    assert set(carried.bias_shifts)
    assert carried.activations == held.encodings.activations
