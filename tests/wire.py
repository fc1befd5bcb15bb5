"""What browser and server said to each other, in short: shown where a browser test fails."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import Any

KEPT = 60  # messages
LINES = 60  # of the page


def wrapping(mark: str, call: str) -> str:
    """A page's script by which components are called through `call` instead.

    Args:
        mark: Is in the scripts of the components that are meant.
        call: A function in JavaScript: what Streamlit would call → what it calls.
    """
    return f"""(() => {{
  const Real = Blob;
  window.Blob = function (parts, options) {{
    const text = String(parts?.[0]);
    if (options?.type !== "text/javascript" || !text.includes({json.dumps(mark)})) {{
      return new Real(parts, options);
    }}
    const inner = "inner" + text.length;  // another name where what is wrapped is wrapped
    return new Real([text.replace("export default ", `const ${{inner}} = `) + `
export default ({call})(${{inner}});`], options);
  }};
  window.Blob.prototype = Real.prototype;
}})()"""


# So that a failure shows when the component that asks for new runs was called, asked and ended.
CALLS = """window.quantscopeCalls = [];
window.quantscopeCalled = ({ data, parentElement }, what) => {
  const { quantscopeCalls: calls } = window, time = (performance.now() / 1000).toFixed(3);
  parentElement.number ??= window.quantscopeElements = (window.quantscopeElements || 0) + 1;
  calls.push(`${time} element ${parentElement.number} ${what} ${JSON.stringify(data).slice(0, 80)}`);
  if (calls.length > 60) calls.shift();
};
""" + wrapping(
    "const READY =",
    """(shown) => (component) => {
  const say = (what) => window.quantscopeCalled(component, what);
  say("called");
  const setTriggerValue = (...event) => { say("asks"); component.setTriggerValue(...event); };
  const end = shown({ ...component, setTriggerValue });
  return () => { say("ended"); end(); };
}""",
)


class Wire:
    """The last messages of a page's connection: `>` from the browser, `<` from the server."""

    def __init__(self) -> None:
        self._said: deque[str] = deque(maxlen=KEPT)
        self._pressed: list[tuple[str, str]] = []  # page that a request names, key of the component
        self.page = ""  # that the last request named
        self._start = time.monotonic()

    def listen(self, socket: Any) -> None:
        """Follow a connection that the page opens."""
        socket.on("framesent", self._sent)
        socket.on("framereceived", self._received)
        socket.on("close", lambda _: self._note("closed"))

    def asked(self, event: str, page: str = "") -> int:
        """How many events of components whose key starts like this were sent, naming `page` if it is set."""
        return sum(key.startswith(event) and page in ("", named) for named, key in self._pressed)

    def __str__(self) -> str:
        self._note("now")
        return "\n".join(self._said)

    def _note(self, words: str) -> None:
        self._said.append(f"{time.monotonic() - self._start:8.3f} {words}")

    def _sent(self, frame: Any) -> None:
        from streamlit.proto.BackMsg_pb2 import BackMsg

        message = BackMsg.FromString(frame) if isinstance(frame, bytes) else BackMsg()
        kind = message.WhichOneof("type")
        if kind != "rerun_script":
            return self._note(f"> {kind}")
        asked = message.rerun_script
        pressed = [
            w.id.split("-")[-1]
            for w in asked.widget_states.widgets
            if str(w.WhichOneof("value")).endswith("trigger_value")
        ]
        self.page = asked.page_script_hash
        self._pressed += ((self.page, key) for key in pressed)
        return self._note(f"> page {asked.page_script_hash[:4]} part {asked.fragment_id[:4]} {pressed}")

    def _received(self, frame: Any) -> None:
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        message = ForwardMsg.FromString(frame) if isinstance(frame, bytes) else ForwardMsg()
        kind = message.WhichOneof("type")
        if kind == "new_session":
            parts = [part[:4] for part in message.metadata.run.fragment_ids]
            self._note(f"< run of page {message.new_session.page_script_hash[:4]} parts {parts}")
        elif kind == "script_finished":
            self._note(f"< finished, {message.script_finished}")


def seen(page: Any) -> str:
    """The page's state and its first lines."""
    try:
        state = page.get_by_test_id("stApp").get_attribute("data-test-script-state", timeout=2000)
        calls = page.evaluate("window.quantscopeCalls || []")
        lines = [line for line in page.locator("body").inner_text(timeout=2000).splitlines() if line.strip()]
    except Exception as error:  # closed, or never there: the failure itself says more
        return f"no page: {type(error).__name__}"
    return "\n".join([f"script {state}", *lines[:LINES], "", *calls])
