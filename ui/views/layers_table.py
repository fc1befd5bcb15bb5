"""The table of layers: what is set for each and what it costs; an edited cell is a step of the recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from quantscope.core.recipe import ChoiceChanges
from quantscope.core.targets import Granularity, Precision, target
from quantscope.core.thresholds import AUTOMATIC, Method
from quantscope.ui.components.refresh import wide
from quantscope.ui.content import text
from quantscope.ui.content.names import shortened
from quantscope.ui.content.rows import Row
from quantscope.ui.content.tensor_view import LABELS
from quantscope.ui.session import keys, state
from quantscope.ui.session.keys import Page
from quantscope.ui.session.memory import uninterrupted

if TYPE_CHECKING:
    from streamlit.elements.lib.column_types import ButtonColumnResult, ColumnConfig

    Column = ColumnConfig | ButtonColumnResult

METHODS = {label: method for method, label in LABELS.items()}
GRANULARITY = {"per channel": Granularity.PER_CHANNEL, "per tensor": Granularity.PER_TENSOR}
NAMES = {granularity.value: name.removeprefix("per ") for name, granularity in GRANULARITY.items()}
NONE = "–"  # no weights, no range, nothing measured
NAME_WIDTH, ROOMY_NAME_WIDTH = 204, 380  # pixels
NAME_LENGTH, ROOMY_NAME_LENGTH = 27, 54  # characters of a name that fit there
ROW, MOST = 35, 560  # pixels
DIGITS, BLANKS = 6, 400  # before the decimal point, and in front of a negative figure, at most


def render(now: state.Session, shown: Sequence[Row]) -> None:
    """Draw the rows in the order given."""
    roomy = wide()
    revision = keys.EDITOR_REVISION.get()
    names = [row.name for row in shown]
    cells = _cells(shown, roomy)
    columns = _columns(now, names, roomy)
    st.data_editor(
        cells,
        key=keys.layers_table(revision).name,
        hide_index=True,
        height=min(ROW + 3 + ROW * len(shown), MOST),
        num_rows="fixed",
        placeholder=NONE,
        on_change=_edited,
        args=(revision, names),
        disabled=[name for name in cells if name not in ("inspect", *_setting_columns(now))],
        column_config=columns,
    )


def _cells(shown: Sequence[Row], roomy: bool) -> pd.DataFrame:
    """What the table shows."""
    whole = [text.plain(row.name) for row in shown]
    names = shortened(whole, ROOMY_NAME_LENGTH if roomy else NAME_LENGTH)
    numbers = {
        "clipped": [None if row.clipped is None else 100 * row.clipped for row in shown],
        "cosine": [row.cumulative_cosine for row in shown],
        "scale": [row.scale for row in shown],
        "zero": [row.zero_point for row in shown],
    }
    found = {name: pd.array(values, dtype="Float64") for name, values in numbers.items()}
    return pd.DataFrame(
        {
            "name": names,
            "inspect": ":material/tune:",
            "flag": ["⚑" if row.flag else "" for row in shown],
            "op": [text.plain(row.op) for row in shown],
            "strategy": [row.strategy for row in shown],
            "precision": [row.precision for row in shown],
            "weights": [NAMES.get(row.weights, NONE) for row in shown],
            "cumulative": [sortable(row.cumulative_sqnr) for row in shown],
            "local": [sortable(row.local_sqnr) for row in shown],
            "clipped": found["clipped"],
            "range": [_range(row) for row in shown],
            "scale": found["scale"],
            "zero": found["zero"],
            "cosine": found["cosine"],
            "shape": [text.short(row.shape, 40) for row in shown],
            **({"whole": whole} if names != whole else {}),
        }
    )


def sortable(value: float | None) -> str | None:
    """A figure in dB as everywhere else, behind blanks: the more, the earlier it comes in a sorted table.

    It is text, since a column of numbers writes an infinite one as "Infinity".
    """
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        return "∞" if value > 0 else f"{' ' * (2 * BLANKS)}−∞"
    tenths = round(10 * value)
    blanks = max(0, DIGITS - len(str(tenths // 10))) if tenths >= 0 else DIGITS + min(-tenths, BLANKS)
    return " " * blanks + f"{abs(tenths) / 10 if tenths >= 0 else -abs(tenths) / 10:,.1f}".replace("-", "−")


def _setting_columns(now: state.Session) -> dict[str, Column]:
    """Columns in which something can be chosen."""
    column = st.column_config
    return {
        "strategy": column.SelectboxColumn(
            "Strategy",
            options=[LABELS[m] for m in AUTOMATIC] + [LABELS[Method.MANUAL]],
            required=True,
            width=104,
            help="How the range of the layer's output is chosen",
        ),
        "precision": column.SelectboxColumn(
            "Type",
            options=list(target(now.recipe.target).precisions),
            required=True,
            width=66,
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
        "name": column.TextColumn(
            "Layer",
            pinned=True,
            width=ROOMY_NAME_WIDTH if roomy else NAME_WIDTH,
            help="Long names are cut so that they still differ; the last column has them whole",
        ),
        "inspect": column.ButtonColumn(
            "Inspect",
            key=keys.INSPECT_ROW.name,
            on_click=_inspect,
            args=(names,),
            type="tertiary",
            pinned=True,
            width=64,
            help="Open the layer in the Inspector",
        ),
        "flag": column.TextColumn("⚑", pinned=True, width=34, help="Stands out; why is said below the table"),
        "op": column.TextColumn("Operators", width=124),
        **_setting_columns(now),
        **_error_columns(),
        "range": column.TextColumn("Range", width=160, help="Values kept; others are clipped"),
        "scale": column.NumberColumn("Scale", format="%.4g", width=96, help="Real value of one integer step"),
        "zero": column.NumberColumn(
            "Zero point", format="%d", width=84, help="The integer that stands for 0"
        ),
        "shape": column.TextColumn("Shape", width=110, help="Of the output"),
        "whole": column.TextColumn("Whole name", width=420),
    }


def _error_columns() -> dict[str, Column]:
    """Columns of what was measured."""
    column = st.column_config
    return {
        "cumulative": column.TextColumn(
            "Cumulative, dB",
            alignment="right",
            width=112,
            help="SQNR with everything before it quantized too; 10 log₁₀(Σf² / Σ(f−q)²)",
        ),
        "local": column.TextColumn(
            "Alone, dB",
            alignment="right",
            width=84,
            help="SQNR with only this layer quantized, its inputs float",
        ),
        "cosine": column.NumberColumn(
            "Cosine", format="%.4f", width=72, help="Cumulative: f·q / (‖f‖‖q‖); no unit"
        ),
        "clipped": column.NumberColumn(
            "Clipped, %", format="%.3f", width=86, help="Share of the output's values outside the range"
        ),
    }


def _range(row: Row) -> str:
    if row.shared:
        return "as its input"
    if row.low is None or row.high is None:
        return NONE
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
