"""What the app says of default sessions, on both kinds of processor, and the one-click way out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from quantscope.core.targets import ANY_X86, ONNXRUNTIME_CPU, TARGETS
from quantscope.core.targets.table import U8U8
from quantscope.ui.content import text
from quantscope.ui.session import opening
from tests.emulator import processor
from tests.pages import go, healthy, recipe, start, until
from tests.pages import home as home  # a fixture


@pytest.fixture
def saturating() -> Iterator[None]:
    with processor(saturating=True):
        yield


@pytest.fixture
def exact() -> Iterator[None]:
    with processor(saturating=False):
        yield


def opened_sample() -> AppTest:
    app = start(opening.open_sample("digits_mlp"))
    until(app, lambda a: "recipe" in a.session_state)
    return app


def said(app: AppTest) -> str:
    return "\n".join(element.value for element in (*app.markdown, *app.caption, *app.sidebar.caption))


def test_one_click_makes_the_file_safe(home: None, saturating: None) -> None:
    app = go(opened_sample(), "overview")
    until(app, lambda a: "gives other results" in said(a))
    assert "CPU without VNNI" in said(app)
    assert "`fc1`" in said(app)
    app.button(key="any_x86_overview").click().run()
    assert recipe(app).target == ANY_X86.name
    until(app, lambda a: "gives the same outputs, bit for bit" in said(a))
    assert "gives other results" not in said(app)
    assert not [b for b in app.button if str(b.key).startswith("any_x86")]
    app.button(key="undo").click().run()
    assert recipe(app).target == ONNXRUNTIME_CPU.name
    until(app, lambda a: "gives other results" in said(a))
    healthy(app)


def test_export_tells_both_figures(home: None, saturating: None) -> None:
    app = go(opened_sample(), "export")
    until(app, lambda a: "gives other results" in said(a) and "Verified." in said(a))
    app.button(key="any_x86_export").click().run()
    until(app, lambda a: "cannot saturate on any x86 CPU" in said(a))
    assert "gives the same outputs, bit for bit" in said(app)
    healthy(app)


def test_on_other_processors_export_warns_of_those_that_saturate(home: None, exact: None) -> None:
    app = go(opened_sample(), "overview")
    assert "CPU without VNNI" not in said(app)
    go(app, "export")
    until(app, lambda a: "3 layers may saturate" in said(a))
    assert "its sums are exact" in said(app)
    app.button(key="any_x86_export").click().run()
    until(app, lambda a: "cannot saturate on any x86 CPU" in said(a))
    go(app, "overview")
    assert "default session" not in said(app)
    healthy(app)


def test_every_target_can_be_chosen(home: None, exact: None) -> None:
    app = go(opened_sample(), "export")
    for name in (*TARGETS, U8U8.name):
        before = recipe(app).target
        app.selectbox(key=f"target_{before}").set_value(name).run()
        assert recipe(app).target == name
        assert text.escape(TARGETS[name].note) in said(app)
        until(app, lambda a: "Verified." in said(a))
    healthy(app)
