"""A gallery of samples: what goes in, what each model answers, and where they differ."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import streamlit as st

from quantscope.ui.components.script import component_script
from quantscope.ui.content.sample_cards import SampleCard
from quantscope.ui.figures.style import ACCENT, FLOAT, GOOD, QUANTIZED, WARN

_FOLDER = Path(__file__).parent
COLOURS = (FLOAT, QUANTIZED, ACCENT, WARN, GOOD, "#b04fc2")  # of the float model, then of each version

_gallery = st.components.v2.component(
    "quantscope_samples",
    html='<div id="samples"></div>',
    css=(_FOLDER / "style.css").read_text(encoding="utf-8"),
    js=component_script(_FOLDER / "main.js"),
)


def gallery(
    cards: Sequence[SampleCard], models: Sequence[str], *, key: str, waiting: bool = False, least: int = 330
) -> None:
    """Draw samples side by side, as many in a row as fit with `least` pixels each.

    Args:
        cards: What is drawn.
        models: Names of the float model and of the versions, for the legend.
        key: Of the element.
        waiting: Others are on their way; these are drawn pale.
        least: Pixels of a card.
    """
    _gallery(
        key=key,
        data={
            "cards": [asdict(card) for card in cards],
            "models": [
                {"name": name, "colour": colour} for name, colour in zip(models, COLOURS, strict=False)
            ],
            "waiting": waiting,
            "least": least,
        },
    )
