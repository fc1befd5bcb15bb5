"""The Sensitivity page: a ranking that grows, stays on cancel, and whose remedies change the recipe."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from quantscope.core.sensitivity import Kind, Metric, RankingRow, Run, run_sensitivity
from quantscope.core.tuning.mixed import Cost
from quantscope.ui.figures.sensitivity import NO_VALUE, sensitivity_figure
from quantscope.ui.runs import measured, rankings
from quantscope.ui.session import cached, opening
from tests.pages import Tab, go, healthy, opened, recipe, small, start, until
from tests.pages import home as home  # a fixture

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def page() -> AppTest:
    app = start(opening.open_sample("digits_mlp"))
    until(app, lambda a: "recipe" in a.session_state, 60)
    healthy(app)
    return go(app, "sensitivity")


def keys(page: AppTest) -> set[str | None]:
    return {button.key for button in page.button}


def said(page: AppTest) -> str:
    parts = [*page.markdown, *page.caption, *page.info, *page.success]
    return "\n".join(part.value for part in parts)


def run(page: AppTest) -> None:
    """Run the chosen kind to its end."""
    page.button(key="start_sens").click().run()
    ended(page)


def ended(page: AppTest) -> None:
    """Wait for what runs, and show it."""
    id = f"{opened(page).id}:sensitivity"
    until(page, lambda _: not cached.registry().get(id).active, 60)  # type: ignore[union-attr]
    healthy(page)
    page.run()
    healthy(page)


def test_without_a_model_the_page_says_what_to_do() -> None:
    app = go(start(), "sensitivity")
    assert not app.exception
    assert "empty_open" in keys(app)


def test_a_choice_that_the_browser_lost_is_made_again(page: AppTest) -> None:
    """A run that comes before the browser has drawn the last one lets it send that nothing is chosen."""
    for key, first in (("sens_kind", Kind.ENABLE), ("mixed_cost", Cost.SIZE)):
        control = page.segmented_control(key=key)
        assert control.value == first
        page.session_state[key] = None
        healthy(page.run())
        assert page.segmented_control(key=key).value == first
    page.session_state["sens_kind"] = None
    run(page)
    assert "One layer on, by Output SQNR" in said(page)


def test_layers_are_ranked_and_a_remedy_changes_the_recipe(page: AppTest) -> None:
    assert "Press **Run**" in said(page)
    run(page)
    assert "One layer on, by Output SQNR" in said(page)
    assert "sens_inspect_0" in keys(page)
    assert "nothing left to run" in said(page)
    before = recipe(page)
    remedies = [b for b in page.button if str(b.key).startswith("sens_remedy_") and not b.disabled]
    assert remedies
    remedies[0].click().run()
    assert not page.exception
    assert recipe(page) != before
    assert page.button(key=str(remedies[0].key)).disabled
    until(page, lambda a: "output SQNR measured" in said(a) and "measuring…**" not in said(a), 60)
    healthy(page)
    assert "Found for an earlier state of the recipe" in said(page)
    assert "nothing left to run" not in said(page)
    run(page)
    assert "of them known from before" in said(page)
    page.button(key="undo").click().run()
    assert recipe(page) == before


def test_operators_and_another_metric(page: AppTest) -> None:
    page.button_group(key="sens_kind").set_value(Kind.OP_TYPE).run()
    run(page)
    assert "Operator types, by Output SQNR" in said(page)
    assert "Top-1" in page.selectbox(key="sens_metric").options  # the sample has labels
    page.selectbox(key="sens_metric").set_value(Metric.KL).run()
    assert not page.exception
    assert "Operator types, by KL divergence" in said(page)
    go(page, "export")
    go(page, "sensitivity")
    assert "Operator types, by KL divergence" in said(page)  # also after a visit elsewhere


def test_cancel_keeps_what_was_done_and_a_new_run_goes_on(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()

    def slow(*args: Any, **kwargs: Any) -> Iterator[Run]:
        for done, one in enumerate(run_sensitivity(*args, **kwargs)):
            if done == 20:
                held.wait(30)
            yield one

    monkeypatch.setattr(rankings, "run_sensitivity", slow)
    page.button(key="start_sens").click().run()
    until(page, lambda a: len(sweep(a).runs) == 20, 60)
    page.run()
    healthy(page)
    assert "One layer on" in said(page)  # shown while it grows
    assert page.button(key="start_sens").disabled
    page.button(key="cancel_sens").click().run()
    held.set()
    ended(page)
    done = len(sweep(page).runs)
    assert 20 <= done < sweep(page).total
    assert f"Stopped after {done} of {sweep(page).total} runs" in said(page)
    assert "click a bar" in said(page)
    run(page)
    assert sweep(page).complete
    assert sweep(page).repeated == done


def sweep(page: AppTest) -> rankings.Sweep:
    """The ranking by single layers, as the page's job writes it."""
    id = opened(page).id
    job = cached.registry().get(id)
    assert job is not None
    return cached.results_of_project(id, rankings.Sweeps, job.result.model.hash).by_kind[Kind.ENABLE]


def score(name: str, value: float, rank: int, **changes: Any) -> RankingRow:
    fields: dict[str, Any] = {
        "name": name,
        "value": value,
        "low": value - 1.0,
        "high": value + 2.0,
        "rank": rank,
        "rank_low": 1,
        "rank_high": 2,
        "flagged": False,
        "samples": 8,
    }
    return RankingRow(**{**fields, **changes})


def test_the_worst_is_on_top_and_names_are_text() -> None:
    scores = [score(HOSTILE, 5.0, 1, flagged=True), score("b", 20.0, 2), score("c", math.inf, 3)]
    figure = sensitivity_figure(scores, Kind.ENABLE, Metric.SQNR)
    bad, rest = figure.data
    # An SQNR is drawn as the error that it stands for: a longer bar is a worse layer.
    assert list(bad.x) == [pytest.approx(56.234, abs=1e-3)]
    assert list(bad.error_x.array) == [pytest.approx(63.096 - 56.234, abs=1e-3)]
    assert list(bad.error_x.arrayminus) == [pytest.approx(56.234 - 44.668, abs=1e-3)]
    assert list(rest.x) == [pytest.approx(10.0), 0.0]
    assert list(rest.y) == [2, 3]
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # counted from the top
    assert "longer is worse" in figure.layout.xaxis.title.text
    assert figure.layout.yaxis.ticktext[0] == "&lt;img src=x onerror=alert(1)&gt;  <b>5.0 dB</b>"
    assert figure.layout.yaxis.ticktext[2] == "c  <b>∞ dB</b>"
    assert "<img" not in figure.to_json()


def test_what_is_lost_turns_the_interval_round() -> None:
    scores = [score("a", 0.5, 1, low=0.25, high=0.875), score("b", math.nan, 2, low=math.nan, high=math.nan)]
    lost = sensitivity_figure(scores, Kind.ENABLE, Metric.AGREEMENT).data[0]
    assert list(lost.x) == [50.0, None]
    assert list(lost.error_x.array) == [25.0, 0.0]
    assert list(lost.error_x.arrayminus) == [37.5, 0.0]
    won = sensitivity_figure(scores, Kind.DISABLE, Metric.AGREEMENT).data[0]
    assert list(won.error_x.array) == [37.5, 0.0]
    assert won.customdata[1][1] == NO_VALUE


def test_all_that_stand_out_are_explained_and_ties_are_not() -> None:
    flagged = [score(f"layer{n}", float(n), n, flagged=True) for n in range(1, 7)]
    rest = [score("quiet", 50.0, 7), score("calm", 60.0, 8)]
    assert rankings.top([*flagged, *rest]) == flagged
    many = [score(f"layer{n}", float(n), n, flagged=True) for n in range(1, 40)]
    assert rankings.top(many) == many[: rankings.MOST_DIAGNOSED]
    one = score("changes a class", 0.875, 1)
    same = [score(f"changes none {n}", 1.0, n) for n in range(2, 9)]
    assert rankings.top([one, *same]) == [one]
    assert rankings.top(same) == same[:1]
    assert rankings.top(rest) == rest
    assert rankings.top([]) == []
    assert rankings.top([score("not comparable", math.nan, 1)])


def test_the_worst_layers_follow_the_newest_ranking(tmp_path: Path) -> None:
    tab = Tab(small(tmp_path, 6))
    now = tab.session()
    over = []
    with tab:
        assert measured.effect(now, patience=60).value is not None
    for count in (1, 2):
        with tab:
            rankings.start(now, Kind.ENABLE, count)
            job = rankings.job(now)
            assert job is not None
            assert job.wait(60)
            over.append({cost.over for cost in measured.table(now).costs})
    assert over == [{"1 calibration sample"}, {"2 calibration samples"}]
