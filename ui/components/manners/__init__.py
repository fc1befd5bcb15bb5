"""Names for assistive technology: buttons are called by what they do, not by the codes of their icons."""

from pathlib import Path

import streamlit as st

from quantscope.ui.components.script import component_script

# Buttons that show an icon only, by the beginning of their keys.
NAMES = {
    "undo": "Undo",
    "redo": "Redo",
    "previous": "Previous layer",
    "next": "Next layer",
    "remove_": "Remove",
    "to_history": "History: all steps",
    "open_history": "History: all steps",
    "compare_pin": "Pin or unpin the baseline",
}

# Buttons that stand in each entry of a list, by the beginning of their keys: its title tells them apart.
ENTRIES = ("remove_", "open_", "sample_", "continue_")

_manners = st.components.v2.component(
    "quantscope_manners",
    html="<span></span>",
    js=component_script(Path(__file__).parent / "main.js"),
)


def mind_manners() -> None:
    """Take part in the page, once, outside of fragments: what comes later is named too."""
    _manners(key="signal_manners", data={"names": NAMES, "entries": ENTRIES}, height=1)
