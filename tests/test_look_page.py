"""A model that is quantized already: it opens for looking, and nothing can be edited."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from streamlit.testing.v1 import AppTest

from quantscope.core.project import Project
from quantscope.core.project import project as projects
from quantscope.sample_data import SAMPLES
from quantscope.ui.runs import looking
from quantscope.ui.session import opening, state
from tests.pages import Tab, healthy, opened, start, until
from tests.pages import home as home  # a fixture
from tests.test_stored_quantizers import qdq

MLP = SAMPLES["digits_mlp"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A quantized model of two numbers."""
    path = tmp_path / "int8.onnx"
    onnx.save(qdq().proto(), path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.random.default_rng(0).normal(4, 3, (40, 2)).astype(np.float32))
    return path


def looked(project: Project) -> AppTest:
    app = start(project)
    until(app, lambda a: bool(a.dataframe) or bool(a.error))
    return app


def test_a_quantized_model_is_shown_with_the_values_that_its_scales_round(file: Path, data: Path) -> None:
    app = start()
    app.text_input(key="model_path").set_value(str(file))
    app.text_input(key="data_path").set_value(str(data)).run()
    app.button(key="calibrate").click().run()
    until(app, lambda a: bool(a.dataframe))
    healthy(app)
    assert app.title[0].value == "A look at a quantized model"
    table = app.dataframe[0].value
    assert list(table["Tensor"]) == ["x", "w"]
    assert table["Scale"][0] == pytest.approx(0.1)
    assert table["Clipped"][0] >= 0
    assert len(app.get("plotly_chart")) == 1
    assert any("Over 40 samples of data.npz" in caption.value.replace("\\", "") for caption in app.caption)
    for page in ("layers", "inspector", "export"):
        app.session_state["go"] = page
        app.run()
        healthy(app)
        assert app.subheader[0].value == "Nothing to tune here"
        assert not app.selectbox
    assert not any("Undo" in str(button.help) for button in app.button)
    assert state.looked_at(projects.open_project(opened(app).id))


def test_it_is_opened_as_it_was_and_once(file: Path, data: Path) -> None:
    app = start(opening.open_paths(str(file), str(data)))
    until(app, lambda a: bool(a.dataframe))
    again = opening.open_paths(str(file), str(data))
    assert again.id == opened(app).id
    assert state.looked_at(again)
    healthy(looked(again))


def test_without_data_the_file_itself_is_shown(file: Path) -> None:
    app = looked(opening.open_paths(str(file), None))
    until(app, lambda a: bool(a.dataframe))
    healthy(app)
    assert any("Open the model together with data" in info.value for info in app.info)


def test_data_that_do_not_fit_are_noted(file: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", x=np.zeros((3, 5), np.float32))
    project = opening.open_paths(str(file), str(tmp_path / "wrong.npz"))
    job = looking.look_job(project)
    assert job.wait(60)
    assert job.result is not None
    assert job.result.samples == 0
    assert any("the data cannot be used" in note for note in job.result.notes)


def test_a_name_that_nothing_has_is_said(file: Path, data: Path) -> None:
    app = looked(opening.open_paths(str(file), str(data)))
    until(app, lambda a: bool(a.dataframe))
    app.text_input(key="look_name").set_value("nothing").run()
    healthy(app)
    assert not app.dataframe
    assert any("Clear the filter" in caption.value for caption in app.caption)
    app.text_input(key="look_name").set_value("").run()
    app.segmented_control(key="look_role").set_value("Weights").run()
    assert list(app.dataframe[0].value["Tensor"]) == ["w"]


def test_a_quantized_model_that_was_moved_asks_for_it(file: Path, data: Path, tmp_path: Path) -> None:
    project = opening.open_paths(str(file), str(data))
    until(app := start(project), lambda a: bool(a.dataframe))
    file.rename(tmp_path / "elsewhere.onnx")
    state.cached.forget(project.id)
    app = start(projects.open_project(project.id))
    until(app, lambda a: any("no longer where it was" in w.value for w in a.warning))
    app.text_input(key="locate_path").set_value(str(tmp_path / "elsewhere.onnx")).run()
    app.button(key="locate").click().run()
    until(app, lambda a: bool(a.dataframe))
    healthy(app)


def test_our_own_export_can_be_looked_at(tmp_path: Path) -> None:
    from quantscope.ui.runs import measured

    tab = Tab(opening.open_sample("digits_mlp"))
    now = tab.session()
    with tab:
        found = measured.verified(now)
        while found.running:
            found = measured.verified(now)
    assert found.value is not None
    path = tmp_path / "mlp_int8.onnx"
    path.write_bytes(found.value.data)
    job = looking.look_job(opening.open_paths(str(path), str(MLP.calibration)))
    assert job.wait(60)
    assert job.result is not None
    assert len(job.result.rows) == len(job.result.stored.quantizers) > 0
    assert all(row.seen_low is not None for row in job.result.rows)
