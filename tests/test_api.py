"""`import quantscope as qs`: what is public, its examples, its results, and its agreement with the rest."""

from __future__ import annotations

import ast
import copy
import dataclasses
import doctest
import inspect
import os
import pickle
import shutil
import subprocess
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import plotly.graph_objects as go
import pytest

import quantscope as qs
from quantscope._table import Table
from quantscope.core.quant import ScaleRule
from quantscope.core.recipe import PASSES, recipe_from_yaml
from quantscope.core.targets import TARGETS, Granularity
from quantscope.core.thresholds import Method, WeightMethod
from quantscope.sample_data import SAMPLES
from tests.heads import HEADS, samples_for
from tests.sessions import session
from tests.support import ROOT, Run

SAMPLE = SAMPLES["digits_mlp"]
SIGNATURES = ROOT / "tests" / "api_signatures.txt"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files as the examples name them, and no statistics of earlier tests."""
    for name, file in (
        ("model.onnx", SAMPLE.model),
        ("calib.npz", SAMPLE.calibration),
        ("eval.npz", SAMPLE.evaluation),
    ):
        shutil.copy(file, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUANTSCOPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model() -> qs.Model:
    return qs.load(SAMPLE.model)


@pytest.fixture(scope="module")
def data(model: qs.Model) -> qs.Samples:
    return qs.open_data(SAMPLE.calibration, model)


# --- what is public ---


def test_importing_loads_nothing_heavy() -> None:
    heavy = ("numba", "numpy", "onnx", "onnxruntime", "onnx_ir", "pandas", "plotly", "streamlit", "typer")
    code = "import sys, quantscope as qs; dir(qs); "
    code += f"print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


def test_onnxruntime_reports_nothing(tmp_path: Path) -> None:
    """Its reports begin with an identifier and a queue of events in the user's cache folder."""
    home = tmp_path / "home"
    home.mkdir()
    gone = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    env = {name: value for name, value in os.environ.items() if name not in gone} | {"HOME": str(home)}
    code = "import os, quantscope as qs; qs.load('model.onnx'); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["1"]
    assert not [path for path in home.rglob("*") if "onnxruntime" in path.name]


def test_each_public_name_is_there() -> None:
    assert dir(qs) == sorted(qs.__all__)
    for name in qs.__all__:
        assert getattr(qs, name) is not None
    namespace: dict[str, Any] = {}
    exec("from quantscope import *", namespace)
    assert set(qs.__all__) <= set(namespace)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        qs.nonsense  # noqa: B018


def test_type_checkers_see_what_is_fetched() -> None:
    """The imports for type checkers, the homes of the names and `__all__` say the same."""
    tree = ast.parse((ROOT / "api" / "__init__.py").read_text(encoding="utf-8"))
    checking = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: str(node.module).removeprefix("quantscope.")
        for node in checking.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = {name: home for home, names in qs._HOMES.items() for name in names}
    assert seen == homes
    assert set(homes) == set(qs.__all__)


def signatures() -> str:
    """Every public name, with the signatures of functions and of methods, and the fields of records."""
    lines = []
    for name in sorted(qs.__all__):
        thing = getattr(qs, name)
        if not str(getattr(thing, "__module__", "")).startswith("quantscope._"):
            lines.append(name)  # of the engine, which has tests of its own
        elif inspect.isclass(thing):
            lines.append(f"class {name}")
            for attribute, value in sorted(vars(thing).items()):
                if attribute.startswith("_"):
                    continue
                if inspect.isfunction(value):
                    lines.append(f"    {attribute}{inspect.signature(value)}")
                else:
                    lines.append(f"    {attribute}")
        else:
            lines.append(f"{name}{inspect.signature(thing)}")
    return "\n".join(lines) + "\n"


def test_the_signatures_are_those_that_were_agreed_on() -> None:
    """Scripts rely on them: a change that is meant is written into the file, and into the changelog."""
    assert signatures() == SIGNATURES.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in qs.__all__ if name != "__version__"])
def test_each_public_thing_is_documented(name: str) -> None:
    said = inspect.getdoc(getattr(qs, name)) or ""
    assert len(said) > 20
    thing = getattr(qs, name)
    if inspect.isfunction(thing):
        for parameter in inspect.signature(thing).parameters:
            assert f"{parameter}: " in said, f"{name} does not say what {parameter} is"


EXAMPLES = [name for name in qs.__all__ if ">>>" in (inspect.getdoc(getattr(qs, name)) or "")]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_in_docstrings_run(name: str) -> None:
    model = qs.load("model.onnx")
    known = {"qs": qs, "np": np, "model": model, "data": qs.open_data("calib.npz", model)}
    (test,) = doctest.DocTestFinder(recurse=False).find(getattr(qs, name), name, globs=known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", qs.QuantScopeWarning)
        done = doctest.DocTestRunner().run(test)
    assert done.failed == 0
    assert done.attempted > 0


# --- results ---


@pytest.fixture(scope="module")
def results(model: qs.Model, data: qs.Samples) -> dict[str, Table]:
    """One result of every kind."""
    stats = qs.calibrate(model, data, cache=False)
    quantized = qs.quantize(
        model, data, qs.recipe(method="mse", passes=["bias_correction"]), calibration=stats
    )
    return {
        "inspection": qs.inspect(model),
        "calibration": stats,
        "tensor": stats["pixels"],
        "thresholds": stats["pixels"].thresholds(),
        "quantized": quantized,
        "comparison": qs.compare(model, quantized, data.take(16), latency=False),
        "sensitivity": qs.sensitivity(model, data, calibration=stats),
        "best default": qs.best_default(model, data, calibration=stats),
        "easyquant": qs.easyquant(model, data, calibration=stats),
        "mixed": qs.mixed_precision(model, data.take(24)),
        "tuning": qs.tune(model, data.take(24), budget="90%"),
    }


DRAWN = (
    "tensor",
    "thresholds",
    "comparison",
    "sensitivity",
    "best default",
    "mixed",
    "tuning",
)
KINDS = ("inspection", "calibration", "quantized", "easyquant", *DRAWN)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_result_is_a_table_a_line_and_html(results: dict[str, Table], kind: str) -> None:
    result = results[kind]
    table = result.to_pandas()
    assert isinstance(table, pd.DataFrame)
    assert len(table)
    line = repr(result)
    assert "\n" not in line
    assert len(line) < 260
    page = result._repr_html_()
    assert "<table" in page
    assert type(result).__name__ in page


@pytest.mark.slow
@pytest.mark.parametrize("kind", DRAWN)
def test_a_result_that_the_app_draws_is_drawn(results: dict[str, Table], kind: str) -> None:
    result: Any = results[kind]
    figure = result.plot()
    assert isinstance(figure, go.Figure)
    assert figure.data


@pytest.mark.slow
def test_results_cannot_be_changed(results: dict[str, Table]) -> None:
    for result in results.values():
        field = next(iter(result.__dataclass_fields__))  # type: ignore[attr-defined]
        with pytest.raises(AttributeError):
            setattr(result, field, None)


@pytest.mark.slow
def test_names_are_escaped_in_notebooks(results: dict[str, Table]) -> None:
    stats = results["calibration"]
    assert isinstance(stats, qs.Calibration)
    hostile = "<script>alert(1)</script>"
    tensor = qs.TensorStatistics(name=hostile, histogram=stats["pixels"].histogram)
    assert "<script>" not in tensor._repr_html_()
    assert "<script>" not in (tensor.plot().to_json() or "").replace("\\u003c", "<")
    other = stats.statistics.histograms | {hostile: stats["pixels"].histogram}  # type: ignore[operator]
    statistics = dataclasses.replace(stats.statistics, histograms=other)
    page = qs.Calibration(model=stats.model, statistics=statistics)._repr_html_()
    assert hostile not in page
    assert "&lt;script&gt;" in page


@pytest.mark.slow
def test_statistics_are_found_by_tensor_and_by_layer(results: dict[str, Table], model: qs.Model) -> None:
    stats = results["calibration"]
    assert isinstance(stats, qs.Calibration)
    recorded = [layer for layer in model.layers if layer.output in list(stats)]
    assert recorded
    for layer in recorded:
        assert stats[layer.name].name == layer.output
    assert "nonsense" not in stats
    with pytest.raises(KeyError, match="did you mean 'pixels'"):
        stats["pixel"]


def test_thresholds_agree_with_the_command_line(quantscope: Run, tmp_path: Path) -> None:
    values = np.random.default_rng(1).laplace(size=20_000)
    np.save(tmp_path / "values.npy", values)
    said = quantscope("thresholds", tmp_path / "values.npy", "--json").json
    found = qs.thresholds(values)
    assert set(found) == set(said)
    for name, threshold in found.items():
        for field in ("low", "high", "scale", "zero_point", "mse"):
            assert getattr(threshold, field) == said[name][field]


def test_values_that_cannot_be_quantized_are_left_out_and_said() -> None:
    with pytest.warns(qs.QuantScopeWarning, match="2 of 5 values are NaN, infinite"):
        found = qs.thresholds([0.0, 1.0, np.nan, np.inf, -1.0])
    assert found["minmax"].high == 1.0
    with pytest.raises(qs.DataError, match="no finite value"):
        qs.thresholds([np.nan])


@pytest.mark.slow
def test_a_quantized_model_runs(results: dict[str, Table], data: qs.Samples) -> None:
    quantized = results["quantized"]
    assert isinstance(quantized, qs.QuantizedModel)
    (scores,) = session(quantized.to_bytes()).run(None, data[0])
    assert scores.shape == (1, 10)
    assert quantized.size_bytes == len(quantized.to_bytes()) < quantized.model.size_bytes
    assert any("bias" in line for line in quantized.log)


# --- agreement with the command line and the app ---

CHOICES = [
    ([], {}, None),
    (["--method", "kl"], {"method": "kl"}, ()),
    (["--percentile", "99.9", "--weights", "per-tensor"], {"percentile": 99.9, "weights": "per-tensor"}, ()),
    (["--method", "mse", "--symmetric", "--target", "onnxruntime-any-x86"],
     {"method": "mse", "symmetric": True, "target": "onnxruntime-any-x86"}, ()),
]  # fmt: skip


DOUBTFUL = pytest.mark.filterwarnings("ignore::quantscope.QuantScopeWarning")  # MinMax would be closer


@DOUBTFUL
@pytest.mark.parametrize(("flags", "choices", "given"), CHOICES, ids=lambda value: str(value)[:30])
def test_the_same_choices_give_the_same_files(
    quantscope: Run, tmp_path: Path, flags: list[str], choices: dict[str, Any], given: object
) -> None:
    files = ("--data", "calib.npz", "-o", "cli.onnx", "--save-recipe", "cli.yaml")
    done = quantscope("quantize", "model.onnx", *files, *flags)
    assert done.code == 0, done.err
    model = qs.load("model.onnx")
    recipe = None if given is None else qs.recipe(**choices, model=model)
    quantized = qs.quantize(model, "calib.npz", recipe)
    quantized.save("api.onnx")
    qs.save_recipe(quantized.recipe, "api.yaml")
    assert Path("api.onnx").read_bytes() == Path("cli.onnx").read_bytes()
    assert Path("api.yaml").read_bytes() == Path("cli.yaml").read_bytes()


@pytest.mark.slow
@DOUBTFUL
def test_a_recipe_goes_from_a_script_to_the_command_line_and_back(quantscope: Run) -> None:
    layers = {"fc1": {"method": "kl", "precision": "int16"}, "fc2": {"range": (-1.5, 6.0)}}
    made = qs.recipe(
        method="percentile",
        percentile=99.9,
        layers=layers,
        float_layers=["fc3"],
        passes=["equalize", {"rounding": {"samples": 32}}],
        model="model.onnx",
    )
    qs.save_recipe(made, "r.yaml")
    done = quantscope(
        "quantize", "model.onnx", "--data", "calib.npz", "--recipe", "r.yaml", "-o", "cli.onnx",
        "--save-recipe", "again.yaml",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert qs.load_recipe("again.yaml") == made
    assert Path("again.yaml").read_bytes() == Path("r.yaml").read_bytes()
    assert qs.quantize("model.onnx", "calib.npz", "r.yaml").to_bytes() == Path("cli.onnx").read_bytes()


def test_statistics_of_the_command_line_serve(quantscope: Run, model: qs.Model) -> None:
    assert quantscope("calibrate", "model.onnx", "--data", "calib.npz", "-o", "stats.npz").code == 0
    stats = qs.load_calibration("stats.npz", model)
    assert stats.statistics == qs.calibrate(model, "calib.npz").statistics
    recipe = qs.recipe(method="kl")
    assert qs.quantize(model, recipe=recipe, calibration=stats).recipe == recipe
    stats.save("again.npz")
    assert qs.load_calibration("again.npz", model).statistics == stats.statistics


def test_a_recipe_reads_as_it_was_written() -> None:
    made = qs.recipe(method="KL", weights="per-tensor", layers={"a": {"weight_factors": (1.0, 2.0)}})
    qs.save_recipe(made, "r.yaml")
    text = Path("r.yaml").read_text(encoding="utf-8")
    assert recipe_from_yaml(text) == made
    assert made.layers["a"].weight_factors == (1.0, 2.0)


def test_recipes_go_to_other_processes_and_copy(model: qs.Model) -> None:
    made = qs.recipe(layers={"fc1": {"range": (0, 1)}}, passes=[{"smooth": {"alpha": 0.7}}], model=model)
    assert pickle.loads(pickle.dumps(made)) == made
    assert copy.deepcopy(made) == made


def test_an_unknown_method_of_thresholds_names_the_others() -> None:
    with pytest.raises(KeyError, match="called 'best'; there are minmax"):
        qs.thresholds([1.0, 2.0])["best"]


def test_one_name_alone_is_a_list_of_one() -> None:
    assert qs.recipe(float_layers="fc1") == qs.recipe(float_layers=["fc1"])
    assert qs.recipe(passes="rotate") == qs.recipe(passes=["rotate"])
    assert qs.recipe(passes={"smooth": {"alpha": 0.7}}) == qs.recipe(passes=[{"smooth": {"alpha": 0.7}}])


@pytest.mark.slow
def test_tuning_writes_the_recipe_of_the_command_line(quantscope: Run) -> None:
    limit = ("--limit", 24)
    done = quantscope(
        "tune", "model.onnx", "--data", "calib.npz", *limit, "-o", "cli.yaml", "--budget", "90%"
    )
    assert done.code == 0, done.err
    found = qs.tune("model.onnx", qs.open_data("calib.npz", "model.onnx", limit=24), budget="90%")
    qs.save_recipe(found.recipe, "api.yaml")
    assert Path("api.yaml").read_bytes() == Path("cli.yaml").read_bytes()
    assert found.front is not None
    assert found.recipe == found.front.recipe


def test_a_comparison_has_the_figures_of_the_command_line(quantscope: Run, model: qs.Model) -> None:
    qs.quantize(model, "calib.npz", qs.recipe(method="mse")).save("q.onnx")
    said = quantscope("compare", "model.onnx", "q.onnx", "--data", "eval.npz", "--limit", 64, "--json").json
    found = qs.compare(model, "q.onnx", qs.open_data("eval.npz", model, limit=64))
    assert found.sqnr_db == said["output"]["sqnr_db"]
    assert found.accuracy is not None
    assert found.accuracy.quantized_top1 == said["accuracy"]["quantized"]
    assert list(found.to_pandas()["layer"]) == [layer["name"] for layer in said["layers"]]
    assert found.latency is not None


def test_a_ranking_is_that_of_the_command_line(quantscope: Run, model: qs.Model) -> None:
    said = quantscope("sensitivity", "model.onnx", "--data", "calib.npz", "--kind", "disable", "--json").json
    found = qs.sensitivity(model, "calib.npz", kind="disable")
    assert [score.name for score in found.ranking] == [row["name"] for row in said["ranking"]]
    assert [score.value for score in found.ranking] == [row["value"] for row in said["ranking"]]
    assert found.whole["all"] == said["whole"]["all"]["value"]
    sentences = [cause["sentence"] for layer in said["layers"] for cause in layer["causes"]]
    assert [cause.sentence for causes in found.causes.values() for cause in causes] == sentences


@pytest.mark.slow
def test_remedies_are_measured_as_by_the_command_line(quantscope: Run, model: qs.Model) -> None:
    said = quantscope("sensitivity", "model.onnx", "--data", "calib.npz", "--measure", "--json").json
    wanted = {
        remedy["label"]: remedy["measured"]["gain_db"]
        for layer in said["layers"]
        for cause in layer["causes"]
        for remedy in cause["remedies"]
        if remedy["fix"]  # of the whole model, and so one for all layers
    }
    found = qs.sensitivity(model, "calib.npz", measure=True)
    assert found.remedies
    assert {one.label: one.gain_db for one in found.remedies if not one.layer} == wanted
    gains = [one.gain_db for one in found.remedies if one.gain_db is not None]
    assert gains == sorted(gains, reverse=True)
    assert all(one.recipe != qs.recipe() for one in found.remedies)


# --- arguments that make no sense ---


ERRORS: dict[str, tuple[type[Exception], str]] = {
    "qs.load('none.onnx')": (qs.ModelError, "none.onnx"),
    "qs.open_data(None, model)": (qs.DataError, "random_data"),
    "qs.open_data('none.npz', model)": (qs.DataError, "does not exist"),
    "qs.open_data('calib.npz', model, labels=[1])": (qs.DataError, "1 label for 192 samples"),
    "qs.open_data('calib.npz', model, labels=np.full(192, 10))": (qs.DataError, "give class indices"),
    "qs.compare(model, 'model.onnx', data, labels=[1])": (qs.DataError, "open_data"),
    "qs.random_data(model, 0)": (qs.DataError, "at least one sample"),
    "qs.recipe(method='best')": (qs.RecipeError, "default: method should be one of minmax"),
    "qs.recipe(percentile=10)": (qs.RecipeError, "50 to 100"),
    "qs.recipe(passes=['magic'])": (qs.RecipeError, "unknown pass 'magic'"),
    "qs.recipe(target='tpu')": (qs.RecipeError, "unknown target"),
    "qs.recipe(layers={'fc9': {'method': 'kl'}}, model=model)": (qs.RecipeError, "did you mean 'fc"),
    "qs.recipe(layers={'fc1': 'float'})": (qs.RecipeError, "a layer's choice is a dict"),
    "qs.load(None)": (qs.ModelError, r"the path or content of a model, .* not NoneType"),
    "qs.calibrate(onnx.load('model.onnx'), data)": (qs.ModelError, r"not ModelProto; give proto.Serialize"),
    "qs.quantize(model, data, {'method': 'kl'})": (qs.RecipeError, r"as recipe\(\) makes it, .* not dict"),
    "qs.quantize(model, data, 'kl')": (qs.RecipeError, r"for a method, say qs\.recipe\(method='kl'\)"),
    "qs.quantize(model, data, calibration=3)": (qs.DataError, r"what calibrate\(\) gives, .* not int"),
    "qs.compare(model, model, data)": (qs.ModelError, r"what quantize\(\) gives, .* not Model"),
    "qs.thresholds([[1], [2, 3]])": (qs.DataError, "parts of different shapes"),
    "qs.recipe(layers=['fc1'])": (qs.RecipeError, "layers is a dict such as"),
    "qs.recipe(layers={'fc1': {'range': 3}})": (qs.RecipeError, r"a pair \(low, high\)"),
    "qs.load_recipe('none.yaml')": (qs.RecipeError, "cannot be read"),
    "qs.save_recipe(qs.recipe(), 'none/r.yaml')": (qs.ExportError, "cannot be written"),
    "qs.quantize(model)": (qs.DataError, "there are no samples"),
    "qs.quantize(model, data, qs.recipe(method='kl')).save('q.txt')": (qs.ExportError, "should end in .onnx"),
    "qs.quantize('model.onnx', data, qs.recipe()).save('model.onnx')": (qs.ExportError, "would be lost"),
    "qs.quantize(model, recipe=qs.recipe(passes=['rotate']), calibration=qs.calibrate(model, data))": (
        qs.DataError,
        "give samples too",
    ),
    "qs.compare(model, 'none.onnx', data)": (qs.ModelError, "there is no file"),
    "qs.sensitivity(model, data, kind='all')": (qs.RecipeError, "enable, disable, op_type"),
    "qs.sensitivity(model, data, metric='mse')": (qs.RecipeError, "sqnr, cosine"),
    "qs.sensitivity(model, data, samples=0)": (qs.DataError, "at least one sample"),
    "qs.thresholds([1.0], type='int1')": (qs.RecipeError, "int2 to int16"),
    "qs.thresholds(['a'])": (qs.DataError, "of numbers"),
    "qs.thresholds([1.0], percentile=5)": (qs.RecipeError, "50 to 100"),
    "qs.thresholds([1.0], scale_rule='any')": (qs.RecipeError, "free"),
    "qs.tune(model, data, precisions=['int8', 'float'])": (qs.RecipeError, "max_drop, min_sqnr or budget"),
    "qs.tune(model, data, max_drop=200)": (qs.RecipeError, "0 to 100"),
    "qs.tune(model, data, budget='much')": (qs.RecipeError, "500kB"),
    "qs.tune(model, data, budget='2MB', cost='latency')": (qs.RecipeError, "60%"),
    "qs.tune(model, data, budget=-1)": (qs.RecipeError, "positive"),
    "qs.mixed_precision(model, data, budget=0.6)": (
        qs.RecipeError,
        "below one byte; a share of float is '60%'",
    ),
    "qs.tune(model, data, min_sqnr=30, cost='time')": (qs.RecipeError, "size, latency"),
    "qs.mixed_precision(model, data, precisions=['int8'])": (qs.RecipeError, "two or more"),
    "qs.mixed_precision(model, data, precisions=['int4', 'float'])": (qs.RecipeError, "int8, int16, float"),
    "qs.easyquant(model, data, qs.recipe(passes=['rotate']))": (qs.RecipeError, "use one of them"),
    "qs.calibrate(model, data, threads=0)": (qs.DataError, "at least one thread"),
    "qs.calibrate(model, data).save('stats.txt')": (qs.ExportError, "should end in .npz"),
    "qs.load_calibration('calib.npz', model)": (qs.DataError, "holds no statistics"),
}


@DOUBTFUL
@pytest.mark.parametrize("call", ERRORS)
def test_bad_arguments_say_what_to_do(call: str, model: qs.Model, data: qs.Samples) -> None:
    kind, said = ERRORS[call]
    with pytest.raises(kind, match=said) as caught:
        eval(call, {"qs": qs, "np": np, "onnx": onnx, "model": model, "data": data})
    assert isinstance(caught.value, qs.QuantScopeError)


def test_warnings_point_at_the_line_that_called(model: qs.Model) -> None:
    with pytest.warns(qs.QuantScopeWarning) as caught:
        qs.random_data(model, 4)
    assert {Path(one.filename).name for one in caught} == {"test_api.py"}


@pytest.mark.slow
def test_lost_outputs_are_said_in_python_with_the_recipe_that_helps() -> None:
    model = qs.load(HEADS["joined_first"]().SerializeToString())
    data = qs.open_data(samples_for("joined_first"), model)
    with pytest.warns(qs.QuantScopeWarning) as told:
        lossy = qs.quantize(model, data, qs.recipe())
    assert [str(one.message) for one in told] == list(lossy.warnings)
    assert "vary in the float model" in lossy.warnings[0]
    assert "leaving 'cat_Concat' in float helps" in lossy.warnings[1]
    assert lossy.warnings[1].endswith("The recipe with it is the result's `remedy`")
    assert "2 warnings" in repr(lossy)
    assert lossy.remedy is not None
    mended = qs.quantize(model, data, lossy.remedy)  # warns of nothing
    assert (mended.warnings, mended.remedy) == ((), None)
    with pytest.warns(qs.QuantScopeWarning, match="vary in the float model") as told:
        compared = qs.compare(model, lossy, data, latency=False)
    assert not any("--" in said for said in (*lossy.warnings, *compared.warnings))
    assert compared.outputs[0].name == "y"


def test_a_method_that_minmax_beats_is_named(model: qs.Model, data: qs.Samples) -> None:
    with pytest.warns(qs.QuantScopeWarning, match=r"kl gives .* and minmax .*; best_default\(\) finds"):
        qs.quantize(model, data, qs.recipe(method="kl"))
    qs.quantize(model, data, qs.recipe(method="kl"), judge=False)  # runs nothing, so warns of nothing


def test_a_model_that_stays_float_says_so(model: qs.Model, data: qs.Samples) -> None:
    names = [layer.name for layer in model.layers]
    with pytest.warns(
        qs.QuantScopeWarning, match="leaves all layers .* in float, so this is the float model"
    ):
        made = qs.quantize(model, data, qs.recipe(float_layers=names, model=model))
    empty = made.to_pandas()
    assert (len(empty), list(empty.columns[:3])) == (0, ["tensor", "kind", "layer"])


# --- progress and interruption ---


def test_progress_is_told_to_a_function(model: qs.Model, data: qs.Samples) -> None:
    told: list[qs.Progress] = []
    qs.calibrate(model, data.take(8), cache=False, progress=told.append)
    assert told[-1].done == told[-1].total == 8


def test_nothing_is_printed_where_nobody_looks(
    model: qs.Model, data: qs.Samples, capsys: pytest.CaptureFixture[str]
) -> None:
    qs.calibrate(model, data.take(8), cache=False)
    qs.calibrate(model, data.take(8), cache=False, progress=False)
    assert capsys.readouterr() == ("", "")


class Notebook(types.ModuleType):
    """Stands in for IPython in a notebook: `shown` is what the cell shows, in turn."""

    def __init__(self) -> None:
        super().__init__("IPython")
        self.shown: list[str] = []
        self.display = types.ModuleType("IPython.display")
        self.display.__dict__.update(HTML=str, display=self.show)

    def get_ipython(self) -> object:
        return types.SimpleNamespace(kernel=object())

    def show(self, text: str, *, display_id: bool) -> object:
        assert display_id
        self.shown.append(text)
        return types.SimpleNamespace(update=self.shown.append)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    made = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", made)
    monkeypatch.setitem(sys.modules, "IPython.display", made.display)
    monkeypatch.setattr("quantscope._progress._SECONDS", 0.0)
    return made


def test_a_notebook_shows_a_bar_that_goes(notebook: Notebook, model: qs.Model, data: qs.Samples) -> None:
    qs.calibrate(model, data.take(8), cache=False)
    assert notebook.shown[0] == "<progress></progress> calibrating"
    assert '<progress value="8" max="8"></progress> calibrating 8 of 8' in notebook.shown
    assert notebook.shown[-1] == ""
    notebook.shown.clear()
    qs.calibrate(model, data.take(8), cache=False, progress=False)
    assert notebook.shown == []


@pytest.mark.slow
@pytest.mark.parametrize("reason", [KeyboardInterrupt, qs.Cancelled])
def test_an_interrupt_stops_the_work(
    notebook: Notebook, model: qs.Model, data: qs.Samples, reason: type[BaseException]
) -> None:
    def stop(progress: qs.Progress) -> None:
        if progress.done >= 3:
            raise reason

    before = threading.active_count()
    for work in (qs.calibrate, qs.tune, qs.sensitivity, qs.best_default):
        with pytest.raises(reason):
            work(model, data.take(24), cache=False, progress=stop)  # type: ignore[operator]
    assert threading.active_count() == before


# --- the tour ---


def blocks(page: Path) -> list[str]:
    """The Python of a page, block by block."""
    parts = page.read_text(encoding="utf-8").split("```")[1::2]
    return [part.removeprefix("python\n") for part in parts if part.startswith("python\n")]


@pytest.mark.slow
def test_the_tour_runs() -> None:
    """docs/python.md from its first block to its last, as a notebook made of it would; charts included."""
    found = blocks(ROOT / "docs" / "python.md")
    assert len(found) > 15
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", qs.QuantScopeWarning)
        for number, block in enumerate(found):
            exec(compile(block, f"docs/python.md, block {number}", "exec"), names)
    assert names["after"].accuracy.quantized_top1 > names["before"].accuracy.quantized_top1 + 0.02
    assert Path("digits.int8.onnx").stat().st_size == names["q"].size_bytes


def test_the_tour_names_every_function_and_every_choice() -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    functions = [name for name in qs.__all__ if inspect.isfunction(getattr(qs, name))]
    missing = [name for name in functions if name not in text]
    assert missing == []
    said = inspect.getdoc(qs.recipe) or ""
    choices = [
        *(m.value for m in Method if m is not Method.MANUAL),
        *(m.value for m in WeightMethod),
        *(rule.value for rule in ScaleRule),
        *(kind.value for kind in Granularity),
        *TARGETS,
        *PASSES,
    ]
    for choice in choices:
        assert choice in text, choice
        assert choice in said, choice
