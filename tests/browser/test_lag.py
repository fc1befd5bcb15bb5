"""A connection that is late: what the server sends arrives long after the user has gone on."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.browser.test_flows import link, visit
from tests.support import ready

pytestmark = pytest.mark.browser


class Late:
    """A page's connection whose answers can be held back, and delivered later in their order."""

    def __init__(self) -> None:
        self.held: list[Any] | None = None
        self._browser: Any = None

    def route(self, browser: Any) -> None:
        """Take a connection that the page opens."""
        server = browser.connect_to_server()
        self._browser = browser
        browser.on_message(server.send)
        server.on_message(self._answer)

    def deliver(self) -> None:
        """Send on what was held back, and hold nothing any more."""
        held, self.held = self.held or [], None
        for message in held:
            self._browser.send(message)

    def _answer(self, message: Any) -> None:
        if self.held is None:
            self._browser.send(message)
        else:
            self.held.append(message)


def test_a_page_comes_back_whose_answer_was_late(page: Any, app_url: str) -> None:
    """The browser may have dropped by then what it had when it asked; nothing sent may rely on that."""
    late = Late()
    page.route_web_socket(re.compile("_stcore/stream"), late.route)
    visit(page, app_url, "Inspector")
    page.locator("#threshold[data-state=exact]").wait_for()
    page.locator("[data-card='Output SQNR']:not(.waiting)").wait_for()
    page.wait_for_timeout(1200)
    link(page, "Sensitivity")
    late.held = []
    for kind in ("One layer off", "Operator types", "One layer on"):
        page.get_by_text(kind, exact=True).click()
        page.wait_for_timeout(700)
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Inspector").click()
    page.wait_for_timeout(1500)
    late.deliver()
    page.locator("#threshold[data-state=exact]").wait_for()
    ready(page)
    assert page.get_by_text("Connection error").count() == 0
