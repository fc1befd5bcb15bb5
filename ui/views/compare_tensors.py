"""Compare, tensor by tensor: their range and our range, with scales, zero points and what came of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from quantscope.ui.components.refresh import wide
from quantscope.ui.content import text
from quantscope.ui.content.scale_changes import scale_changes
from quantscope.ui.content.tensor_pairs import TensorPair, TensorRange, tensor_pairs
from quantscope.ui.runs.compared import VersionLayers
from quantscope.ui.runs.measured import Measured
from quantscope.ui.runs.versions import Kind, Version
from quantscope.ui.session import keys, state
from quantscope.ui.session.keys import Page
from quantscope.ui.views.layers_table import sortable

if TYPE_CHECKING:
    from streamlit.elements.lib.column_types import ButtonColumnResult, ColumnConfig

    Table = dict[str, ColumnConfig | ButtonColumnResult]


def render(
    now: state.Session, chosen: tuple[Version, ...], layers: dict[str, Measured[VersionLayers]]
) -> None:
    """Draw it: the version that others are held against, beside one of these."""
    against, *others = chosen
    with st.container(border=True):
        st.markdown("**Tensor by tensor** — ranges kept, scales and zero points")
        if against.kind is Kind.FLOAT:
            if len(others) < 2:
                st.caption("The float model has no scales: hold two quantized versions against each other.")
                return
            against, *others = others
        other = _other(others)
        ours, theirs = layers[against.key], layers[other.key]
        if ours.value is None or theirs.value is None:
            waiting = ours.running or theirs.running
            why = ours.error or theirs.error
            st.caption("Measuring…" if waiting else f"There is no table: {text.escape(why)}")
            return
        pairs = tensor_pairs(
            now.opened.model,
            ours.value.encodings,
            theirs.value.encodings,
            ours.value.layers,
            theirs.value.layers,
        )
        if Kind.FILE in (against.kind, other.kind):
            _scales(against, other, pairs)
        _table(against, other, _filtered(pairs), len(pairs))


def _scales(against: Version, other: Version, pairs: tuple[TensorPair, ...]) -> None:
    """What can be told of a file's choices: its scales."""
    found = scale_changes(pairs)
    names = f"{text.escape(text.short(against.short, 30))} → **{text.escape(text.short(other.short, 30))}**"
    lines = [f"- **{what}**: {text.escape(words)}" for what, words in found]
    st.markdown("\n".join([f"{names}\n", *(lines or ["- the same scales everywhere"])]))


def _other(others: list[Version]) -> Version:
    """The version on the right."""
    if len(others) == 1:
        return others[0]
    known = {version.key: version for version in others}
    chosen = st.segmented_control(
        "Beside it",
        list(known),
        default=others[0].key,
        required=True,
        format_func=lambda key: text.escape(text.short(known[key].short, 24)) if key in known else key,
        key=keys.COMPARE_PAIR.name,
    )
    return known.get(chosen or "", others[0])


def _filtered(pairs: tuple[TensorPair, ...]) -> list[TensorPair]:
    name, differs = st.columns([3, 2], vertical_alignment="bottom")
    part = name.text_input(
        "Layer contains", key=keys.COMPARE_NAME.name, placeholder="any part of a layer's name", live=True
    )
    only = differs.toggle("Only what differs", key=keys.COMPARE_DIFFERS.name)
    return [
        pair for pair in pairs if (part or "").lower() in pair.layer.lower() and (pair.differs or not only)
    ]


def _table(against: Version, other: Version, shown: list[TensorPair], count: int) -> None:
    different = sum(pair.differs for pair in shown)
    if not shown:
        st.info(
            f"None of the {text.plural(count, 'tensor')} fits: change the filter."
            if count
            else "Neither version quantizes any tensor.",
            icon=":material/filter_alt_off:",
        )
        return
    left, right = text.short(against.short, 14), text.short(other.short, 14)
    st.data_editor(
        _cells(shown),
        key=f"compare_tensors_{len(shown)}",
        hide_index=True,
        height=min(38 + 35 * len(shown), 420),
        num_rows="fixed",
        placeholder="–",
        disabled=[column for column in _COLUMNS if column != "inspect"],
        column_config=_columns(text.plain(left), text.plain(right), [pair.layer for pair in shown]),
    )
    st.caption(
        f"{len(shown):,} of {text.plural(count, 'tensor')}, {different:,} with another scale, zero point or "
        "type · *width*: the right range over the left one · of weights with a scale for each channel, the "
        "widest channel is shown · SQNR: cumulative, dB"
    )


_COLUMNS = (
    "inspect",
    "layer",
    "what",
    "left",
    "right",
    "ratio",
    "scale_left",
    "scale_right",
    "zero_left",
    "zero_right",
    "sqnr_left",
    "sqnr_right",
    "gain",
)


def _cells(shown: list[TensorPair]) -> pd.DataFrame:
    roomy = wide()
    return pd.DataFrame(
        {
            "inspect": ":material/tune:",
            "layer": [text.short(pair.layer, 52 if roomy else 22) for pair in shown],
            "what": [pair.what for pair in shown],
            "left": [_range(pair.ours) for pair in shown],
            "right": [_range(pair.theirs) for pair in shown],
            "ratio": [pair.ratio for pair in shown],
            "scale_left": [_scale(pair.ours) for pair in shown],
            "scale_right": [_scale(pair.theirs) for pair in shown],
            "zero_left": [pair.ours.zero_point for pair in shown],
            "zero_right": [pair.theirs.zero_point for pair in shown],
            "sqnr_left": [sortable(pair.our_sqnr) for pair in shown],
            "sqnr_right": [sortable(pair.their_sqnr) for pair in shown],
            "gain": [_figure(pair.gain) if pair.what == "output" else None for pair in shown],
        },
        columns=list(_COLUMNS),
    )


def _columns(left: str, right: str, names: list[str]) -> Table:
    column = st.column_config
    wide_head = 62 + 7 * max(len(left), len(right))  # pixels that a head with a version's name takes
    return {
        "inspect": column.ButtonColumn(
            "",
            key=keys.COMPARE_INSPECT.name,
            on_click=_inspect,
            args=(names,),
            type="tertiary",
            width=34,
            help="Open the layer in the Inspector",
        ),
        "layer": column.TextColumn("Layer", pinned=True, width=370 if wide() else 160),
        "what": column.TextColumn("Tensor", width=62),
        "left": column.TextColumn(f"Range, {left}", width=130),
        "right": column.TextColumn(f"Range, {right}", width=130),
        "ratio": column.NumberColumn(
            "Width", format="×%.3g", width=64, help="The right range over the left one"
        ),
        "scale_left": column.TextColumn(f"Scale, {left}", width=110),
        "scale_right": column.TextColumn(f"Scale, {right}", width=110),
        "zero_left": column.NumberColumn(f"Zero, {left}", width=wide_head, help="Zero point"),
        "zero_right": column.NumberColumn(f"Zero, {right}", width=wide_head, help="Zero point"),
        "sqnr_left": _decibels(f"SQNR, {left}", wide_head),
        "sqnr_right": _decibels(f"SQNR, {right}", wide_head),
        "gain": column.NumberColumn("Change, dB", format="%+.1f", width=96, help="Of the cumulative SQNR"),
    }


def _range(found: TensorRange) -> str:
    if found.low is None or found.high is None:
        return found.type
    return f"{text.number(found.low, 4)} … {text.number(found.high, 4)}"


def _scale(found: TensorRange) -> str:
    if found.scale is None:
        return ""
    several = f" ({found.scales:,})" if found.scales > 1 else ""
    return f"{text.number(found.scale, 5)}{several}"


def _decibels(head: str, width: int) -> ColumnConfig:
    return st.column_config.TextColumn(head, width=width, alignment="right", help="Cumulative, dB")


def _figure(value: float | None) -> float | None:
    """A change in dB; none from or to a tensor without error."""
    return None if value is None or not math.isfinite(value) else round(value, 1)


def _inspect(names: list[str]) -> None:
    click = keys.COMPARE_INSPECT.get()
    if click is not None:
        state.choose_layer(names[int(click.row)])
        keys.GO.set(Page.INSPECTOR)
