"""Names of layers, outputs, steps, versions and classes are text on the pages that compare and tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from streamlit.testing.v1 import AppTest

from quantscope.core.project import Project, Source, marks
from quantscope.core.project import project as projects
from quantscope.core.recipe import Recipe, recipe_to_yaml
from quantscope.core.thresholds import Method
from quantscope.ui.session import keys
from quantscope.ui.session.keys import ComparedVersions
from tests.graphs import model, node, randn, value
from tests.pages import go, healthy, start, until
from tests.pages import home as home  # a fixture

HOSTILE = "![x](//e) :red[r]"  # short: labels must not be cut
PLAIN = ("selectbox", "multiselect")  # whose options Streamlit does not read as Markdown


@pytest.fixture
def project(tmp_path: Path, home: Path) -> Project:
    """A classifier with hostile names and three steps."""
    proto = model(
        [
            node("Conv", ["image", "w"], ["c"], name=HOSTILE),
            node("GlobalAveragePool", ["c"], ["p"], name="pool"),
            node("Flatten", ["p"], ["f"], name="flat"),
            node("Gemm", ["f", "v"], [f"{HOSTILE} out"], name="fc"),
        ],
        [value("image", ["N", 3, 8, 8])],
        [value(f"{HOSTILE} out", ["N", 4])],
        {"w": randn(6, 3, 3, 3, seed=1), "v": randn(6, 4, seed=2)},
    )
    onnx.save(proto, tmp_path / "net.onnx")
    images = np.random.default_rng(5).uniform(0, 1, (24, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", image=images, labels=np.arange(24) % 4)
    given = [Source(kind="path", path=str(tmp_path / name)) for name in ("net.onnx", "data.npz")]
    made = projects.create(HOSTILE, *given)
    for number, method in enumerate((Method.MINMAX, Method.PERCENTILE, Method.MSE), 1):
        recipe = recipe_to_yaml(Recipe().with_default(method=method))
        made = projects.record(made, recipe, HOSTILE)
        marks.call(made, number, f"{HOSTILE} {number}", HOSTILE)
    marks.pin(made, "step:1")
    (made.folder / "files").mkdir(exist_ok=True)
    (made.folder / "files/names-of-classes.json").write_text(json.dumps([f"{HOSTILE}{n}" for n in range(4)]))
    return projects.open_project(made.id)


def read_as_markdown(page: AppTest) -> Iterator[str]:
    """All that Streamlit reads as Markdown: bodies, labels, help, options; without spans of code."""

    def walk(block: Any) -> Iterator[str]:
        for child in block.children.values():
            if hasattr(child, "children"):
                yield from walk(child)
            proto = getattr(child, "proto", None)
            for field in ("body", "help", "label"):
                said = getattr(proto, field, "")
                if isinstance(said, str):
                    yield "".join(said.split("`")[::2])
            for option in () if child.type in PLAIN else getattr(proto, "options", ()):
                yield str(getattr(option, "content", option))

    return walk(page._tree)


@pytest.mark.parametrize("name", ["history", "compare", "present", "overview", "layers"])
def test_names_are_never_markdown(project: Project, name: str) -> None:
    page = start(project)
    until(page, lambda a: "recipe" in a.session_state, 60)
    page.session_state[keys.COMPARED.name] = ComparedVersions(
        project=project.id, against="step:1", others=("step:2", "step:3")
    )
    go(page, name)
    until(page, lambda a: not any("easuring" in part.value for part in (*a.markdown, *a.caption)), 90)
    if name == "compare":
        until(page, lambda a: keys.SAMPLES_FILTER.name in a.session_state, 90)
    healthy(page)
    said = list(read_as_markdown(page))
    assert len(said) > 10
    assert not [words for words in said if "](//e" in words or ":red[r]" in words]
