"""The histogram whose clip lines are dragged, with the error curves below it; drawn by the browser."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

_FOLDER = Path(__file__).parent
_SCRIPT = "\n".join(
    (_FOLDER / name).read_text(encoding="utf-8") for name in ("scales.js", "draw.js", "main.js")
)

_chart = st.components.v2.component(
    "quantscope_threshold",
    html='<div id="threshold"></div>',
    css=(_FOLDER / "style.css").read_text(encoding="utf-8"),
    js=_SCRIPT,
)


def threshold_chart(
    payload: Mapping[str, Any],
    *,
    key: str,
    on_edit: Callable[[], None],
    on_use: Callable[[], None],
    on_hold: Callable[[], None] | None = None,
    held: bool = False,
) -> None:
    """Draw `payload` (made by `payload.build`).

    `st.session_state[key].edit` is {low, high, seq, rev} while `on_edit` runs: a clip line was moved.
    `st.session_state[key].hold` is {low, high, rev} while `on_hold` runs: a line stands still in a drag;
    without low and high: that was taken back. `held` says that the page still shows a line held.
    `st.session_state[key].use` is {method, rev} while `on_use` runs: a method's mark was clicked.
    """
    data = {**payload, "follow": on_hold is not None, "held": held}
    _chart(
        key=key,
        data=data,
        on_edit_change=on_edit,
        on_use_change=on_use,
        on_hold_change=on_hold or (lambda: None),
    )
