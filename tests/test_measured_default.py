"""The default method wins on samples that nothing has seen, or it is MinMax."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quantscope.core.calibration import calibrate
from quantscope.core.data import Samples, open_samples
from quantscope.core.evaluate import closeness_db, float_reference, preview
from quantscope.core.model import Model, load_model
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Choice, Recipe
from quantscope.core.thresholds import Method, WeightMethod
from quantscope.core.tuning import MARGIN_DB, DefaultTrial, MeasuredDefault, measured_default
from quantscope.core.tuning.default_trials import try_defaults
from quantscope.core.tuning.unseen_samples import least_gain, why_refused
from quantscope.sample_data import SAMPLES
from tests.evaluating import list_samples
from tests.networks import NETWORKS
from tests.quantizing import network

# A network's outputs on other samples are known to about that: with ranges from samples and not from the
# distribution, MinMax itself moves by more from one draw to the next.
TOLERANCE_DB = 0.3


def heavy(name: str, count: int, seed: int) -> Samples:
    """Samples whose size varies and of whose values few are far out, as those of real sensors."""
    rng = np.random.default_rng(seed)
    items = []
    for _ in range(count):
        sample = {}
        for key, shape in NETWORKS[name][1].items():
            size = np.exp(rng.normal() * 0.4)
            far = (rng.random(shape) < 0.002) * rng.normal() * 6
            sample[key] = (rng.standard_normal(shape) * size + far).astype(np.float32)
        items.append(sample)
    return list_samples(items)


def on_others(model: Model, samples: Samples, others: Samples, *recipes: Recipe) -> list[float]:
    """Closeness of recipes with ranges from some samples on others."""
    statistics = calibrate(model, samples, cache=False)
    reference = float_reference(model, others, count=len(others), layers=False)
    protos = (quantize_model(model, resolve(recipe, statistics, model)) for recipe in recipes)
    return [closeness_db(preview(reference, proto, layers=False)) for proto in protos]


@pytest.mark.parametrize(
    ("name", "count", "seed"),
    [
        ("residual_cnn", 8, 2), ("shapes_cnn", 8, 2), ("shapes_cnn", 16, 0), ("shapes_cnn", 32, 0),
        ("mobile_cnn", 16, 0), ("mobile_cnn", 32, 0), ("mobile_cnn", 32, 1), ("mobile_cnn", 32, 2),
        ("transformer", 8, 1),
    ],
)  # fmt: skip
def test_the_default_is_no_worse_than_minmax_on_samples_that_nothing_has_seen(
    name: str, count: int, seed: int
) -> None:
    model, samples = network(name), heavy(name, count, seed)
    found = measured_default(model, calibrate(model, samples, cache=False), samples)
    others = heavy(name, 48, 999)
    chosen, plain = on_others(model, samples, others, found.recipe, Recipe())
    assert chosen >= plain - TOLERANCE_DB


def test_the_best_on_the_samples_measured_would_be_worse_on_others() -> None:
    """So that the property above is no matter of course."""
    model, samples = network("mobile_cnn"), heavy("mobile_cnn", 32, 2)
    statistics = calibrate(model, samples, cache=False)
    greedy = try_defaults(model, statistics, samples)
    assert greedy.best is not greedy.trials[0]
    chosen, plain = on_others(model, samples, heavy("mobile_cnn", 48, 999), greedy.recipe, Recipe())
    assert chosen < plain - TOLERANCE_DB
    careful = measured_default(model, statistics, samples)
    assert careful.best is careful.trials[0]
    refused = [trial for trial in careful.trials if trial.refused]
    assert [trial.label for trial in refused if trial.gains_db]
    assert all(trial.sqnr_db > careful.trials[0].sqnr_db for trial in refused)


@pytest.mark.parametrize("name", ["digits_mobilenet", "digits_vit"])
def test_a_method_that_wins_on_other_samples_is_taken(name: str) -> None:
    sample = SAMPLES[name]
    model = load_model(sample.model)
    samples = open_samples(sample.calibration, model)
    found = measured_default(model, calibrate(model, samples, cache=False), samples)
    assert found.best is not found.trials[0]
    assert len(found.best.gains_db) == 3
    assert not found.best.refused
    others = open_samples(sample.evaluation, model).take(64)
    chosen, plain = on_others(model, samples, others, found.recipe, Recipe())
    assert chosen > plain + 3.0


def test_the_order_of_samples_does_not_matter() -> None:
    model, samples = network("residual_cnn"), heavy("residual_cnn", 32, 2)
    shuffled = samples.select([int(i) for i in np.random.default_rng(1).permutation(len(samples))])
    first, second = (
        measured_default(model, calibrate(model, given, cache=False), given) for given in (samples, shuffled)
    )
    assert first.recipe == second.recipe
    assert [t.gains_db for t in first.trials] == [t.gains_db for t in second.trials]


def test_few_samples_choose_nothing() -> None:
    model, samples = network("shapes_cnn"), heavy("shapes_cnn", 4, 0)
    found = measured_default(model, calibrate(model, samples, cache=False), samples)
    assert found.best is found.trials[0]
    assert found.recipe.default.method is Method.MINMAX


def test_the_gain_asked_for_falls_with_the_samples_and_has_a_floor() -> None:
    assert least_gain(6) > least_gain(24) > least_gain(96) > MARGIN_DB
    assert least_gain(1000) == MARGIN_DB
    assert why_refused((3.0, 3.0, 3.0), 24) == ""
    assert why_refused((18.0, 16.0, -6.0), 24) == ""  # two parts have what the third lacks
    assert "loses 7.0 dB" in why_refused((12.0, 1.0, -7.0), 24)
    assert "wins only 1.0 dB" in why_refused((1.0, 1.0, 1.0), 24)
    assert "loses 1.2 dB" in why_refused((2.9, 0.5, -7.0), 24)
    assert why_refused((math.inf,) * 3, 24) == ""  # MinMax gives no finite outputs


def test_a_trial_that_makes_channels_constant_does_not_win() -> None:
    def trial(label: str, sqnr_db: float, lost: int = 0, refused: str = "") -> DefaultTrial:
        return DefaultTrial(
            choice=Choice(), label=label, sqnr_db=sqnr_db, cosine=1.0, lost=lost, refused=refused
        )

    def best(*trials: DefaultTrial) -> str:
        return MeasuredDefault(recipe=Recipe(), trials=trials, samples=8).best.label

    plain = trial("minmax", 20.0)
    assert best(plain, trial("a", 30.0, lost=1), trial("b", 25.0)) == "b"
    assert best(plain, trial("a", 30.0, refused="no"), trial("b", 25.0)) == "b"
    assert best(plain, trial("a", 30.0, refused="no")) == "minmax"
    assert best(trial("minmax", -math.inf), trial("a", 3.0)) == "a"


@pytest.mark.parametrize("weights", WeightMethod)
def test_plain_minmax_is_tried_whatever_the_recipe_says_and_nothing_twice(weights: WeightMethod) -> None:
    model, samples = network("shapes_cnn"), heavy("shapes_cnn", 4, 0)
    recipe = Recipe().with_default(method=Method.MSE, weight_method=weights)
    found = measured_default(model, calibrate(model, samples, cache=False), samples, recipe)
    first = found.trials[0].choice
    assert (first.method, first.weight_method) == (Method.MINMAX, WeightMethod.MINMAX)
    choices = [trial.choice for trial in found.trials]
    assert len(set(choices)) == len(choices)
    assert len({trial.label for trial in found.trials}) == len(choices)
    assert sum(choice.weight_method is not WeightMethod.MINMAX for choice in choices) == 1
