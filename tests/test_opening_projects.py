"""Opening: the same model and data are one project, what is refused leaves nothing, samples start fresh."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from streamlit.testing.v1 import AppTest

from quantscope.core.errors import DataError, ModelError
from quantscope.core.project import Project, Source, go_on, left_at, start_over
from quantscope.core.project import project as projects
from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.core.thresholds import Method
from quantscope.ui.session import keys, locating, opening, state, workspace
from tests.graphs import model, node, randn, value
from tests.pages import Tab, go, healthy, opened, recipe, shown, start, until
from tests.pages import home as home  # a fixture

DEFAULTS = recipe_to_yaml(Recipe())


def network(path: Path, seed: int = 0) -> Path:
    """A layer of four classes on 3 numbers."""
    nodes = [node("MatMul", ["x", "w"], ["m"], name="fc"), node("Relu", ["m"], ["y"], name="r")]
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {"w": randn(3, 4, seed=seed)}
    onnx.save(model(nodes, [value("x", ["N", 3])], [value("y", ["N", 4])], weights), path)
    return path


def samples(path: Path, seed: int = 1, count: int = 12, *, labels: bool = True) -> Path:
    arrays = {"x": randn(count, 3, seed=seed)}
    np.savez(path, **arrays, **({"labels": np.arange(count) % 4} if labels else {}))
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return network(tmp_path / "net.onnx"), samples(tmp_path / "calib.npz")


def on_disk(home: Path) -> list[str]:
    folder = home / "projects"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def edited(project: Project) -> Project:
    changed = recipe_to_yaml(Recipe().with_default(method=Method.KL))
    return projects.record(project, changed, "KL")


# --- one project for the same model and data ---


def test_paths_uploads_and_copies_of_the_same_files_are_one_project(
    files: tuple[Path, Path], tmp_path: Path, home: Path
) -> None:
    net, data = files
    first = edited(opening.open_paths(str(net), str(data)))
    (tmp_path / "copy").mkdir()
    copies = [shutil.copy(path, tmp_path / "copy" / f"other-{path.name}") for path in files]
    for again in (
        opening.open_paths(str(net), str(data)),
        opening.open_sources("x.onnx", ("x.onnx", net.read_bytes()), ("y.npz", data.read_bytes())),
        opening.open_paths(*map(str, copies)),
    ):
        assert (again.id, again.head) == (first.id, first.head)
        assert again.model.path == str(net)  # which is still there
    assert on_disk(home) == [first.id]


def test_other_data_other_options_or_another_model_are_another_project(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    net, data = files
    source = (opening.model_source(str(net)), opening.data_source(str(data)))
    opened = [
        opening.open_sources("a", *source),
        opening.open_sources("a", *source, options={"limit": 4}),
        opening.open_paths(str(net), str(samples(tmp_path / "other.npz", seed=2))),
        opening.open_paths(str(network(tmp_path / "other.onnx", seed=3)), str(data)),
        opening.open_paths(str(net), None),
    ]
    assert len({project.id for project in opened}) == len(opened)


def test_a_file_that_changed_is_another_project(files: tuple[Path, Path]) -> None:
    net, data = files
    first = opening.open_paths(str(net), str(data))
    samples(data, seed=5)
    assert opening.open_paths(str(net), str(data)).id != first.id


@pytest.mark.parametrize("typed", ["~nobody-of-that-name/net.onnx", "/" + "n" * 300 + ".onnx", "/a\0b.onnx"])
def test_a_path_that_cannot_be_is_refused_in_words(typed: str) -> None:
    with pytest.raises(ModelError, match="is not a file"):
        opening.model_source(typed)
    with pytest.raises(DataError, match="does not exist"):
        opening.data_source(typed)
    assert opening.typed_path(typed)[1] is opening.Place.NOTHING


def test_opening_a_moved_model_finds_its_project(files: tuple[Path, Path], tmp_path: Path) -> None:
    net, data = files
    first = edited(opening.open_paths(str(net), str(data)))
    (tmp_path / "new").mkdir()
    moved = shutil.move(net, tmp_path / "new" / "net.onnx")
    again = opening.open_paths(str(moved), str(data))
    assert (again.id, again.head, again.model.path) == (first.id, first.head, str(moved))
    assert projects.open_project(first.id).model.path == str(moved)


def test_models_with_weights_in_other_files_are_known_by_their_place(tmp_path: Path) -> None:
    """Their own file says too little: the weights may differ."""
    for name, seed in (("a", 0), ("b", 1)):
        path = network(tmp_path / name / "net.onnx", seed)
        proto = onnx.load(path)
        onnx.save(proto, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    data = samples(tmp_path / "calib.npz")
    one, other = (opening.open_paths(str(tmp_path / name / "net.onnx"), str(data)) for name in "ab")
    assert one.model.content == other.model.content == ""
    assert one.id != other.id


def test_the_page_says_that_it_goes_on_where_the_model_was_left(files: tuple[Path, Path]) -> None:
    net, data = files
    known = edited(opening.open_paths(str(net), str(data)))
    app = start()
    app.text_input(key="model_path").set_value(str(net))
    app.text_input(key="data_path").set_value(str(data)).run()
    app.button(key="calibrate").click().run()
    until(app, lambda a: a.title[0].value == "Overview")
    healthy(app)
    assert opened(app).id == known.id
    assert any("goes on where it was left" in info.value for info in app.info)


# --- what is refused ---


def refusals(app: AppTest) -> list[str]:
    return [error.value.replace("\\", "") for error in app.error]


def test_a_refused_model_leaves_nothing_and_what_was_open_is_open(
    files: tuple[Path, Path], tmp_path: Path, home: Path
) -> None:
    net, data = files
    before = opening.open_paths(str(net), str(data))
    app = start(before)
    until(app, lambda a: "recipe" in a.session_state)
    go(app, "open")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(net.read_bytes()[:-20])
    app.text_input(key="model_path").set_value(str(broken))
    app.text_input(key="data_path").set_value(str(data)).run()
    app.button(key="calibrate").click().run()
    until(app, lambda a: bool(a.error))
    assert len(refusals(app)) == 1
    assert "broken.onnx" in refusals(app)[0]
    assert app.title[0].value == "Open a model"
    assert app.text_input(key="model_path").value == str(broken)  # to be put right
    assert on_disk(home) == [before.id]
    assert opened(app).id == before.id
    app.text_input(key="model_path").set_value(str(network(tmp_path / "fine.onnx", seed=9))).run()
    assert refusals(app) == []  # it was about the other file
    app.button(key="calibrate").click().run()
    until(app, lambda a: a.title[0].value == "Overview")
    healthy(app)  # nothing stale


def test_an_old_refusal_is_gone_after_another_page(tmp_path: Path) -> None:
    app = start()
    app.session_state[keys.REFUSED.name] = keys.Refusal("form", "no model")
    app.run()
    assert refusals(app) == ["No model."]
    go(app, "playground")
    go(app, "open")
    healthy(app)


def test_an_empty_upload_leaves_nothing(home: Path) -> None:
    with pytest.raises(DataError, match="empty"):
        opening.open_sources("a.onnx", ("a.onnx", b""), Source(kind="random"))
    assert on_disk(home) == []


def test_a_command_line_that_names_nothing_of_use_is_said_on_open(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    net, data = files
    np.savez(data, x=np.zeros((3, 7), np.float32))
    monkeypatch.setattr("sys.argv", ["app.py", "--model", str(net), "--data", str(data)])
    app = start()
    until(app, lambda a: bool(a.error))
    assert app.title[0].value == "Open a model"
    assert app.text_input(key="model_path").value == str(net)
    assert on_disk(home) == []


def test_a_project_with_edits_survives_a_failure(files: tuple[Path, Path], home: Path) -> None:
    net, data = files
    known = edited(opening.open_paths(str(net), str(data)))
    data.unlink()
    app = start(known)
    until(app, lambda a: bool(a.error))
    assert on_disk(home) == [known.id]


# --- samples ---


def test_starting_over_keeps_every_step() -> None:
    source = Source(kind="random")
    project = projects.record(projects.create("p", source, source), DEFAULTS, "Defaults")
    assert left_at(project) == 0
    assert start_over(project, DEFAULTS, "Defaults") == project  # nobody went on from it
    worked = edited(edited(project))
    fresh = start_over(worked, DEFAULTS, "Defaults")
    assert projects.read_step(fresh).recipe == DEFAULTS
    assert not fresh.can_undo
    assert not fresh.can_redo
    assert worked.parents.items() <= fresh.parents.items()
    assert left_at(fresh) == worked.head
    assert go_on(fresh).head == worked.head
    again = start_over(go_on(fresh), DEFAULTS, "Defaults")
    assert again.head == fresh.head  # not one more each time
    assert projects.open_project(project.id).head == fresh.head


def test_an_undone_step_is_gone_on_from_where_it_was_left() -> None:
    source = Source(kind="random")
    project = projects.record(projects.create("p", source, source), DEFAULTS, "Defaults")
    left = projects.undo(edited(edited(project)))
    assert left_at(left) == left.head
    assert go_on(left) == left


def test_a_sample_card_starts_fresh_or_goes_on() -> None:
    app = start()
    assert app.button(key="sample_digits_mlp").label == "Open"
    app.button(key="sample_digits_mlp").click().run()
    until(app, lambda a: a.title[0].value == "Overview")
    go(app, "inspector")
    shown(app, "selectbox", "method").set_value("KL").run()
    go(app, "open")
    assert app.button(key="sample_digits_mlp").label == "Start fresh"
    app.button(key="sample_digits_mlp").click().run()
    until(app, lambda a: a.title[0].value == "Overview")
    assert recipe(app) == Recipe()
    go(app, "open")
    app.button(key="continue_digits_mlp").click().run()
    until(app, lambda a: a.title[0].value == "Overview")
    assert recipe(app) != Recipe()
    healthy(app)


def test_the_demo_starts_fresh_once_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    left = edited(opening.open_sample("digits_mlp"))
    monkeypatch.setattr("sys.argv", ["app.py", "--demo", "digits_mlp"])
    app = start()
    assert recipe(app) == Recipe()
    assert any("starts fresh" in info.value for info in app.info)
    projects.record(opened(app), recipe_to_yaml(Recipe().with_default(method=Method.MSE)), "MSE")
    other = start()  # a second tab of the same server does not take the first one's work away
    assert recipe(other).default.method is Method.MSE
    assert left.parents.items() <= opened(other).parents.items()


# --- evaluation data ---


def test_evaluation_data_are_kept_replaced_and_removed(files: tuple[Path, Path], tmp_path: Path) -> None:
    net, data = files
    judged = samples(tmp_path / "eval.npz", seed=7, count=20)
    project = opening.open_paths(str(net), str(data), str(judged))
    assert project.evaluation is not None
    assert len(Tab(project).session().workspace.judged or ()) == 20
    again = opening.open_paths(str(net), str(data))
    assert (again.id, again.evaluation) == (project.id, project.evaluation)  # they stay
    other = samples(tmp_path / "eval2.npz", seed=8, count=9)
    changed = opening.open_sources(
        "net.onnx", opening.model_source(str(net)), opening.data_source(str(data)),
        evaluation=("eval2.npz", other.read_bytes()), evaluation_options={"limit": 5},
    )  # fmt: skip
    assert changed.id == project.id
    assert changed.evaluation is not None
    stored = changed.folder / changed.evaluation.path
    assert stored.is_file()
    dropped = opening.drop_evaluation(changed)
    assert projects.open_project(project.id).evaluation is dropped.evaluation is None
    assert not stored.exists()


def test_evaluation_data_that_are_the_calibration_data_are_refused(files: tuple[Path, Path]) -> None:
    net, data = files
    with pytest.raises(DataError, match="are the calibration data"):
        opening.open_paths(str(net), str(data), str(data))
    project = opening.open_paths(str(net), str(data))
    with pytest.raises(DataError, match="are the calibration data"):
        opening.give_evaluation(project, ("copy.npz", data.read_bytes()), {})


def test_evaluation_data_that_do_not_fit_are_refused_when_a_model_is_opened(
    files: tuple[Path, Path], tmp_path: Path, home: Path
) -> None:
    net, data = files
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, x=np.zeros((4, 9), np.float32))
    app = start()
    app.text_input(key="model_path").set_value(str(net))
    app.text_input(key="data_path").set_value(str(data))
    app.segmented_control(key="evaluation_by").set_value("Local path").run()
    assert app.button(key="calibrate").disabled
    app.text_input(key="evaluation_path").set_value(str(wrong)).run()
    app.button(key="calibrate").click().run()
    until(app, lambda a: bool(a.error))
    assert refusals(app)[0].startswith("The evaluation data cannot be used: ")
    assert on_disk(home) == []


def test_evaluation_data_are_given_later_in_the_sidebar(files: tuple[Path, Path], tmp_path: Path) -> None:
    net, data = files
    wrong, right = tmp_path / "wrong.npz", samples(tmp_path / "eval.npz", seed=7, count=20)
    np.savez(wrong, x=np.zeros((4, 9), np.float32))
    app = start(opening.open_paths(str(net), str(data)))
    until(app, lambda a: any(b.key == "evaluation" for b in a.button))
    go(app, "playground")
    app.button(key="evaluation").click().run()
    app.text_input(key="later_path").set_value(str(wrong)).run()
    app.button(key="later_use").click().run()
    assert any("cannot be used" in words for words in refusals(app))
    assert projects.open_project(opened(app).id).evaluation is None
    app.text_input(key="later_path").set_value(str(right)).run()
    app.button(key="later_use").click().run()
    until(app, lambda a: any("Judged on: 20 samples" in c.value for c in a.sidebar.caption))
    healthy(app)
    app.button(key="evaluation").click().run()
    app.button(key="later_remove").click().run()
    until(app, lambda a: any("Target" in c.value for c in a.sidebar.caption))
    assert not any("Judged on" in c.value for c in app.sidebar.caption)
    assert projects.open_project(opened(app).id).evaluation is None


# --- a model that was moved ---


def test_a_moved_model_is_located_by_its_content(files: tuple[Path, Path], tmp_path: Path) -> None:
    net, data = files
    project = edited(opening.open_paths(str(net), str(data)))
    Tab(project).session()
    saved = workspace.saved_statistics(project.folder)
    assert saved is not None
    moved = shutil.move(net, tmp_path / "moved.onnx")
    other = network(tmp_path / "other.onnx", seed=4)
    project = projects.open_project(project.id)
    assert locating.missing_model(project) == str(net)
    for given in (opening.model_source(str(other)), ("other.onnx", other.read_bytes())):
        with pytest.raises(ModelError, match="another model"):
            locating.locate_model(project, given, saved.model_hash)
    assert projects.open_project(project.id) == project
    found = locating.locate_model(project, ("moved.onnx", Path(moved).read_bytes()), saved.model_hash)
    assert found.model.kind == "stored"
    assert Tab(found).session().recipe.default.method is Method.KL


def test_a_project_without_its_model_gives_its_recipe_and_asks_for_the_model(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    net, data = files
    project = edited(opening.open_paths(str(net), str(data)))
    Tab(project).session()
    moved = shutil.move(net, tmp_path / "moved.onnx")
    state.cached.forget(project.id)
    app = start(projects.open_project(project.id))
    until(app, lambda a: any(t.key == "locate_path" for t in a.text_input))
    for page in ("overview", "layers", "export"):
        go(app, page)
        assert any("no longer where it was" in warning.value for warning in app.warning)
        assert any("KL" in text.value for text in app.markdown)  # the history
        assert "kl" in app.code[0].value  # the recipe
    app.text_input(key="locate_path").set_value(str(data)).run()
    app.button(key="locate").click().run()
    assert refusals(app)
    app.text_input(key="locate_path").set_value(str(moved)).run()
    app.button(key="locate").click().run()
    until(app, lambda a: any("Target" in c.value for c in a.sidebar.caption))
    healthy(app)
    assert recipe(app).default.method is Method.KL


def test_calibration_data_that_were_moved_are_asked_for(files: tuple[Path, Path], tmp_path: Path) -> None:
    net, data = files
    project = opening.open_paths(str(net), str(data))
    Tab(project).session()
    moved = shutil.move(data, tmp_path / "moved.npz")
    other = samples(tmp_path / "other.npz", seed=6)
    state.cached.forget(project.id)
    app = start(projects.open_project(project.id))
    until(app, lambda a: any(t.key == "locate_data_path" for t in a.text_input))
    go(app, "layers")
    app.text_input(key="locate_data_path").set_value(str(other)).run()
    app.button(key="locate_data").click().run()
    assert any("holds other samples" in words for words in refusals(app))
    app.text_input(key="locate_data_path").set_value(str(moved)).run()
    app.button(key="locate_data").click().run()
    until(app, lambda a: any("Target" in c.value for c in a.sidebar.caption))
    healthy(app)
    assert not any(t.key == "locate_data_path" for t in app.text_input)
    assert projects.open_project(project.id).data.path == str(moved)
