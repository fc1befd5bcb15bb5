"""Layers: one row a layer, what is set and what it costs; edit one, or all that a filter leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Unpack

import pandas as pd
import streamlit as st

from quantscope.core.recipe import ChoiceChanges, Recipe
from quantscope.core.targets import Granularity, Precision, target
from quantscope.core.thresholds import AUTOMATIC, Method
from quantscope.ui.components.refresh import wide
from quantscope.ui.content import text
from quantscope.ui.content.rows import Row
from quantscope.ui.content.tensor_view import LABELS, RULES
from quantscope.ui.figures.errors import error_figure
from quantscope.ui.runs import measured
from quantscope.ui.session import keys, state
from quantscope.ui.session.keys import Page
from quantscope.ui.session.memory import uninterrupted
from quantscope.ui.views import common

if TYPE_CHECKING:
    from streamlit.elements.lib.column_types import ButtonColumnResult, ColumnConfig

    Column = ColumnConfig | ButtonColumnResult

METHODS = {label: method for method, label in LABELS.items()}
GRANULARITY = {"per channel": Granularity.PER_CHANNEL, "per tensor": Granularity.PER_TENSOR}
NAMES = {granularity.value: name.removeprefix("per ") for name, granularity in GRANULARITY.items()}
SCALES = {label: rule for rule, label in RULES.items()}
SCALES_HELP = "*2ᵏ*: powers of two only, for chips that shift instead of multiplying; weights too"
NONE = "–"  # no weights


def render() -> None:
    """Draw the page."""
    common.title(
        "Layers", "What is set for every layer and what it costs; every edit is saved and can be undone."
    )
    now = common.session("then every layer is listed here with its strategy and its error.")
    if now is None:
        return
    rows, running = measured.rows(now)
    common.polling(running, measured.EFFECT, measured.LOCAL)
    shown = _filtered(rows)
    _bulk(now, shown)
    if not shown:
        st.info("No layer matches the filter.", icon=":material/filter_alt_off:")
    else:
        _table(now, shown)
    st.caption(
        f"{len(shown)} of {text.plural(len(rows), 'layer')} · *alone*: only that layer is quantized · "
        "*cumulative*: everything before it too; SQNR in dB on "
        + measured.preview_samples(now)
        + (" · **measuring…**" if running else "")
    )
    flagged = [row for row in shown if row.flag]
    if flagged:
        said = [f"- {text.code(row.name)}: {text.escape(row.flag)}" for row in flagged[:8]]
        more = f"\n- … and {len(flagged) - 8} more: show *Flagged*" if len(flagged) > 8 else ""
        st.markdown(":red[**⚑ Flagged**]\n" + "\n".join(said) + more)
    with st.container(border=True):
        st.markdown("**Error of the layers shown** — higher is better")
        st.plotly_chart(error_figure(shown), key="layer_errors", config={"displayModeBar": False})


def _filtered(rows: list[Row]) -> list[Row]:
    name, op, flag = st.columns([3, 2, 2], vertical_alignment="top")
    part = name.text_input(
        "Name contains", key="filter_name", placeholder="any part of a layer's name", live=True
    )
    ops = op.multiselect("Operator", sorted({row.op.split(" + ")[0] for row in rows}), key="filter_op")
    kind = flag.segmented_control(
        "Show", ["All", "Flagged", "Changed"], default="All", required=True, key="filter_flag"
    )
    return [
        row
        for row in rows
        if (part or "").lower() in row.name.lower()
        and (not ops or row.op.split(" + ")[0] in ops)
        and (kind == "All" or (kind == "Flagged" and row.flag) or (kind == "Changed" and row.own))
    ]


def _bulk(now: state.Session, shown: list[Row]) -> None:
    """Set something for all rows that are shown."""
    names = tuple(row.name for row in shown)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Strategy", [LABELS[m] for m in AUTOMATIC], key=keys.BULK_METHOD.name, width=150)
        st.button(
            f"Set for {text.plural(len(names), 'layer')}",
            key="bulk_set",
            disabled=not names,
            on_click=_set_method,
            args=(names,),
        )
        st.selectbox(
            "Precision", list(target(now.recipe.target).precisions), key=keys.BULK_PRECISION.name, width=120
        )
        st.button("Set", key="bulk_set_precision", disabled=not names, on_click=_set_precision, args=(names,))
        st.selectbox("Weights", list(GRANULARITY), key=keys.BULK_WEIGHTS.name, width=150)
        st.button("Set", key="bulk_set_weights", disabled=not names, on_click=_set_weights, args=(names,))
        st.selectbox("Scales", list(SCALES), key=keys.BULK_SCALES.name, width=158, help=SCALES_HELP)
        st.button("Set", key="bulk_set_scales", disabled=not names, on_click=_set_scales, args=(names,))
        st.button(
            "Back to defaults",
            key="bulk_reset",
            icon=":material/restart_alt:",
            disabled=not any(r.own for r in shown),
            on_click=_reset,
            args=(names,),
        )


@uninterrupted
def _for_all(names: tuple[str, ...], label: str, **changes: Unpack[ChoiceChanges]) -> None:
    def change(recipe: Recipe) -> Recipe:
        for name in names:
            recipe = recipe.with_layer(name, **changes)
        return recipe

    state.edit(change, f"{label} for {text.plural(len(names), 'layer')}")
    state.redraw_editors()


@uninterrupted
def _set_method(names: tuple[str, ...]) -> None:
    label = keys.BULK_METHOD.get()
    _for_all(names, label, method=METHODS[label])


@uninterrupted
def _set_precision(names: tuple[str, ...]) -> None:
    value = keys.BULK_PRECISION.get()
    _for_all(names, value, precision=Precision(value))


@uninterrupted
def _set_weights(names: tuple[str, ...]) -> None:
    value = keys.BULK_WEIGHTS.get()
    _for_all(names, f"weights {value}", weights=GRANULARITY[value])


@uninterrupted
def _set_scales(names: tuple[str, ...]) -> None:
    """For all layers it is the recipe's default, which holds for what a model fix adds too."""
    chosen, now = keys.BULK_SCALES.get(), state.session()
    if now is None:
        return
    rule, label = SCALES[chosen], f"scales {chosen}"
    if set(names) < {layer.name for layer in now.model.layers}:
        _for_all(names, label, scale_rule=rule)
        return

    def change(recipe: Recipe) -> Recipe:
        for name in recipe.layers:
            recipe = recipe.with_layer(name, scale_rule=None)
        return recipe.with_default(scale_rule=rule)

    state.edit(change, f"{label} for the whole network")
    state.redraw_editors()


@uninterrupted
def _reset(names: tuple[str, ...]) -> None:
    def change(recipe: Recipe) -> Recipe:
        for name in names:
            recipe = recipe.without_layer(name)
        return recipe

    state.edit(change, f"defaults for {text.plural(len(names), 'layer')}")
    state.redraw_editors()


def _table(now: state.Session, shown: list[Row]) -> None:
    roomy = wide()
    revision = keys.EDITOR_REVISION.get()
    names = [row.name for row in shown]
    st.data_editor(
        _cells(shown, roomy),
        key=keys.layers_table(revision).name,
        hide_index=True,
        height=min(38 + 35 * len(shown), 560),
        num_rows="fixed",
        placeholder=NONE,
        on_change=_edited,
        args=(revision, names),
        disabled=["name", "op", "shape", "range", "clipped", "local", "cumulative", "cosine", "flag"],
        column_config=_columns(now, names, roomy),
    )


def _cells(shown: list[Row], roomy: bool) -> pd.DataFrame:
    """What the table shows."""
    return pd.DataFrame(
        {
            "inspect": ":material/tune:",
            "name": [text.short(row.name, 52 if roomy else 19) for row in shown],
            "op": [text.plain(row.op) for row in shown],
            "shape": [text.short(row.shape, 40) for row in shown],
            "strategy": [row.strategy for row in shown],
            "precision": [row.precision for row in shown],
            "weights": [NAMES.get(row.weights, NONE) for row in shown],
            "range": [_range(row) for row in shown],
            "clipped": [None if row.clipped is None else 100 * row.clipped for row in shown],
            "local": [_figure(row.local_sqnr) for row in shown],
            "cumulative": [_figure(row.cumulative_sqnr) for row in shown],
            "cosine": [row.cumulative_cosine for row in shown],
            "flag": ["⚑" if row.flag else "" for row in shown],
        }
    )


def _setting_columns(now: state.Session) -> dict[str, Column]:
    """Columns in which something can be chosen."""
    column = st.column_config
    return {
        "strategy": column.SelectboxColumn(
            "Strategy",
            options=[LABELS[m] for m in AUTOMATIC] + [LABELS[Method.MANUAL]],
            required=True,
            width=84,
            help="How the range of the layer's output is chosen",
        ),
        "precision": column.SelectboxColumn(
            "Type",
            options=list(target(now.recipe.target).precisions),
            required=True,
            width=62,
            help="int8, int16 (16-bit activations, 8-bit weights) or float",
        ),
        "weights": column.SelectboxColumn(
            "Weights",
            options=[*NAMES.values(), NONE],
            required=True,
            width=88,
            help="One scale for each output channel, or one for the whole tensor",
        ),
    }


def _columns(now: state.Session, names: list[str], roomy: bool) -> dict[str, Column]:
    """How each column is shown."""
    column = st.column_config
    return {
        "inspect": column.ButtonColumn(
            "",
            key=keys.INSPECT_ROW.name,
            on_click=_inspect,
            args=(names,),
            type="tertiary",
            width=34,
            help="Open the layer in the Inspector",
        ),
        "name": column.TextColumn(
            "Layer",
            pinned=True,
            width=370 if roomy else 142,
            help="Long names are cut in the middle; the filter and the Inspector know the whole name",
        ),
        "op": column.TextColumn("Operators", width=124),
        "shape": column.TextColumn("Shape", width=84, help="Of the output"),
        **_setting_columns(now),
        "range": column.TextColumn("Range", width=94, help="Values kept; others are clipped"),
        "clipped": column.NumberColumn(
            "Clipped", format="%.3f %%", width=64, help="Share of values outside the range"
        ),
        "local": column.NumberColumn(
            "Alone",
            step=0.1,
            width=54,
            help="SQNR, dB, with only this layer quantized, its inputs float; 10 log₁₀(Σf² / Σ(f−q)²)",
        ),
        "cumulative": column.NumberColumn(
            "Cumul.",
            step=0.1,
            width=58,
            help="Cumulative SQNR, dB: everything before it is quantized too",
        ),
        "cosine": column.NumberColumn("Cosine", format="%.4f", width=58, help="Cumulative: f·q / (‖f‖‖q‖)"),
        "flag": column.TextColumn(
            "⚑", width=30, help="Flagged: far below other layers (median − 3 IQR), or odd values"
        ),
    }


def _figure(value: float | None) -> float | None:
    """A figure with one decimal; the table shows an infinite one as "Infinity"."""
    return None if value is None else round(value, 1)


def _range(row: Row) -> str:
    if row.shared:
        return "as its input"
    if row.low is None or row.high is None:
        return ""
    return f"{text.number(row.low, 3)} … {text.number(row.high, 3)}"


@uninterrupted
def _edited(revision: int, names: list[str]) -> None:
    edits = keys.layers_table(revision).get()
    if edits is None or revision != keys.EDITOR_REVISION.get():
        return  # a poll delivered the edits of an earlier table again
    refused = apply_edits(edits["edited_rows"], names)
    if refused:
        keys.NOTICE.set(refused)
    state.redraw_editors()


def apply_edits(edits: Mapping[int, Mapping[str, str]], names: list[str]) -> str:
    """Turn edited cells into recipe changes; what cannot be had is returned as a sentence."""
    for row, cells in edits.items():
        name = names[int(row)]
        changes: ChoiceChanges = {}
        if "strategy" in cells:
            if METHODS[cells["strategy"]] is Method.MANUAL:
                return "A manual range is set in the Inspector: drag a clip line there, or type the numbers."
            changes["method"] = METHODS[cells["strategy"]]
        if "precision" in cells:
            changes["precision"] = Precision(cells["precision"])
        if cells.get("weights", NONE) != NONE:
            changes["weights"] = GRANULARITY[f"per {cells['weights']}"]
        if changes:
            words = ", ".join(cells.values())
            state.edit_layer(name, f"{text.short(name)}: {words}", **changes)
    return ""


def _inspect(names: list[str]) -> None:
    click = keys.INSPECT_ROW.get()
    if click is not None:
        state.choose_layer(names[int(click.row)])
        keys.GO.set(Page.INSPECTOR)
