"""The Playground: the same data for the same seed, links that bring everything back, and pages that draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hyp
from streamlit.testing.v1 import AppTest

from quantscope.core.playground import (
    BITS,
    DISTRIBUTIONS,
    compare_kl_admm,
    draw,
    histogram_of_draw,
    sqnr_by_bits,
    staircase,
)
from quantscope.core.playground.distributions import MAX_SIZE
from quantscope.core.quant import INT8, QuantSpec, QuantType, Range, encoding_from_range, fake_quantize
from quantscope.core.thresholds import Method, errors_at, linear_codebook
from quantscope.ui.content import lesson
from quantscope.ui.content.lesson import (
    PLAYED,
    PRESETS,
    SIZES,
    Settings,
    finding,
    from_query,
    query_text,
    to_query,
)
from quantscope.ui.content.tensor_view import LABELS
from quantscope.ui.figures.bits import bits_figure
from quantscope.ui.figures.draws import draws_figure
from quantscope.ui.figures.staircase import staircase_figure
from quantscope.ui.server.launch import SCRIPT as APP
from tests.pages import home as home  # a fixture

SYMMETRIC = QuantSpec(type=INT8, symmetric=True)


# --- data ---


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_seed_gives_the_same_data_and_another_one_others(name: str) -> None:
    first, again, other = (draw(name, size=5000, seed=seed) for seed in (3, 3, 4))
    assert first.dtype == np.float32
    assert first.shape == (5000,)
    assert np.isfinite(first).all()
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) == (name in {"constant", "spikes"})


def test_parameters_shape_the_data() -> None:
    x = draw("normal", size=100_000, seed=0, mean=5.0, sigma=0.5)
    assert x.mean() == pytest.approx(5.0, abs=0.01)
    assert x.std() == pytest.approx(0.5, rel=0.02)
    x = draw("outliers", size=100_000, seed=0, per_million=100.0, factor=1000.0)
    assert (np.abs(x) > 10.0).sum() <= 10
    assert np.mean(draw("zeros", size=100_000, share=0.3) == 0.0) == pytest.approx(0.3, abs=0.01)
    assert draw("negative", gap=2.0, size=1000).max() < -2.0
    x = draw("softmax", size=10_000)
    assert x.reshape(-1, 100).sum(axis=1) == pytest.approx(1.0)


def test_parameters_are_kept_within_their_bounds() -> None:
    assert DISTRIBUTIONS["normal"].values({"sigma": -3.0, "other": 1.0}) == {"mean": 0.0, "sigma": 0.001}
    assert np.isfinite(draw("uniform", size=10, low=5.0, high=-5.0)).all()


@pytest.mark.parametrize(("name", "size"), [("nothing", 10), ("normal", 0), ("normal", MAX_SIZE + 1)])
def test_what_cannot_be_drawn_is_said(name: str, size: int) -> None:
    with pytest.raises(ValueError, match=r"distribution|values"):
        draw(name, size=size)


# --- staircase, bits, experiment ---


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_staircase_is_the_quantizer(bits: int, symmetric: bool) -> None:
    encoding = encoding_from_range(
        Range(-1.0, 2.0), QuantSpec(type=QuantType(bits, True), symmetric=symmetric)
    )
    found = staircase(linear_codebook(encoding), -3.3, 4.2)
    assert found.whole
    assert found.shown == encoding.qmax - encoding.qmin + 1
    assert (found.x[0], found.x[-1]) == (-3.3, 4.2)
    middles = (found.x[::2] + found.x[1::2]) / 2
    assert np.array_equal(found.y[::2], found.y[1::2])
    assert found.y[::2] == pytest.approx(fake_quantize(middles, encoding), rel=1e-6)


def test_too_many_steps_are_thinned_out() -> None:
    encoding = encoding_from_range(Range(-1.0, 1.0), QuantSpec(type=QuantType(16, True), symmetric=True))
    found = staircase(linear_codebook(encoding), -2.0, 2.0)
    assert not found.whole
    assert found.shown == 65536
    assert found.x.size < 3000
    assert (found.x[0], found.x[-1]) == (-2.0, 2.0)


def test_a_bit_is_worth_six_decibels() -> None:
    h = histogram_of_draw(draw("uniform", size=50_000))
    (curve,) = sqnr_by_bits(h, SYMMETRIC, (Method.MINMAX,))
    assert curve.bits == BITS
    assert np.diff(curve.sqnr_db)[5:] == pytest.approx(6.02, abs=0.1)
    figure = bits_figure([curve], ["MinMax"], 8)
    assert "dB" in figure.layout.yaxis.title.text
    assert list(figure.data[0].x) == list(BITS)


def test_the_experiment_reports_what_the_methods_choose() -> None:
    draws = compare_kl_admm(size=20_000, seeds=(5, 6, 7))
    assert [d.seed for d in draws] == [5, 6, 7]
    for d in draws:
        x = draw("normal", size=20_000, seed=d.seed).astype(np.float64)
        bounds = abs(x.mean() - 3 * x.std()), abs(x.mean() + 3 * x.std())
        assert d.bound == pytest.approx(max(bounds), rel=1e-6)
        assert d.mse[Method.MSE] <= min(d.mse.values())
        for method, threshold in d.thresholds.items():
            error = errors_at(d.histogram, Range(-threshold, threshold), SYMMETRIC)
            assert error.mse == pytest.approx(d.mse[method])
    said = finding(draws)
    wider = sum(d.thresholds[Method.KL] > d.thresholds[Method.ADMM] for d in draws)
    assert (f"in {wider} of 3" in said) if wider in (1, 2) else ("in every draw" in said)
    table = lesson.draw_table(draws)
    assert table["3σ bound"] == [round(d.bound, 3) for d in draws]
    assert {"KL", "ADMM", "MNN/kl", "MNN/admm"} <= set(table)
    figure = draws_figure(draws)
    lines = [trace for trace in figure.data if trace.name == "KL"]
    assert [line.x[0] for line in lines] == [d.thresholds[Method.KL] for d in draws]


def test_the_finding_follows_the_numbers() -> None:
    shifted = finding(compare_kl_admm(size=2_000, seeds=(0, 1, 2), mean=3.0))
    plain = finding(compare_kl_admm(size=200_000, seeds=(0, 1, 2)))
    assert shifted != plain
    assert "KL chooses the wider range in every draw" in plain
    assert "ADMM moves less from draw to draw" in plain


def test_staircase_figure_says_what_is_on_it() -> None:
    h = histogram_of_draw(draw("relu", size=5000))
    encoding = encoding_from_range(Range(0.0, 3.0), QuantSpec(type=QuantType(3, False), symmetric=False))
    found = staircase(linear_codebook(encoding), -1.0, 4.0)
    figure = staircase_figure(found, h, -1.0, 4.0)
    steps = next(trace for trace in figure.data if trace.name == "quantizer")
    assert len(set(steps.y)) == 8
    assert figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text


# --- links ---


@given(
    distribution=hyp.sampled_from(sorted(DISTRIBUTIONS)),
    share=hyp.floats(0, 1),
    size=hyp.sampled_from(SIZES),
    seed=hyp.integers(0, lesson.SEEDS),
    bits=hyp.sampled_from(BITS),
    flags=hyp.tuples(*[hyp.booleans()] * 4),
    method=hyp.sampled_from([*PLAYED, Method.MANUAL]),
    ends=hyp.tuples(hyp.floats(-50, 0), hyp.floats(0.01, 50)),
)
def test_a_link_brings_everything_back(
    distribution: str,
    share: float,
    size: int,
    seed: int,
    bits: int,
    flags: tuple[bool, ...],
    method: Method,
    ends: tuple[float, float],
) -> None:
    p = DISTRIBUTIONS[distribution].parameters[0]
    signed, symmetric, shown, tools = flags
    before = Settings(
        distribution=distribution,
        parameters={p.name: p.low + share * (p.high - p.low)},
        size=size,
        seed=seed,
        bits=bits,
        signed=signed,
        symmetric=symmetric,
        method=method,
        low=ends[0] if method is Method.MANUAL else None,
        high=ends[1] if method is Method.MANUAL else None,
        experiment=shown,
        tools=tools,
    )
    after = from_query(to_query(before))
    assert after.values == before.values
    assert to_query(after) == to_query(before)
    assert (after.spec, after.choice, after.data) == (before.spec, before.choice, before.data)


@pytest.mark.parametrize(
    "query",
    [
        {"distribution": "<script>", "bits": "99", "size": "-4", "seed": "nan", "method": "magic"},
        {"method": "manual"},
        {"method": "manual", "low": "3", "high": "1"},
        {"p_sigma": "inf", "signed": "maybe", "bits": "", "low": "x"},
    ],
)
def test_a_broken_link_opens_the_page_all_the_same(query: dict[str, str]) -> None:
    found = from_query(query)
    assert found.distribution == "normal"
    assert found.method in PLAYED
    assert found.values == Settings().values
    assert 2 <= found.bits <= 16
    assert SIZES[0] <= found.size <= SIZES[-1]


def test_presets_have_names_and_links_of_their_own() -> None:
    assert len({preset.label for preset in PRESETS}) == len(PRESETS)
    assert len({query_text(preset.settings) for preset in PRESETS}) == len(PRESETS)
    assert any(preset.settings.experiment for preset in PRESETS)


# --- the page ---


def opened(**query: str) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=60)
    app.session_state["go"] = "playground"
    app.run()
    if query:  # as if the page had been opened by this link: a change of page drops what follows the "?"
        del app.session_state["playground"]
        app.query_params.clear()
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
    return healthy(app)


def healthy(app: AppTest) -> AppTest:
    assert not app.exception
    assert [e.value for e in app.error] == []
    assert app.title[0].value == "Playground"
    return app


def settings(app: AppTest) -> Settings:
    found: Settings = app.session_state["playground"]
    return found


def test_it_works_without_a_model_and_shows_the_lesson() -> None:
    app = opened()
    assert settings(app) == Settings()
    headings = [entry.value for entry in app.subheader]
    assert {"The staircase", "What a bit is worth", "Grids of other kinds"} <= set(headings)
    table = app.dataframe[-1].value
    assert list(table["algorithm"]) == [LABELS[method] for method in PLAYED]
    assert "★" in set(table["best"])


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.label)
def test_presets_draw_and_are_found_again_by_their_link(preset: Any) -> None:
    app = opened()
    healthy(app.selectbox(key="play_preset").set_value(preset.label).run())
    assert settings(app) == preset.settings
    again = opened(**to_query(preset.settings))
    assert query_text(settings(again)) == query_text(preset.settings)
    assert again.selectbox(key="play_preset").value == preset.label


def test_the_experiment_shows_three_draws_and_a_sentence() -> None:
    app = opened(experiment="1", size="20000")
    assert any("three draws" in entry.value for entry in app.subheader)
    assert list(app.dataframe[0].value["seed"]) == [0, 1, 2]
    draws = compare_kl_admm(size=20_000, seeds=(0, 1, 2))
    assert any(finding(draws) in entry.value for entry in app.markdown)


def test_a_type_that_the_browser_lost_changes_nothing() -> None:
    app = opened(size="5000")
    before = settings(app)
    for key, shown in (("play_sign", "signed"), ("play_symmetry", "symmetric")):
        assert app.segmented_control(key=key).value == shown
        app.segmented_control(key=key).set_value(None).run()
        healthy(app)
        assert app.segmented_control(key=key).value == shown
        assert settings(app) == before


def test_changes_of_type_bits_and_seed_are_in_the_link() -> None:
    app = opened(size="5000")
    app.slider(key="play_bits").set_value(3).run()
    app.number_input(key="play_seed").set_value(12).run()
    app.segmented_control(key="play_sign").set_value("unsigned").run()
    app.segmented_control(key="play_symmetry").set_value("asymmetric").run()
    app.number_input(key="play_normal_sigma").set_value(2.5).run()
    app.selectbox(key="play_method").set_value("KL").run()
    healthy(app)
    query = {name: app.query_params[name] for name in app.query_params}
    assert query == {
        "distribution": "normal",
        "size": "5000",
        "bits": "3",
        "seed": "12",
        "signed": "0",
        "symmetric": "0",
        "p_sigma": "2.5",
        "method": "kl",
    }
    app.selectbox(key="play_distribution").set_value("relu").run()
    assert "p_sigma" not in app.query_params  # it was the other distribution's
    assert settings(healthy(app)).values == DISTRIBUTIONS["relu"].values({})


def test_a_range_by_hand_starts_from_the_one_that_was_shown() -> None:
    app = opened(size="5000", method="minmax")
    app.selectbox(key="play_method").set_value("Manual").run()
    peak = float(np.abs(draw("normal", size=5000)).max())
    assert (settings(healthy(app)).low, settings(app).high) == (-peak, peak)
    app.selectbox(key="play_distribution").set_value("uniform").run()
    assert settings(healthy(app)).method is Method.MSE


@pytest.mark.parametrize("bits", ["2", "8", "16"])
@pytest.mark.parametrize("name", ["constant", "spikes", "negative", "zeros"])
def test_degenerate_choices_draw(name: str, bits: str) -> None:
    for signed, symmetric in (("1", "1"), ("0", "0"), ("0", "1")):
        opened(distribution=name, bits=bits, signed=signed, symmetric=symmetric, size="1000", p_share="1")
    opened(distribution=name, bits=bits, p_value="0", p_low="0", p_high="0", size="1000")


def test_other_tools_are_added_on_demand() -> None:
    app = opened(size="5000")
    app.toggle(key="play_tools").set_value(True).run()
    table = app.dataframe[-1].value
    assert {"QuantScope", "onnxruntime", "ncnn", "MNN", "torch.ao"} <= set(table["tool"])
    assert app.query_params["tools"] == "1"
    app.toggle(key="play_rows_all").set_value(True).run()
    assert len(app.dataframe[-1].value) > len(table)
    healthy(app)


@pytest.mark.parametrize("part", ["All", "Near zero", "High end"])
def test_parts_of_the_staircase(part: str) -> None:
    app = opened(size="5000", bits="4")
    app.segmented_control(key="play_window").set_value(part).run()
    healthy(app)
