"""Compare, sample by sample: the page without a browser, the file of samples, and calibrating with them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import streamlit as st

from quantscope.core.data import open_samples
from quantscope.core.errors import DataError, ModelError
from quantscope.core.evaluate import BySample, by_sample
from quantscope.core.project import Project, Source, marks
from quantscope.core.project import project as projects
from quantscope.core.recipe import Recipe, recipe_from_yaml, recipe_to_yaml
from quantscope.core.thresholds import Method
from quantscope.ui.content.sample_kinds import InputKind, OutputKind
from quantscope.ui.runs import by_sample as runs
from quantscope.ui.runs import by_sample_files, exporting, story_outcomes, versions
from quantscope.ui.runs.by_sample import Page, Wanted
from quantscope.ui.session import cached, jobs
from tests.graphs import model, node, randn, value
from tests.pages import Tab, go, healthy, home, start, until

__all__ = ["home"]
ROWS = 40


@pytest.fixture
def project(tmp_path: Path, home: Path) -> Project:
    """A classifier of images with evaluation data and two steps; some answers are lost in both."""
    proto = model(
        [
            node("Conv", ["image", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["r"], name="relu"),
            node("GlobalAveragePool", ["r"], ["p"], name="pool"),
            node("Flatten", ["p"], ["f"], name="flat"),
            node("Gemm", ["f", "v"], ["scores"], name="fc"),
        ],
        [value("image", ["N", 3, 8, 8])],
        [value("scores", ["N", 4])],
        {"w": randn(6, 3, 3, 3, seed=1), "v": randn(6, 4, seed=2)},
    )
    onnx.save(proto, tmp_path / "net.onnx")
    rng = np.random.default_rng(5)
    for name in ("calib", "eval"):
        images = rng.uniform(0, 1, (ROWS, 3, 8, 8)).astype(np.float32)
        images[0, 0, 0, 0] = 60.0  # one pixel that stretches the range
        np.savez(tmp_path / f"{name}.npz", image=images, labels=np.arange(ROWS) % 4)

    def source(name: str) -> Source:
        return Source(kind="path", path=str(tmp_path / name))

    made = projects.create("net.onnx", source("net.onnx"), source("calib.npz"), source("eval.npz"))
    made = projects.record(made, recipe_to_yaml(Recipe()), "Defaults")
    better = Recipe().with_default(method=Method.PERCENTILE)
    return projects.record(made, recipe_to_yaml(better), "Percentile")


def wanted_of(tab: Tab) -> Wanted:
    now = tab.session()
    with tab:
        return Wanted(now=now, versions=runs.quantized(versions.versions(now)))


def measured(tab: Tab) -> tuple[Wanted, runs.Compared]:
    wanted = wanted_of(tab)
    with tab:
        compared = runs.compared(wanted)
        if compared.job is not None:
            assert compared.job.wait(60)
            assert compared.job.state is jobs.State.DONE, compared.job.error
            compared = runs.compared(wanted)
    return wanted, compared


def test_figures_are_those_of_one_comparison_and_measured_once(project: Project) -> None:
    tab = Tab(project)
    wanted, compared = measured(tab)
    assert compared.found is not None
    assert compared.guess is not None
    assert len(wanted.versions) == 2
    assert compared.found.rows == ROWS
    with tab:
        files = [versions.quantized_file(wanted.now, version, lambda _: None) for version in wanted.versions]
        again = runs.compared(wanted)
    expected = by_sample(wanted.now.opened.model, files, wanted.samples)
    for ours, theirs in zip(compared.found.versions, expected.versions, strict=True):
        np.testing.assert_array_equal(ours.errors.sqnr_db, theirs.errors.sqnr_db)
        np.testing.assert_array_equal(ours.answers.right, theirs.answers.right)
    assert again.job is None
    assert compared.guess.drawing.inputs["image"].kind is InputKind.IMAGE
    assert compared.guess.drawing.outputs == {"scores": OutputKind.CLASSES}


def test_figures_are_kept_with_the_project(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    _, compared = measured(Tab(project))
    assert compared.found is not None
    files = list((project.folder / "by_sample").glob("*.npz"))
    assert len(files) == 2
    st.cache_resource.clear()  # as after a restart
    files[0].write_bytes(b"damaged")
    made: list[int] = []

    def counted(*arguments: Any, **options: Any) -> BySample:
        made.append(len(arguments[1]))
        return by_sample(*arguments, **options)

    monkeypatch.setattr(runs, "by_sample", counted)
    _, again = measured(Tab(project))
    assert again.found is not None
    assert made == [0, 1]  # to see what is drawn, and for the damaged one
    for ours, theirs in zip(again.found.versions, compared.found.versions, strict=True):
        np.testing.assert_array_equal(ours.errors.sqnr_db, theirs.errors.sqnr_db)


def test_the_story_is_told_from_the_same_figures(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    tab = Tab(project)
    wanted, _ = measured(tab)

    def again(*_: Any, **__: Any) -> BySample:
        raise AssertionError("measured twice")

    monkeypatch.setattr(runs, "by_sample", again)
    with tab:
        before = versions.find(wanted.now, versions.step_key(1))
        for _ in range(600):
            told = story_outcomes.outcomes(wanted.now, before)
            if not told.running:
                break
            cached.pool().wait(story_outcomes._key(wanted.now, before), 0.1)
    assert told.value is not None, told.error
    assert told.value.rows == ROWS
    assert all(shown.image.startswith("data:image/") for shown in told.value.shown)
    with tab:
        by_sample_files.keep_names(wanted.now, by_sample_files.CLASS_NAMES, b'["w", "x", "y", "z"]', "n.json")
        assert story_outcomes.outcomes(wanted.now, before, peek=True).value is None  # told anew, with names


def test_cards_are_drawn_for_the_rows_asked_for(project: Project) -> None:
    tab = Tab(project)
    wanted, compared = measured(tab)
    assert compared.found is not None
    assert compared.guess is not None
    words = runs.Words(models=("float", "1", "2"))
    page = Page(rows=(7, 2), drawing=compared.guess.drawing, head=None, words=words, shown=1)
    with tab:
        job = runs.cards(wanted, compared.found, page, patience=60)
        assert runs.cards_are_there(wanted, page)
    assert job is not None
    assert job.result is not None
    assert [card.row for card in job.result] == [7, 2]
    assert job.result[0].title == "Sample 7 · label 3"


def test_the_file_of_samples_opens_as_data(project: Project, tmp_path: Path) -> None:
    tab = Tab(project)
    wanted, _ = measured(tab)
    with tab:
        content = by_sample_files.npz_of(wanted, [9, 3])
    with np.load(io.BytesIO(content)) as arrays:
        assert arrays["index"].tolist() == [9, 3]
        assert arrays["labels"].tolist() == [1, 3]
        assert arrays["float/scores"].shape == (2, 4)
        assert {name for name in arrays if name.endswith("/scores")} >= {"float/scores", "Step_1/scores"}
    named = replace(wanted, versions=tuple(replace(v, name="float") for v in wanted.versions))
    with tab, np.load(io.BytesIO(by_sample_files.npz_of(named, [9]))) as arrays:  # nothing is written over
        assert {"float/scores", "float_1/scores", "float_2/scores"} <= set(arrays)
    path = tmp_path / "changed.npz"
    path.write_bytes(content)
    samples = open_samples(path, wanted.now.opened.model)
    np.testing.assert_array_equal(samples[0]["image"], wanted.samples[9]["image"])
    assert samples.labels is not None
    assert samples.labels.tolist() == [1, 3]


def test_versions_called_as_others_keep_their_outputs_in_the_file(project: Project) -> None:
    marks.call(project, min(project.parents), "float")
    wanted, _ = measured(tab := Tab(project))
    with tab:
        content = by_sample_files.npz_of(wanted, [9])
        rows = runs.read_rows(wanted, [9], lambda _: None)
    with np.load(io.BytesIO(content)) as arrays:
        np.testing.assert_array_equal(arrays["float/scores"][0], rows[0].outputs[0]["scores"])
        np.testing.assert_array_equal(arrays["float_1/scores"][0], rows[0].outputs[1]["scores"])


def test_calibrating_with_samples_makes_a_project_that_does_not_judge_on_them(project: Project) -> None:
    tab = Tab(project)
    wanted, _ = measured(tab)
    with tab:
        made = by_sample_files.recalibrated(wanted, [9, 3, 30])
    assert made.id != project.id
    assert recipe_from_yaml(projects.read_step(made).recipe).default.method is Method.PERCENTILE
    now = Tab(made).session()
    assert now.workspace.samples is not None
    assert now.workspace.evaluation is not None
    assert len(now.workspace.samples) == ROWS + 3
    assert now.workspace.statistics.samples == ROWS + 3
    assert len(now.workspace.evaluation) == ROWS - 3
    kept = set(now.workspace.evaluation.digests())
    assert not kept & {wanted.samples.digest(row) for row in (9, 3, 30)}
    assert set(now.workspace.samples.digests()) >= {wanted.samples.digest(row) for row in (9, 3, 30)}
    assert len(wanted_of(Tab(project)).samples) == ROWS  # the project that it came from is as it was


def test_the_new_project_can_be_replayed_and_made_from_again(project: Project) -> None:
    tab = Tab(project)
    wanted, _ = measured(tab)
    with tab:
        made = by_sample_files.recalibrated(wanted, [0, 1])
    assert exporting.command_words(made, Recipe(), "net")[1] == [
        "--data",
        str(made.folder / "files/calibration.npz"),
    ]
    second = Tab(made)
    further, _ = measured(second)
    with second:
        last = by_sample_files.recalibrated(further, [0])  # the third one, as the first data hold them
    now = Tab(last).session()
    assert now.workspace.samples is not None
    assert now.workspace.evaluation is not None
    assert (len(now.workspace.samples), len(now.workspace.evaluation)) == (ROWS + 3, ROWS - 3)
    assert wanted.samples.digest(2) in now.workspace.samples.digests()
    assert wanted.samples.digest(2) not in now.workspace.evaluation.digests()


def test_a_project_that_cannot_be_made_leaves_nothing_behind(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {entry.id for entry in projects.list_projects()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(by_sample_files, "write_npz", full)
    with pytest.raises(DataError, match="No space left"):
        by_sample_files.recalibrated(wanted_of(Tab(project)), [1])
    assert {entry.id for entry in projects.list_projects()} == before


def test_calibration_data_cannot_be_added_to_themselves(project: Project) -> None:
    alone = projects.create("alone", project.model, project.data)
    alone = projects.record(alone, recipe_to_yaml(Recipe()), "Defaults")
    tab = Tab(alone)
    wanted = wanted_of(tab)
    assert "calibration data already" in by_sample_files.why_not_calibration(wanted.now)
    with pytest.raises(DataError, match="calibration data already"):
        by_sample_files.recalibrated(wanted, [1])


def test_all_samples_cannot_be_taken(project: Project) -> None:
    with pytest.raises(DataError, match="no samples would be left"):
        by_sample_files.recalibrated(wanted_of(Tab(project)), list(range(ROWS)))


def test_names_are_kept_with_the_project_and_found_beside_the_data(project: Project, tmp_path: Path) -> None:
    now = Tab(project).session()
    assert by_sample_files.class_names(now, 4) == ()
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd\n")
    now = Tab(projects.create("other", project.model, project.data)).session()
    assert by_sample_files.class_names(now, 4) == ("a", "b", "c", "d")
    assert by_sample_files.class_names(now, 5) == ()  # names of something else
    by_sample_files.keep_names(now, by_sample_files.CLASS_NAMES, b'["w", "x", "y", "z"]', "n.json")
    assert by_sample_files.class_names(now, 4) == ("w", "x", "y", "z")
    with pytest.raises(DataError, match="one name in each line"):
        by_sample_files.keep_names(now, by_sample_files.CLASS_NAMES, b"[1]", "n.json")
    assert by_sample_files.were_given(now, by_sample_files.CLASS_NAMES)
    by_sample_files.forget_names(now, by_sample_files.CLASS_NAMES)
    assert not by_sample_files.were_given(now, by_sample_files.CLASS_NAMES)


def test_the_page_shows_samples_filters_and_classes(project: Project) -> None:
    app = start(project)
    until(app, lambda a: a.title[0].value == "Overview")
    go(app, "compare")
    until(app, lambda a: any(s.value == "Sample by sample" for s in a.subheader))
    until(app, lambda a: any(p.key == "samples_filter" for p in a.button_group))
    healthy(app)
    said = next(m.value for m in app.markdown if "evaluation samples" in m.value)
    assert "40 evaluation samples" in said
    app.button_group(key="samples_filter").set_value("all").run()
    until(app, lambda a: any(b.key == "samples_Next_above" for b in a.button))
    app.button(key="samples_Next_above").click().run()
    assert app.session_state["samples_page"] == 1
    app.selectbox(key="samples_class").set_value(2).run()
    assert app.session_state["samples_page"] == 0
    healthy(app)
    app.button_group(key="samples_part").set_value("Classes").run()
    healthy(app)
    assert any("share that is right" in caption.value for caption in app.caption)


def test_what_is_drawn_can_be_changed_and_taken_back(project: Project) -> None:
    measured(Tab(project))
    app = start(project)
    go(app, "compare")
    name = f"drawn_output_{project.id}_scores"
    until(app, lambda a: any(box.key == name for box in a.selectbox))
    app.selectbox(key=name).set_value(OutputKind.SIGNAL).run()
    until(app, lambda a: any(button.key == "drawn_as_guessed" for button in a.button))
    assert not any(group.key == "samples_part" for group in app.button_group)  # a signal has no classes
    again = start(project)  # another window
    go(again, "compare")
    until(again, lambda a: any(box.key == name for box in a.selectbox))
    assert again.selectbox(key=name).value is OutputKind.SIGNAL
    app.button(key="drawn_as_guessed").click().run()
    until(app, lambda a: any(group.key == "samples_part" for group in a.button_group))
    assert app.selectbox(key=name).value is OutputKind.CLASSES
    healthy(app)


def test_what_failed_is_said_and_can_be_tried_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> BySample:
        raise ModelError("the network is of another kind")

    monkeypatch.setattr(runs, "by_sample", fails)
    app = start(project)
    go(app, "compare")
    until(app, lambda a: any(button.key == "by_sample_again" for button in a.button))
    assert "The network is of another kind" in app.error[0].value
