"""What browser and server said to each other, in short: shown where a browser test fails."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

KEPT = 60  # messages
LINES = 60  # of the page
# Wraps the script of the component that asks for new runs, so that a failure shows when it was called.
CALLS = """(() => {
  const Real = Blob, seen = (window.quantscopeCalls = []), names = new WeakMap();
window.Blob = function (parts, options) {
  const [text] = parts || [];
  if (options?.type !== "text/javascript" || !String(text).includes("const READY =")) {
    return new Real(parts, options);
  }
  return new Real([text.replace("export default function", "const watched = function") + `
    export default function (component) {
      const { setTriggerValue } = component, ask = (...event) => {
        window.quantscopeCalled(component, "asks");
        return setTriggerValue(...event);
      };
      window.quantscopeCalled(component, "called");
      const end = watched({ ...component, setTriggerValue: ask });
      return () => { window.quantscopeCalled(component, "ended"); end?.(); };
    }`], options);
};
window.Blob.prototype = Real.prototype;
window.quantscopeCalled = ({ data, parentElement }, what) => {
  if (!names.has(parentElement)) names.set(parentElement, seen.length);
  const words = JSON.stringify(data).slice(0, 80);
  seen.push(`${(performance.now() / 1000).toFixed(3)} element ${names.get(parentElement)} ${what} ${words}`);
  if (seen.length > 60) seen.shift();
};
})()"""


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
