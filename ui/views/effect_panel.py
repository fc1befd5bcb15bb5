"""What the shown recipe, or a line held in a drag, does to the network; never holds up the page."""

import math
from collections.abc import Collection

import streamlit as st

from quantscope.core.evaluate import Preview
from quantscope.core.model import Layer
from quantscope.core.project import Figures
from quantscope.ui.components import NetworkFigure, network_figures
from quantscope.ui.components.figures import Tone
from quantscope.ui.components.refresh import signal
from quantscope.ui.content import text
from quantscope.ui.content.rows import MASKED
from quantscope.ui.runs import held_range, measured, step_figures
from quantscope.ui.session import state
from quantscope.ui.views import common

PATIENCE = 0.3  # seconds
NOTHING = 0.05  # dB: a smaller change is none, as it is shown


def render(now: state.Session, layer: Layer) -> None:
    """Draw it, and again by itself when the figures are there."""
    measurement = measured.effect(held_range.following(now), patience=PATIENCE)
    if measurement.running:
        common.poll("effect", 0.15, _panel, layer.name, True)
    else:  # a fragment too: the figures stay the same element, and are never there twice
        st.fragment(common.guarded(_panel))(layer.name, False)


def _panel(name: str, waited: bool) -> None:
    saved = state.session()
    if saved is None:
        signal("effect", "")  # the project is not open any more
        return
    now = held_range.following(saved)
    measurement = measured.effect(now)
    if waited and not measurement.running:
        signal("effect", state.recipe_token(now.recipe))  # once: ends the polling
    if measurement.error:
        st.error(text.escape(text.sentence(measurement.error)), icon=":material/error:")
        return
    step, before = _before(saved, held=now is not saved)
    basis = measured.preview_basis(now)
    network_figures(
        _figures(
            measurement.value, name, before, basis.words, measurement.running, measured.masked_layers(now)
        ),
        key="effect",
        about=basis.note + (f" · change since {step}" if before is not None else ""),
        token=state.recipe_token(now.recipe),
        doubt=basis.why,
    )


def _before(saved: state.Session, *, held: bool) -> tuple[str, Figures | None]:
    """The step that the figures are compared with, and its figures: under a held line, the saved one."""
    project = saved.project
    if held:
        step, known = project.head, step_figures.shown(saved)
    else:
        step, known = project.parents.get(project.head, 0), step_figures.before(saved)
    return f"step {step}", known.preview if known is not None else None


def _figures(
    result: Preview | None,
    name: str,
    before: Figures | None,
    samples: str,
    running: bool,
    masked: Collection[str],
) -> list[NetworkFigure]:
    """The network's figures; while they are measured, none are shown."""
    where = f"Exported int8 model against float, run by ONNX Runtime on {samples}."
    output = result.output.overall if result is not None else None
    note, tone = _decibels(output.sqnr_db if output else None, before.sqnr_db if before else None)
    figures = [
        NetworkFigure(
            key="sqnr",
            name="Output SQNR",
            value=text.decibel(output.sqnr_db if output else None),
            note=note,
            tone=tone,
            tip=f"10 log₁₀(Σf² / Σ(f−q)²) of the network's output, in dB. {where}",
            waiting=running,
        ),
        *_shares(result, before, where, running),
        NetworkFigure(
            key="cosine",
            name="Output cosine",
            value=text.cosine(output.cosine if output else None),
            tip=f"f·q / (‖f‖‖q‖) of the network's output. {where}",
            waiting=running,
            small=True,
        ),
    ]
    own = next((e.cumulative for e in result.layers if e.layer == name), None) if result is not None else None
    arriving = "This layer's output with everything before it quantized too."
    hidden = result is not None and name in masked
    if hidden:
        arriving = f"{arriving} {MASKED}"
    return [
        *figures,
        NetworkFigure(
            key="layer",
            name="This layer, SQNR",
            value="masked" if hidden else text.decibel(own.sqnr_db if own else None),
            tip=f"{arriving} {where}",
            waiting=running,
            small=True,
        ),
        NetworkFigure(
            key="layer_cosine",
            name="This layer, cosine",
            value=text.cosine(own.cosine if own else None),
            tip=f"{arriving} {where}",
            waiting=running,
            small=True,
        ),
    ]


def _shares(result: Preview | None, before: Figures | None, where: str, running: bool) -> list[NetworkFigure]:
    """Top-1, or the agreement where nothing is known to be right; what segmentation counts too."""
    scores = result.output.accuracy if result is not None else None
    if scores is None:
        return [_share("top1", "Classes", None, None, where, running)] if result is None else []
    right = scores.quantized_top1 is not None
    share = scores.quantized_top1 if scores.quantized_top1 is not None else scores.agreement
    then = None if before is None else before.top1 if right else before.agreement
    what = "positions" if scores.positions else "samples"
    tip = f"Share of {what} with the {'right' if right else 'same'} class first. {where}"
    found = [_share("top1", "Top-1" if right else "Agreement", share, then, tip, running)]
    if scores.quantized_miou is not None:
        tip = f"Mean over classes of intersection over union, |A ∩ B| / |A ∪ B|. {where}"
        miou = before.miou if before is not None else None
        found.append(_share("miou", "Mean IoU", scores.quantized_miou, miou, tip, running))
    return found


def _share(
    key: str, name: str, share: float | None, before: float | None, tip: str, running: bool
) -> NetworkFigure:
    """A share in percent, and how many points it has changed by."""
    note = ""
    tone: Tone = ""
    if share is not None and before is not None:
        gap = 100 * (share - before)
        note = "no change" if abs(gap) < NOTHING else text.change(gap, "pp")
        tone = "" if abs(gap) < NOTHING else "good" if gap > 0 else "bad"
    value = text.percent(share, 1)
    return NetworkFigure(key=key, name=name, value=value, note=note, tone=tone, tip=tip, waiting=running)


def _decibels(now: float | None, before: float | None) -> tuple[str, Tone]:
    """How an SQNR has changed, and whether that is good."""
    if now is None or before is None or math.isnan(now) or math.isnan(before):
        return "", ""
    gap = 0.0 if now == before else now - before
    if abs(gap) < NOTHING:
        return "no change", ""
    return text.change(gap), "good" if gap > 0 else "bad"
