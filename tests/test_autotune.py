"""Auto-tune: never worse than MinMax, the same whatever the order, and a story that says what was kept."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quantscope.core.calibration import calibrate
from quantscope.core.data import open_samples
from quantscope.core.evaluate import float_reference, preview
from quantscope.core.model import load_model
from quantscope.core.pipeline import quantize
from quantscope.core.progress import Cancelled, Progress
from quantscope.core.recipe import PASSES, Choice, Recipe, recipe_to_yaml
from quantscope.core.targets import Precision
from quantscope.core.thresholds import Method
from quantscope.core.tuning import (
    AutotuneResult,
    AutotuneStep,
    DefaultTrial,
    MeasuredDefault,
    autotune,
    try_fixes,
)
from quantscope.core.tuning.autotune_result import Verdict
from quantscope.core.tuning.autotune_search import _AutotuneSearch
from quantscope.core.tuning.sample_split import split_samples
from quantscope.sample_data import SAMPLES
from tests.evaluating import list_samples
from tests.networks import feeds
from tests.quantizing import network

pytestmark = pytest.mark.slow

SAMPLE = SAMPLES["digits_mlp"]


@pytest.fixture(scope="module")
def tuned() -> AutotuneResult:
    model = load_model(SAMPLE.model)
    return autotune(model, open_samples(SAMPLE.calibration, model))


def test_tuned_is_far_closer_to_float_than_minmax_where_minmax_fails() -> None:
    sample = SAMPLES["digits_mobilenet"]
    model = load_model(sample.model)
    samples = open_samples(sample.calibration, model)
    found = autotune(model, samples)
    assert found.held_out > 0
    assert found.tuned_db > found.minmax_db + 15
    reference = float_reference(model, open_samples(sample.evaluation, model), count=400, layers=False)
    scores = [
        preview(reference, quantize(model, recipe, samples).proto, layers=False).output.overall.sqnr_db
        for recipe in (found.recipe, Recipe().with_default(method=Method.MINMAX))
    ]
    assert scores[0] is not None
    assert scores[1] is not None
    assert scores[0] > scores[1] + 15


def test_tuned_is_not_worse_than_minmax_where_minmax_does_well(tuned: AutotuneResult) -> None:
    assert tuned.held_out > 0
    assert tuned.tuned_db >= tuned.minmax_db > 35


def test_ranges_from_all_samples_are_measured_too() -> None:
    """A share of 99.999 % cuts the stuck pixels of the digits off with some samples, not with all of them."""
    sample = SAMPLES["digits_mobilenet"]
    model = load_model(sample.model)
    samples = open_samples(sample.calibration, model)
    fitted, held = split_samples(samples)
    assert held is not None
    known = calibrate(model, fitted, cache=False)
    search = _AutotuneSearch(model, fitted, known, fitted.take(16), held, None, None)
    recipe = Recipe().with_default(method=Method.PERCENTILE, percentile=99.999).with_passes("equalize")
    promised = search.judged(search.build(recipe)).closeness
    kept_db, kept = search.settled(recipe, promised, samples, None)
    before, after = (
        search.judged(quantize(model, r, samples, cache=False)).closeness for r in (recipe, kept)
    )
    assert before < promised - 5
    assert after > before + 5
    assert kept_db == pytest.approx(min(after, promised))
    assert [step.kept for step in search.steps] == [False, True]
    fine = recipe.with_default(method=Method.KL_V2)
    judged = search.judged(search.build(fine)).closeness
    assert search.settled(fine, judged, samples, None) == (judged, fine)


def test_the_order_of_samples_does_not_matter(tuned: AutotuneResult) -> None:
    model = load_model(SAMPLE.model)
    samples = open_samples(SAMPLE.calibration, model)
    shuffled = samples.select([int(i) for i in np.random.default_rng(0).permutation(len(samples))])
    again = autotune(model, shuffled)
    assert recipe_to_yaml(again.recipe) == recipe_to_yaml(tuned.recipe)
    assert again.steps == tuned.steps


def test_the_story_names_every_step_and_the_verdict(tuned: AutotuneResult) -> None:
    assert len(tuned.story) == len(tuned.steps) + 1
    assert all(math.isfinite(step.sqnr_db) for step in tuned.steps)
    best = -math.inf
    for step in tuned.steps[:4]:
        assert step.kept == (step.sqnr_db > best + (0.05 if best > -math.inf else 0))
        best = step.sqnr_db if step.kept else best
    assert f"MinMax {tuned.minmax_db:.2f} dB" in tuned.story[-1]
    assert f"{tuned.held_out} samples held out, which judge" in tuned.story[-1]  # and so have chosen, too


def test_a_step_that_wins_too_little_is_told_so() -> None:
    found = autotune(network("residual_cnn"), list_samples(feeds("residual_cnn", 12)))
    (glue, *_) = (step for step in found.steps if step.what.startswith("glue"))
    best = max(step.sqnr_db for step in found.steps[: found.steps.index(glue)] if step.kept)
    assert best < glue.sqnr_db <= best + 1.0
    assert glue.why == "Not kept: less than 1 dB more."
    assert not any("no method beats" in step.why for step in found.steps)
    assert not found.fell_back


def test_falling_back_to_minmax_in_the_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def judged(*_: object) -> Verdict:
        seen.append(30.0 if not seen else 20.0)  # MinMax comes first
        return Verdict(closeness=seen[-1], overall_db=seen[-1], disagreeing=0.0, lost=0)

    monkeypatch.setattr(_AutotuneSearch, "judged", judged)
    found = autotune(network("residual_cnn"), list_samples(feeds("residual_cnn", 12)))
    assert len(seen) > 1
    assert found.recipe == Recipe().with_default(method=Method.MINMAX)
    assert found.fell_back
    assert found.story[-1].endswith(
        "MinMax 30.00 dB, tuned 30.00 dB. What was kept on the way is no better there, so plain MinMax stays."
    )


def test_layers_set_by_the_user_keep_their_choice() -> None:
    model = load_model(SAMPLE.model)
    layer = model.layers[1].name
    start = Recipe().with_layer(layer, precision=Precision.FLOAT)
    found = autotune(model, open_samples(SAMPLE.calibration, model).take(20), start)
    assert found.recipe.choice(layer).precision is Precision.FLOAT


@pytest.mark.parametrize("partial", [False, True])
def test_a_cancelled_run_keeps_what_it_found(partial: bool) -> None:
    model = load_model(SAMPLE.model)
    samples = open_samples(SAMPLE.calibration, model).take(40)
    seen: list[AutotuneStep] = []

    def stop(_: Progress) -> None:
        if len(seen) == 3:
            raise Cancelled

    if not partial:
        with pytest.raises(Cancelled):
            autotune(model, samples, watch=seen.append, progress=stop)
        return
    found = autotune(model, samples, partial=True, watch=seen.append, progress=stop)
    assert not found.complete
    assert found.steps == tuple(seen)
    assert len(found.steps) == 3
    assert found.tuned_db >= found.minmax_db
    assert "Cancelled" in found.story[-2]


def test_a_run_cancelled_before_anything_was_found_is_cancelled() -> None:
    model = load_model(SAMPLE.model)

    def stop(_: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        autotune(model, open_samples(SAMPLE.calibration, model).take(20), partial=True, progress=stop)


def test_each_fix_is_tried_alone_on_samples_kept_for_judging() -> None:
    sample = SAMPLES["digits_mobilenet"]
    model = load_model(sample.model)
    samples = open_samples(sample.calibration, model)
    start = Recipe().with_passes("bias_correction")
    found = {trial.name: trial for trial in try_fixes(model, samples, start)}
    assert list(found) == list(PASSES)
    assert {trial.before_db for trial in found.values()} == {found["equalize"].before_db}
    assert [name for name, trial in found.items() if not trial.added] == ["bias_correction"]
    fitted, held = split_samples(samples)
    assert held is not None
    reference = float_reference(model, held, count=len(held), layers=False)
    for name, tried in (("equalize", start.with_passes("equalize", "bias_correction")), ("", start)):
        proto = quantize(model, tried, fitted, cache=False).proto
        expected = preview(reference, proto, layers=False).output.overall.sqnr_db
        got = found[name].after_db if name else found["equalize"].before_db
        assert got == pytest.approx(expected, abs=1e-6)
    assert found["equalize"].sentences[0].startswith("Equalization rescaled")


def test_samples_held_out_are_others_whatever_the_order() -> None:
    model = load_model(SAMPLE.model)
    samples = open_samples(SAMPLE.calibration, model)
    shuffled = samples.select([int(i) for i in np.random.default_rng(3).permutation(len(samples))])
    parts = [split_samples(s) for s in (samples, shuffled)]
    contents = []
    for fitted, held in parts:
        assert held is not None
        contents.append([sorted(next(iter(s.values())).tobytes() for s in part) for part in (fitted, held)])
        assert not set(contents[-1][0]) & set(contents[-1][1])
    assert contents[0] == contents[1]
    assert split_samples(samples.take(15))[1] is None


def test_minmax_stays_where_others_win_less_than_chance() -> None:
    def trial(label: str, sqnr_db: float) -> DefaultTrial:
        return DefaultTrial(choice=Choice(), label=label, sqnr_db=sqnr_db, cosine=1.0)

    def best(*scores: float) -> str:
        trials = tuple(trial(str(place), score) for place, score in enumerate(scores))
        return MeasuredDefault(recipe=Recipe(), trials=trials, samples=8).best.label

    assert best(30.0, 30.4, 12.0) == "0"
    assert best(30.0, 30.4, 30.6) == "2"
    assert best(-math.inf, -math.inf) == "0"
    assert best(math.inf, 40.0) == "0"
