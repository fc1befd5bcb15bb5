"""Measurements of a recipe share what they can, and the figures that follow edits come first."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from quantscope.core.evaluate import Preview
from quantscope.core.progress import Progress
from quantscope.core.quantize import resolve
from quantscope.core.recipe import Recipe
from quantscope.ui.runs import measured, measurement_work
from quantscope.ui.runs.measurement_work import ModelUnderTest, References
from quantscope.ui.session import cached
from tests.pages import Tab, small
from tests.pages import home as home  # a fixture


def silent(_: Progress) -> None:
    """Nobody is told."""


def under_test(tab: Tab, references: References, recipe: Recipe) -> ModelUnderTest:
    now = tab.session()
    assert now.workspace.preview is not None
    return ModelUnderTest(
        references=references,
        original=now.model,
        model=now.model,
        encodings=resolve(recipe, now.workspace.statistics, now.model),
        samples=now.workspace.preview,
    )


def test_one_file_is_made_for_all_measurements_of_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab, references, made = Tab(small(tmp_path, 1)), References(), []
    plain = measurement_work.quantized_bytes
    monkeypatch.setattr(
        measurement_work, "quantized_bytes", lambda *given: made.append(plain(*given)) or made[-1]
    )
    first = under_test(tab, references, Recipe())
    measurement_work.effect(first, silent)
    measurement_work.local_errors(first, silent)
    whole = measurement_work.whole(first, first.samples, silent)
    measurement_work.loss_by_part(first, silent)
    assert len(made) == 1
    assert whole.quantized_bytes == len(made[0])
    other = under_test(tab, references, Recipe().with_layer("conv", method="mse", weights="per_tensor"))
    measurement_work.effect(other, silent)
    assert len(made) == 2
    assert made[1] != made[0]


def test_others_wait_for_the_figures_that_follow_edits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, order = threading.Event(), list[str]()
    plain_effect, plain_local = measurement_work.effect, measurement_work.local_errors

    def effect(*given: object) -> Preview:
        assert go.wait(60)
        order.append("effect")
        return plain_effect(*given)  # type: ignore[arg-type]

    def local(*given: object) -> object:
        order.append("local")
        return plain_local(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(measurement_work, "effect", effect)
    monkeypatch.setattr(measurement_work, "local_errors", local)
    tab = Tab(small(tmp_path, 1))
    now = tab.session()
    with tab:
        assert measured.effect(now).running
        assert measured.local(now).running
        go.set()
        assert cached.pool().wait(measured.key_of(measured.LOCAL, now), 60) is not None
        assert measured.effect(now).value is not None
    assert order == ["effect", "local"]
