"""History and Compare: what the pages show, and what their buttons do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from quantscope.core.project import marks, others
from quantscope.core.project import project as projects
from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.core.thresholds import Method
from quantscope.ui.content.comparison_files import ComparedVersion, comparison_csv, comparison_json
from quantscope.ui.runs import compared, step_figures
from quantscope.ui.session import keys, state
from tests.evaluating import static_quantized
from tests.pages import Tab, go, healthy, opened, recipe, small, start, until
from tests.pages import home as home  # a fixture


def with_steps(folder: Path, number: int) -> projects.Project:
    """A project with a branch: steps 2 and 4 were made from step 1, 3 from 2; 4 is shown."""
    project = small(folder, number)
    recipes = [Recipe().with_default(method=method) for method in (Method.KL, Method.MSE, Method.OCTAV)]
    for made, label in zip(recipes[:2], ("KL", "MSE"), strict=True):
        project = projects.record(project, recipe_to_yaml(made), label)
    project = projects.undo(projects.undo(project))
    return projects.record(project, recipe_to_yaml(recipes[2]), "OCTAV")


def shown(project: projects.Project, page: str) -> AppTest:
    """The page, with the project ready."""
    app = start(project)
    until(app, lambda a: "recipe" in a.session_state)
    return go(app, page)


def words(app: AppTest) -> str:
    return "\n".join(e.value for e in (*app.markdown, *app.caption))


def at_step(app: AppTest, number: int) -> AppTest:
    app.session_state[keys.history_step(opened(app).identity).name] = number
    app.run()
    return app


def test_a_step_is_shown_again_and_an_edit_starts_a_branch(tmp_path: Path) -> None:
    app = shown(with_steps(tmp_path, 1), "history")
    healthy(app)
    assert "Step 4: OCTAV" in words(app)
    at_step(app, 3)
    assert "Step 3: MSE" in words(app)
    assert "**Range**: KL → MSE" in words(app)
    app.button(key="step_show").click().run()
    healthy(app)
    assert opened(app).head == 3
    assert recipe(app).default.method is Method.MSE
    app.button(key="step_branch").click().run()
    assert opened(app).head == 5
    assert opened(app).parents[5] == 3
    assert recipe(app).default.method is Method.MSE


def test_names_and_notes_stay(tmp_path: Path) -> None:
    project = with_steps(tmp_path, 2)
    app = at_step(shown(project, "history"), 2)
    name = next(w for w in app.text_input if w.label == "Name")
    name.set_value("for the demo").run()
    next(w for w in app.text_area if w.label == "Note").set_value("first try").run()
    assert marks.read_marks(project)[2] == marks.Mark(name="for the demo", note="first try")
    at_step(app, 3)
    next(w for w in app.text_input if w.label == "Name").set_value("for the demo").run()
    assert "Step 2 has the name" in app.error[0].value
    assert next(w for w in app.text_input if w.label == "Name").value == ""


def test_what_the_shown_step_needs_cannot_be_deleted_and_the_rest_comes_back(tmp_path: Path) -> None:
    app = at_step(shown(with_steps(tmp_path, 3), "history"), 1)
    assert app.button(key="step_delete").disabled
    at_step(app, 2)
    app.button(key="step_delete_all").click().run()
    healthy(app)
    assert opened(app).hidden == {2, 3}
    app.button(key="history_bring_back").click().run()
    assert opened(app).hidden == frozenset()
    at_step(app, 3)
    app.button(key="step_delete").click().run()
    assert opened(app).hidden == {3}
    next(t for t in app.toggle if t.key == "history_hidden").set_value(True).run()
    at_step(app, 3)
    app.button(key="step_back").click().run()
    assert opened(app).hidden == frozenset()


def test_a_baseline_is_pinned_and_unpinned(tmp_path: Path) -> None:
    app = at_step(shown(with_steps(tmp_path, 4), "history"), 2)
    app.button(key="step_pin").click().run()
    assert marks.pinned(opened(app)) == "step:2"
    app.button(key="step_pin").click().run()
    assert marks.pinned(opened(app)) == ""


def test_steps_are_measured_in_the_background_and_kept(tmp_path: Path) -> None:
    app = shown(with_steps(tmp_path, 5), "history")
    assert app.button(key="history_measure").label.startswith("Measure ")
    app.button(key="history_measure").click().run()
    until(app, lambda a: any(button.label == "All measured" for button in a.button))
    healthy(app)
    with Tab(opened(app)):
        state.session()
        found = [step_figures.of_step(opened(app), number) for number in (1, 2, 3, 4)]
    assert all(f is not None and f.whole is not None and f.preview is not None for f in found)
    assert "Figures over :orange[6 calibration samples]" in words(app)


@pytest.fixture
def compare(tmp_path: Path) -> AppTest:
    app = shown(with_steps(tmp_path, 6), "compare")
    until(app, lambda a: not any("measuring" in m.value for m in a.markdown))
    healthy(app)
    return app


def test_the_first_step_is_what_others_are_held_against(compare: AppTest) -> None:
    said = words(compare)
    assert "the change against Step 1" in said
    assert "**Range**: MinMax → OCTAV" in said
    assert "| Output SQNR |" in said.replace("\\", "")
    assert "over :orange[6 calibration samples]" in said
    tensors = next(d.value for d in compare.dataframe if "zero_left" in d.value)
    assert tensors["what"].tolist() == ["output", "output", "weights"]


def test_a_comparison_can_be_taken_away(compare: AppTest) -> None:
    tab = Tab(opened(compare))
    now = tab.session()
    with tab:
        version = next(v for v in compared.versions.versions(now) if v.number == 4)
        found = compared.measure_layers(now, version, lambda _: None)
    entry = ComparedVersion(
        label="a",
        kind="step",
        figures=found.figures,
        layers=found.layers,
        encodings=found.encodings,
        changes=(),
    )
    body = json.loads(comparison_json(now.model, [entry, entry]))
    assert [v["label"] for v in body["versions"]] == ["a", "a"]
    assert body["versions"][0]["figures"]["samples"] == 6
    lines = comparison_csv(now.model, [entry]).decode().splitlines()
    assert lines[0].startswith("version,layer,operators,tensor,type,low,high,scale,zero_point")
    assert len(lines) == 4  # x, conv's output and its weights
    formula = comparison_csv(now.model, [replace(entry, label="=1+1")]).decode().splitlines()
    assert all(line.startswith("'=1+1,") for line in formula[1:])


def test_a_file_of_another_tool_is_compared_and_others_are_refused(compare: AppTest, tmp_path: Path) -> None:
    tab = Tab(opened(compare))
    now = tab.session()
    path = tmp_path / "theirs.onnx"
    path.write_bytes(static_quantized(now.model, list(now.workspace.samples)).SerializeToString())
    compare.text_input(key="compare_path").set_value(str(path)).run()
    compare.button(key="compare_add").click().run()
    until(compare, lambda a: "theirs" in words(a) and not any("measuring" in m.value for m in a.markdown))
    healthy(compare)
    assert "Of files of other tools no choices are known" in words(compare)
    compare.text_input(key="compare_path").set_value(str(tmp_path / "net6.onnx")).run()
    compare.button(key="compare_add").click().run()
    assert "nothing in it is quantized" in compare.error[0].value.replace("\\", "")


def test_one_version_alone_says_what_to_do(tmp_path: Path) -> None:
    app = shown(small(tmp_path, 7), "compare")
    healthy(app)
    assert "Held against" in [s.label for s in app.selectbox]
    app.multiselect[0].set_value([]).run()
    assert "There is one version so far" in words(app)


def test_a_file_that_is_gone_is_said_and_can_be_taken_off_the_list(compare: AppTest, tmp_path: Path) -> None:
    tab = Tab(opened(compare))
    now = tab.session()
    path = tmp_path / "theirs.onnx"
    path.write_bytes(static_quantized(now.model, list(now.workspace.samples)).SerializeToString())
    added = others.add_other(now.project, "theirs.onnx", path)
    path.unlink()
    key = f"file:{added.id}"
    compare.session_state["compared"] = keys.ComparedVersions(
        project=now.project.id, against="step:1", others=(key,)
    )
    compare.run()
    until(compare, lambda a: any("no longer there" in e.value.replace("\\", "") for e in a.error))
    compare.button(key=f"compare_remove_{key}").click().run()
    assert not others.others(now.project)
    assert not any("no longer there" in e.value for e in compare.error)


def test_the_sidebar_leads_to_the_history(tmp_path: Path) -> None:
    app = shown(with_steps(tmp_path, 8), "layers")
    assert any("Saved · step 4: OCTAV" in caption.value for caption in app.sidebar.caption)
    app.button(key="open_history").click().run()
    assert app.title[0].value == "History"


def test_what_others_are_held_against_can_become_the_baseline(compare: AppTest) -> None:
    compare.button(key="compare_pin").click().run()
    healthy(compare)
    assert marks.pinned(opened(compare)) == "step:1"
    compare.button(key="compare_pin").click().run()
    assert marks.pinned(opened(compare)) == ""


@pytest.mark.parametrize("button", ["step_show", "step_branch"])
def test_a_step_that_another_window_deleted_comes_back_when_it_is_shown(tmp_path: Path, button: str) -> None:
    app = at_step(shown(with_steps(tmp_path, 1), "history"), 3)
    marks.hide(projects.open_project(opened(app).id), {2, 3})
    app.button(key=button).click().run()
    healthy(app)
    there = projects.open_project(opened(app).id)
    assert there.head == opened(app).head == (3 if button == "step_show" else 5)
    assert there.hidden == opened(app).hidden == frozenset()


def test_a_deleted_step_is_no_baseline_any_more(tmp_path: Path) -> None:
    app = at_step(shown(with_steps(tmp_path, 1), "history"), 3)
    app.button(key="step_pin").click().run()
    assert marks.pinned(opened(app)) == "step:3"
    at_step(app, 3)
    app.button(key="step_delete").click().run()
    healthy(app)
    assert opened(app).hidden == {3}
    assert marks.pinned(opened(app)) == ""
