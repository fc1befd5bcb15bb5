"""What a mix of precisions must keep to: the point that a limit takes, in code and on the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from quantscope.core.data import Samples
from quantscope.core.errors import RecipeError
from quantscope.core.model import Model
from quantscope.core.recipe import Recipe, recipe_from_yaml
from quantscope.core.targets import Precision
from quantscope.core.thresholds import Method
from quantscope.core.tuning import AutotuneResult
from quantscope.core.tuning.mixed import Cost, Front, Point
from quantscope.sample_data import SAMPLES
from tests.networks import Net
from tests.support import Run

MLP = SAMPLES["digits_mlp"]


def point(size: int, sqnr: float, drop: float | None) -> Point:
    return Point(
        recipe=Recipe(),
        size_bytes=size,
        time=size / 1000,
        sqnr_db=sqnr,
        top1=None,
        agreement=None,
        drop=drop,
        layers=(),
    )


FRONT = Front(
    kind=Cost.SIZE,
    points=(point(400, 10.0, 8.0), point(600, 20.0, 0.5), point(900, 30.0, 1.0)),
    lowest=Precision.INT8,
    layers=3,
    float_bytes=1000,
    float_top1=None,
    labelled=True,
    rows=100,
    samples=100,
    held_out=True,
    searched=3,
    notes=(),
)


def test_a_point_is_found_by_what_it_must_do() -> None:
    cheap, middle, dear = FRONT.points
    assert FRONT.cheapest() is cheap
    assert FRONT.cheapest(max_drop=0.5) is middle
    assert FRONT.cheapest(min_sqnr=20.0) is middle
    assert FRONT.cheapest(max_drop=1.0, min_sqnr=25.0) is dear
    assert FRONT.best(600) is middle
    assert FRONT.best(899.0) is middle
    timed = replace(FRONT, kind=Cost.LATENCY)
    assert timed.best(0.95) is dear


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (
            {"max_drop": 0.1},
            "no point loses at most 0.1 points of top-1; the nearest loses 0.50, at 600 bytes",
        ),
        (
            {"min_sqnr": 40.0},
            "no point keeps 40 dB of SQNR; the nearest has 30.00 dB, at 900 bytes",
        ),
        (
            {"max_drop": 0.5, "min_sqnr": 25.0},
            "no point loses at most 0.5 points of top-1 and keeps 25 dB of SQNR; "
            "the nearest loses 1.00 and has 30.00 dB, at 900 bytes",
        ),
    ],
)
def test_where_nothing_is_good_enough_the_nearest_is_named(asked: dict[str, float], says: str) -> None:
    with pytest.raises(RecipeError, match=says.replace(".", r"\.")):
        FRONT.cheapest(**asked)


def test_a_budget_below_all_points_and_an_accuracy_without_classes_are_refused() -> None:
    with pytest.raises(RecipeError, match="cheapest point takes 400 bytes"):
        FRONT.best(399)
    blind = replace(FRONT, points=tuple(replace(p, drop=None) for p in FRONT.points))
    with pytest.raises(RecipeError, match="no class scores"):
        blind.cheapest(max_drop=1.0)


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tuning before the mix, which other tests are about, costs no time; it leaves a layer in float."""

    def climb(_model: Model, _samples: Samples, start: Recipe, *_: object, **__: object) -> AutotuneResult:
        recipe = start.with_default(method=Method.MSE).with_layer("fc1", precision=Precision.FLOAT)
        return AutotuneResult(recipe=recipe, steps=(), minmax_db=1.0, tuned_db=1.0, choosing=1, held_out=0)

    monkeypatch.setattr("quantscope.ui.cli.commands.tune.work.search", climb)


@pytest.mark.usefixtures("tuned")
def test_tune_writes_the_point_that_was_asked_for(tmp_path: Path, quantscope: Run) -> None:
    recipe, out = tmp_path / "r.yaml", tmp_path / "q.onnx"
    data = ("--data", MLP.calibration, "--limit", "30")
    fixed = ("--float-layer", "fc2")
    done = quantscope("tune", MLP.model, *data, *fixed, "-o", recipe, "--budget", "60%", "--json")
    assert done.code == 0, done.err
    front = done.json["front"]
    (taken,) = [p for p in front["points"] if p["taken"]]
    within = [p for p in front["points"] if p["size_bytes"] <= 0.6 * front["float"]["size_bytes"]]
    assert taken == within[-1]
    assert "fc1" not in taken["layers"]  # what tuning left in float is open again
    assert all("fc2" not in p["layers"] for p in front["points"])
    assert {"int16"}.isdisjoint(kind for p in front["points"] for kind in p["layers"].values())
    written = recipe_from_yaml(recipe.read_text(encoding="utf-8"))
    assert written.default.method is Method.MSE
    assert written.choice("fc2").precision is Precision.FLOAT
    assert all(written.choice(name).precision == kind for name, kind in taken["layers"].items())
    assert quantscope("quantize", MLP.model, *data, "--recipe", recipe, "-o", out).code == 0
    assert out.stat().st_size == pytest.approx(taken["size_bytes"], abs=200)


@pytest.mark.usefixtures("tuned")
def test_tune_shows_the_front_and_what_it_took(tmp_path: Path, quantscope: Run) -> None:
    data = ("--data", MLP.calibration, "--limit", "30")
    asked = ("--min-sqnr", "20", "--precisions", "int8,int16")
    done = quantscope("tune", MLP.model, *data, "-o", tmp_path / "r.yaml", *asked)
    assert done.code == 0, done.err
    assert done.out.count("\n*") == 1
    assert "not int8" in done.out
    assert "Taken: 95." in done.out
    assert "10 samples kept for judging" in done.out
    assert "16-bit" in done.out


@pytest.mark.usefixtures("tuned")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--budget", "10B"), "cheapest point takes"),
        (("--budget", "much"), "--budget"),
        (("--budget", "0%"), "--budget"),
        (("--budget", "50kB", "--cost", "latency"), "share of the float model's time"),
        (("--budget", "50%", "--cost", "energy"), "--cost"),
        (("--max-drop", "-1"), "--max-drop"),
        (("--max-drop", "few"), "--max-drop"),
        (("--min-sqnr", "nan"), "--min-sqnr"),
        (("--min-sqnr", "900", "--budget", "100kB"), "more than --budget"),
        (("--precisions", "int8,int3", "--budget", "50%"), "int3"),
        (("--precisions", "int8", "--budget", "50%"), "two or more"),
        (("--precisions", "int8,float"), "--max-drop"),
    ],
)
def test_wrong_limits_are_refused_in_one_line(
    tmp_path: Path, quantscope: Run, options: tuple[str, ...], says: str
) -> None:
    recipe = tmp_path / "r.yaml"
    done = quantscope("tune", MLP.model, "--data", MLP.calibration, "--limit", "18", "-o", recipe, *options)
    assert done.code == 2
    assert says in done.err.strip().splitlines()[-1]
    assert not recipe.exists()


def test_points_of_top1_are_refused_before_tuning_where_there_is_none(
    tmp_path: Path, quantscope: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("minutes are spent")

    monkeypatch.setattr("quantscope.ui.cli.activations.collect", never)
    n = Net()
    n.add("Relu", [n.conv("x", "c", 3, 4)], "y")
    onnx.save(n.model({"x": ["N", 3, 8, 8]}, {"y": ["N", 4, 8, 8]}), tmp_path / "dense.onnx")
    words = ("tune", tmp_path / "dense.onnx", "--random", 4, "-o", tmp_path / "r.yaml", "--max-drop", 1)
    done = quantscope(*words)
    assert done.code == 2
    assert "no output of 'dense' is known to hold class scores; where one does, labels tell" in done.err
    assert "--labels PATH (the model takes one class a position, (N, 8, 8), for 'y' (N, 4, 8, 8))" in done.err
    assert "--min-sqnr" in done.err
