"""A connection that is late: what the server sends arrives long after the user has gone on."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.browser.test_flows import drag, inspector, link, saved, saved_anew
from tests.browser.test_polling import ENDED
from tests.support import ready

pytestmark = pytest.mark.browser


class Late:
    """A page's connection whose messages can be held back, and delivered later in their order."""

    def __init__(self) -> None:
        self.held: list[Any] | None = None  # answers
        self.asked: list[Any] | None = None  # requests
        self._browser: Any = None
        self._server: Any = None

    def route(self, browser: Any) -> None:
        """Take a connection that the page opens."""
        self._browser, self._server = browser, browser.connect_to_server()
        browser.on_message(self._request)
        self._server.on_message(self._answer)

    def deliver(self) -> None:
        """Send on what was held back, and hold nothing any more."""
        held, self.held = self.held or [], None
        for message in held:
            self._browser.send(message)

    def ask(self) -> None:
        """Send the requests that were held back, at once, and hold none any more."""
        asked, self.asked = self.asked or [], None
        for message in asked:
            self._server.send(message)

    def _request(self, message: Any) -> None:
        if self.asked is None:
            self._server.send(message)
        else:
            self.asked.append(message)

    def _answer(self, message: Any) -> None:
        if self.held is None:
            self._browser.send(message)
        else:
            self.held.append(message)


def let_go(page: Any, late: Late, dx: float) -> None:
    """Drag a line and let it go; neither the answer to its being held nor the edit has arrived yet."""
    late.held = []
    drag(page, dx, release=False)
    page.wait_for_timeout(1500)  # the line is held, and answered
    late.asked = []
    page.mouse.up()


def test_a_page_comes_back_whose_answer_was_late(page: Any, app_url: str) -> None:
    """The browser may have dropped by then what it had when it asked; nothing sent may rely on that."""
    late = Late()
    page.route_web_socket(re.compile("_stcore/stream"), late.route)
    inspector(page, app_url)
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


def test_a_line_let_go_while_the_network_is_still_answering_is_saved(page: Any, app_url: str) -> None:
    """The answer to a held line comes after it was let go: what the page sends then takes nothing back."""
    late = Late()
    page.route_web_socket(re.compile("_stcore/stream"), late.route)
    inspector(page, app_url)
    page.wait_for_timeout(1200)
    before = saved(page)
    let_go(page, late, -150)
    page.wait_for_timeout(300)
    late.deliver()
    page.wait_for_timeout(300)
    late.ask()
    page.locator("#threshold[data-state=exact]").wait_for()
    saved_anew(page, before)
    assert saved(page) == before + 1


def test_an_edit_with_a_request_of_the_page_right_behind_it_is_saved(page: Any, app_url: str) -> None:
    """Both are there at once: the second is not to end the first before that has done anything."""
    late = Late()
    page.route_web_socket(re.compile("_stcore/stream"), late.route)
    inspector(page, app_url)
    for _ in range(5):
        before = saved(page)
        let_go(page, late, -12)
        late.deliver()
        page.evaluate(ENDED)
        for _ in range(100):
            if len(late.asked) > 1:
                break
            page.wait_for_timeout(50)
        assert len(late.asked) > 1
        late.ask()
        saved_anew(page, before)
        assert saved(page) == before + 1
        page.locator("#threshold[data-state=exact]").wait_for()
        page.locator("[data-card='Output SQNR']:not(.waiting)").wait_for()
        ready(page)
