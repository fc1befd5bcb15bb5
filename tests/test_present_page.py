"""Present: the page tells the open project's story and changes nothing; Overview says it in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from streamlit.testing.v1 import AppTest

from quantscope.core.project import Project, Source
from quantscope.core.project import project as projects
from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.ui.content.story_records import Deck, Gallery, Journey, Slide
from quantscope.ui.runs import baseline, versions
from quantscope.ui.session import opening
from quantscope.ui.views import present
from tests.graphs import model, node, randn, value
from tests.pages import go, healthy, opened, small, start, until
from tests.pages import home as home  # a fixture

WORSE = Recipe().with_default(weights="per_tensor")


@pytest.fixture
def decks(monkeypatch: pytest.MonkeyPatch) -> list[Deck]:
    """What was given to the browser, newest last."""
    drawn: list[Deck] = []
    monkeypatch.setattr(present, "deck_view", lambda deck, **_: drawn.append(deck))
    return drawn


def told(app: AppTest, decks: list[Deck]) -> dict[str, Slide]:
    """The slides, once nothing is measured any more."""
    until(app, lambda _: bool(decks) and not any(slide.waiting for slide in decks[-1].slides))
    healthy(app)
    return {slide.key: slide for slide in decks[-1].slides}


def presented(project: Project) -> AppTest:
    app = start(project)
    until(app, lambda a: "recipe" in a.session_state)
    return go(app, "present")


def recorded(project: Project, recipe: Recipe, label: str) -> Project:
    return projects.record(project, recipe_to_yaml(recipe), label)


def test_a_sample_is_told_from_the_first_idea_to_what_remains(decks: list[Deck]) -> None:
    first = recorded(opening.open_sample("digits_mlp"), WORSE, "coarser")
    app = presented(recorded(first, WORSE.with_default(method="percentile"), "finer"))
    slides = told(app, decks)
    assert list(slides) == [
        "opening",
        "idea",
        "values",
        "steps",
        "cut",
        "saved",
        "cost",
        "examples",
        "done",
        "open",
        "words",
    ]
    assert "digits" in decks[-1].headline
    assert slides["cost"].basis == "Measured on 1,000 evaluation samples, against the original network"
    assert isinstance(slides["done"].picture, Journey)
    assert {deed.name for deed in slides["done"].picture.deeds} == {
        "Rare values are cut off (Percentile 99.99 %)",
        "Each layer's weights share one range",
    }
    assert len(slides["done"].picture.figures) == 2
    before = projects.current_head(opened(app))
    assert before == 3  # nothing was edited


def test_the_pinned_version_is_what_others_are_held_against(decks: list[Deck]) -> None:
    project = recorded(opening.open_sample("digits_mlp"), WORSE, "coarser")
    found = versions.quantized_version(project, versions.step_key(2))
    baseline.pin(project, found)
    slides = told(presented(project), decks)
    assert slides["done"].title.startswith("Nothing")  # it is the pinned one itself


def test_outputs_that_are_no_classes_are_told_by_how_far_they_are_off(
    decks: list[Deck], tmp_path: Path
) -> None:
    proto = model(
        [node("Conv", ["x", "w"], ["y"], name="conv", pads=[1, 1, 1, 1])],
        [value("x", ["N", 3, 16, 16])],
        [value("y", ["N", 1, 16, 16])],
        {"w": randn(1, 3, 3, 3)},
    )
    onnx.save(proto, tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=randn(6, 3, 16, 16))
    given = (Source(kind="path", path=str(tmp_path / name)) for name in ("net.onnx", "data.npz"))
    slides = told(presented(opening.open_sources("net.onnx", *given)), decks)
    assert "% off those of the original network" in decks[-1].headline
    assert slides["cost"].caution  # calibration samples
    assert isinstance(slides["examples"].picture, Gallery)
    for item in slides["examples"].picture.items:
        assert "% off" in item.said[-1].answer
        assert [shot.caption for shot in item.shots][1:] == ["original", "int8"]
        assert all(shot.src.startswith("data:image/") and len(shot.src) < 100_000 for shot in item.shots)


def test_pixels_that_change_their_class_are_counted(decks: list[Deck], tmp_path: Path) -> None:
    slides = told(presented(small(tmp_path, 1)), decks)
    assert "pixels get the same answer as before quantization" in decks[-1].headline
    assert "The images with the most pixels that get another answer" in slides["examples"].sentences[0]


def test_a_recipe_without_quantization_says_so(decks: list[Deck]) -> None:
    project = recorded(opening.open_sample("digits_mlp"), Recipe().with_default(precision="float"), "float")
    slides = told(presented(project), decks)
    assert decks[-1].headline.startswith("Nothing is quantized")
    assert "cost" not in slides


def test_the_overview_says_it_in_one_sentence_and_leads_to_the_story(decks: list[Deck]) -> None:
    app = start(opening.open_sample("digits_mlp"))
    until(app, lambda a: "recipe" in a.session_state)
    go(app, "overview")
    until(app, lambda a: any("digits are answered right" in m.value for m in a.markdown))
    app.button(key="to_present").click().run()
    assert app.title[0].value == "Present"
    healthy(app)


def test_without_a_project_the_page_says_what_to_do() -> None:
    app = start()
    app.session_state["go"] = "present"
    app.run()
    assert "No model is open" in app.subheader[0].value
