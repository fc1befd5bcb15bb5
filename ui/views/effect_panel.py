"""What the shown recipe, or a line held in a drag, does to the network; never holds up the page."""

import streamlit as st

from quantscope.core.evaluate import Preview
from quantscope.core.model import Layer
from quantscope.ui.components import Card, cards
from quantscope.ui.components.refresh import signal
from quantscope.ui.content import text
from quantscope.ui.runs import held_range, measured
from quantscope.ui.session import state
from quantscope.ui.views import common

PATIENCE = 0.3  # seconds


def render(now: state.Session, layer: Layer) -> None:
    """Draw it, and again by itself when the figures are there."""
    measurement = measured.effect(held_range.following(now), patience=PATIENCE)
    if measurement.running:
        common.poll("effect", 0.15, _panel, layer.name, True)
    else:
        _panel(layer.name, False)


def _panel(name: str, waited: bool) -> None:
    now = state.session()
    if now is None:
        signal("effect", "")  # the project is not open any more
        return
    now = held_range.following(now)
    measurement = measured.effect(now)
    if waited and not measurement.running:
        signal("effect", state.recipe_token(now.recipe))  # once: ends the polling
    if measurement.error:
        st.error(text.escape(measurement.error), icon=":material/error:")
        return
    result = measurement.value
    few = now.workspace.preview
    samples = text.plural(len(few) if few is not None else 0, "sample")
    cards(
        _cards(result, name, samples, measurement.running),
        key="effect",
        least=130,
        token=state.recipe_token(now.recipe),
    )


def _cards(result: Preview | None, name: str, samples: str, running: bool) -> list[Card]:
    """The network's figures; while they are measured, none are shown."""
    where = f"Exported int8 model against float, run by ONNX Runtime on {samples}."
    output = result.output.overall if result is not None else None
    scores = result.output.accuracy if result is not None else None
    own = next((e.cumulative for e in result.layers if e.layer == name), None) if result is not None else None
    note = "updating…" if running else f"network, {samples}"
    entries = [
        (
            "Output SQNR",
            text.decibel(output.sqnr_db if output else None),
            f"10 log₁₀(Σf² / Σ(f−q)²), dB. {where}",
        ),
        ("Output cosine", text.cosine(output.cosine if output else None), f"f·q / (‖f‖‖q‖). {where}"),
    ]
    if scores is not None:
        right = scores.quantized_top1 is not None
        share = scores.quantized_top1 if right else scores.agreement
        what = "positions" if scores.positions else "samples"
        tip = f"Share of {what} with the {'right' if right else 'same'} class first. {where}"
        entries.append(("Top-1" if right else "Agreement", text.percent(share, 0), tip))
        if scores.quantized_miou is not None:
            tip = f"Mean over classes of intersection over union, |A ∩ B| / |A ∪ B|. {where}"
            entries.append(("Mean IoU", text.percent(scores.quantized_miou, 0), tip))
    elif result is None:
        entries.append(("Classes", "–", where))
    entries += [
        (
            "This layer",
            text.decibel(own.sqnr_db if own else None),
            f"Cumulative SQNR of this layer's output. {where}",
        ),
        (
            "This layer, cosine",
            text.cosine(own.cosine if own else None),
            f"Cumulative cosine of its output. {where}",
        ),
    ]
    notes = {"This layer": "cumulative", "This layer, cosine": "cumulative"}
    if scores is not None and scores.positions:
        notes |= dict.fromkeys(("Top-1", "Agreement"), f"over positions, {samples}")
    return [
        Card(
            name=title,
            value=value,
            tip=tip,
            waiting=running,
            note="updating…" if running else notes.get(title, note),
        )
        for title, value, tip in entries
    ]
