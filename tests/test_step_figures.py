"""Figures of steps in the project: written when measured, read without measuring, never those of others."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantscope.core.project import Figures, Scope, figures_content, figures_file, read_figures
from quantscope.core.project import project as projects
from quantscope.core.recipe import Recipe
from quantscope.core.thresholds import Method
from quantscope.ui.runs import measured, step_figures
from quantscope.ui.session import cached, state
from tests.graphs import randn
from tests.pages import Tab, small
from tests.pages import home as home  # a fixture


def wait_for(tab: Tab, now: state.Session) -> None:
    """Until the shown step's figures are measured."""
    end = time.monotonic() + 60
    with tab:
        while measured.effect(now, patience=1).running or measured.whole(now).running:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_figures_come_back_as_they_were_kept(tmp_path: Path) -> None:
    for sqnr in (31.5, math.inf, -math.inf, None):
        figures = Figures(samples=16, evaluation=True, sqnr_db=sqnr, cosine=0.5, top1=0.25, size_bytes=7)
        (tmp_path / "f.json").write_bytes(figures_content(figures, "model and data"))
        assert read_figures(tmp_path / "f.json", "model and data") == figures
        assert read_figures(tmp_path / "f.json", "others") is None


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b'{"format": 1, "subject": "s", "figures": 3}'])
def test_damaged_figures_are_as_if_they_were_not_there(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "f.json").write_bytes(damage)
    assert read_figures(tmp_path / "f.json", "s") is None


def test_a_step_has_the_figures_that_were_measured_when_it_was_shown(tmp_path: Path) -> None:
    tab = Tab(small(tmp_path, 1))
    now = tab.session()
    with tab:
        assert step_figures.shown(now) is None
        assert step_figures.before(now) is None
    wait_for(tab, now)
    with tab:
        first = step_figures.shown(now)
        assert first is not None
        assert first.preview is not None
        assert first.whole is not None
        assert first.preview.sqnr_db == measured.effect(now).value.output.overall.sqnr_db
        assert first.whole.sqnr_db == measured.whole(now).value.output.sqnr_db
        assert (first.preview.samples, first.whole.samples) == (6, 6)
        assert not first.whole.evaluation  # there are calibration samples only
        assert first.whole.size_bytes
        assert first.whole.float_bytes
        assert first.whole.latency_ms
        state.edit_layer("conv", "KL", method=Method.KL)
        after = state.session()
        assert after is not None
        assert step_figures.shown(after) is None
        assert step_figures.before(after) == first
        state.undo()
        again = state.session()
        assert again is not None
        assert step_figures.shown(again) == first
        assert step_figures.of_step(again.project, 99) is None


def test_figures_outlive_the_process_and_the_same_recipe_has_the_same(tmp_path: Path) -> None:
    tab = Tab(small(tmp_path, 2))
    now = tab.session()
    wait_for(tab, now)
    with tab:
        first = step_figures.shown(now)
        cached.forget(now.project.id)
    with (other := Tab(now.project)):
        assert step_figures.of_step(now.project, 1) is None  # nobody knows which data they are of yet
    later = other.session()
    with other:
        assert step_figures.shown(later) == first
        state.edit_layer("conv", "KL", method=Method.KL)
        state.edit(lambda _: Recipe(), "back")
        back = state.session()
        assert back is not None
        assert back.project.head == 3
        assert step_figures.shown(back) == first


def test_figures_of_other_data_do_not_count(tmp_path: Path) -> None:
    tab = Tab(small(tmp_path, 3))
    now = tab.session()
    wait_for(tab, now)
    with tab:
        cached.forget(now.project.id)
    np.savez(tmp_path / "data.npz", x=randn(6, 3, 8, 8, seed=9))
    os.utime(tmp_path / "data.npz", ns=(1, 1))
    other = Tab(now.project)
    later = other.session()
    with other:
        assert step_figures.shown(later) is None


def test_a_line_in_a_drag_leaves_no_figures(tmp_path: Path) -> None:
    tab = Tab(small(tmp_path, 4))
    now = tab.session()
    wait_for(tab, now)
    with tab:
        found = measured.effect(now).value
        held = replace(now, held=True)
        digest = step_figures.digest_of_step(now.project, 1)
        path = now.project.folder / figures_file(digest, Scope.PREVIEW)
        before = path.stat().st_mtime_ns
        step_figures.keep_preview(held, found)
        assert path.stat().st_mtime_ns == before


def test_a_folder_that_cannot_be_written_costs_only_the_keeping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab = Tab(small(tmp_path, 5))
    now = tab.session()

    def full(*_: object) -> None:
        raise projects.ProjectError("no space left")

    monkeypatch.setattr(step_figures, "write_file", full)
    wait_for(tab, now)
    with tab:
        assert measured.whole(now).value is not None
        assert step_figures.shown(now) is None
