"""A presentation: slides one at a time, over the whole screen, on paper, or as one file to send."""

import json
from dataclasses import asdict
from pathlib import Path

import streamlit as st

from quantscope.ui.components.script import component_script
from quantscope.ui.content.story_records import Deck

_FOLDER = Path(__file__).parent


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


_STYLE = _text("style.css")
_DRAWING = "\n".join((f"const DECK_STYLE = {json.dumps(_STYLE)};", _text("pictures.js"), _text("deck.js")))

_deck = st.components.v2.component(
    "quantscope_story",
    html='<div id="story"></div>',
    css=_STYLE,
    js="\n".join((_DRAWING, component_script(_FOLDER / "main.js"))),
)


def deck_view(deck: Deck, *, key: str, remember: str) -> None:
    """Draw a deck.

    Args:
        deck: What is told.
        key: Of the element.
        remember: Under which the browser's tab remembers the slide that is shown.
    """
    _deck(key=key, data={"deck": asdict(deck), "remember": remember})


def standalone(deck: Deck) -> str:
    """One HTML file that shows a deck in any browser, without a network.

    Texts of the model and its data are data there, too: they are never read as markup.
    """
    data = json.dumps(asdict(deck), ensure_ascii=True).replace("<", "\\u003c")
    title = deck.title.replace("&", "&amp;").replace("<", "&lt;")
    start = f"new Deck(document.body, {{ style: DECK_STYLE }}).show({data});"
    script = f"{_DRAWING}\n{start}\n".replace("</", "<\\/")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<title>{title}</title>'
        f"<style>{_text('file.css')}\n{_STYLE}</style></head>"
        f'<body class="file"><script>{script}</script></body></html>\n'
    )
