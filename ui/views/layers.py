"""Layers: one row a layer, what is set and what it costs; edit one, or all that a filter leaves."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from quantscope.core.quant import ScaleRule
from quantscope.core.recipe import ChoiceChanges, Recipe
from quantscope.core.targets import Precision, target
from quantscope.core.thresholds import AUTOMATIC
from quantscope.ui.content import text
from quantscope.ui.content.rows import Row
from quantscope.ui.content.tensor_view import LABELS, RULES
from quantscope.ui.figures.errors import error_figure
from quantscope.ui.runs import measured
from quantscope.ui.session import keys, state
from quantscope.ui.session.memory import uninterrupted
from quantscope.ui.views import common, layers_table
from quantscope.ui.views.layers_table import GRANULARITY, METHODS

SCALES = {label: rule for rule, label in RULES.items()}
SCALES_HELP = "*2ᵏ*: powers of two only, for chips that shift instead of multiplying; weights too"
ALL, FLAGGED, CHANGED = "All", "Flagged", "Changed"
IN_ORDER, WORST_FIRST = "As executed", "Worst for the output first"
AS_IS = "as it is"
SAID = 8  # flagged layers that are listed


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
    shown, why_none = _filtered(rows)
    if not shown:
        _nothing(why_none)
        return
    _for_all_shown(now, shown, len(rows))
    layers_table.render(now, _ordered(now, shown))
    st.caption(
        f"{len(shown):,} of {text.plural(len(rows), 'layer')} · *alone*: only that layer is quantized · "
        f"*cumulative*: everything before it too; on {measured.preview_basis(now).markdown}"
        + (" · **measuring…**" if running else "")
    )
    _flags(shown)
    with st.container(border=True):
        few = measured.preview_samples(now)
        st.markdown(f"**Error of the layers shown** — {few}; higher is better")
        st.plotly_chart(error_figure(shown), key="layer_errors", config={"displayModeBar": False})


# --- which rows ---


def _filtered(rows: list[Row]) -> tuple[list[Row], str]:
    """The rows that the filter leaves, and why there are none."""
    name, op, flag, order = st.columns([5, 4, 5, 4], vertical_alignment="top")
    part = name.text_input(
        "Name contains", key=keys.FILTER_NAME.name, placeholder="any part of a layer's name", live=True
    )
    ops = op.multiselect(
        "Operator", sorted({row.op.split(" + ")[0] for row in rows}), key=keys.FILTER_OP.name
    )
    kind = flag.segmented_control(
        "Show", [ALL, FLAGGED, CHANGED], default=ALL, required=True, key=keys.FILTER_FLAG.name
    )
    order.selectbox("Order", [IN_ORDER, WORST_FIRST], key=keys.LAYER_ORDER.name)
    by_kind = [row for row in rows if _is(row, kind)]
    by_name = [row for row in by_kind if (part or "").lower() in row.name.lower()]
    found = [row for row in by_name if not ops or row.op.split(" + ")[0] in ops]
    if not by_kind:
        return [], "No layer is flagged." if kind == FLAGGED else "No layer has a choice of its own yet."
    among = {FLAGGED: "flagged layer", CHANGED: "changed layer"}.get(kind, "layer")
    if not by_name:
        return [], f"The name of no {among} contains {text.code(part)}."
    named = f" whose name contains {text.code(part)}" if part else ""
    return found, f"No {among}{named} is of {text.escape(' or '.join(ops))}."


def _is(row: Row, kind: str) -> bool:
    return kind == ALL or bool(row.flag if kind == FLAGGED else row.own)


def _nothing(why: str) -> None:
    with st.container(border=True, horizontal_alignment="center", gap="small"):
        st.markdown(why, text_alignment="center")
        st.button("Show all layers", key="filter_clear", icon=":material/filter_alt_off:", on_click=_show_all)


@uninterrupted
def _show_all() -> None:
    keys.FILTER_NAME.set("")
    keys.FILTER_OP.set([])
    keys.FILTER_FLAG.set(ALL)


def _ordered(now: state.Session, shown: list[Row]) -> list[Row]:
    """The rows in the chosen order; by cost, those that cost nothing come last, by their own errors."""
    if keys.LAYER_ORDER.get() != WORST_FIRST:
        return shown
    place = {cost.layer: at for at, cost in enumerate(measured.table(now).costs)}

    def rank(row: Row) -> tuple[int, float]:
        known = [value for value in (row.local_sqnr, row.tensor_sqnr) if value is not None]
        return place.get(row.name, len(place)), min(known, default=float("inf"))

    return sorted(shown, key=rank)


def _flags(shown: Sequence[Row]) -> None:
    found = [row for row in shown if row.flag]
    if found:
        said = [f"- {text.code(row.name)}: {text.escape(row.flag)}" for row in found[:SAID]]
        more = f"\n- … and {len(found) - SAID:,} more: show *{FLAGGED}*" if len(found) > SAID else ""
        st.markdown(":red[**⚑ Flagged**]\n" + "\n".join(said) + more)


# --- one choice for all rows that are shown ---


def _for_all_shown(now: state.Session, shown: list[Row], count: int) -> None:
    """Choices for all rows that are shown, and one button that says how many these are."""
    names = tuple(row.name for row in shown)
    whole = len(names) == count
    layers = f"all {text.plural(count, 'layer')}" if whole and count > 1 else text.plural(len(names), "layer")
    boxes = (
        ("Strategy", keys.BULK_METHOD, [LABELS[m] for m in AUTOMATIC], ""),
        ("Type", keys.BULK_PRECISION, [str(p) for p in target(now.recipe.target).precisions], ""),
        ("Weights", keys.BULK_WEIGHTS, list(GRANULARITY), ""),
        ("Scales", keys.BULK_SCALES, list(SCALES), SCALES_HELP),
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for label, key, options, help in boxes:
            st.selectbox(
                label, options, index=None, placeholder=AS_IS, key=key.name, width=146, help=help or None
            )
        st.button(
            f"Set for {layers}",
            key="bulk_set",
            disabled=not any(key.get() for _, key, _, _ in boxes),
            on_click=_set,
            args=(names, whole),
            help="What is chosen on the left, for the rows of the table; one step that can be undone",
        )
        st.button(
            "Back to defaults",
            key="bulk_reset",
            icon=":material/restart_alt:",
            disabled=not any(row.own for row in shown),
            on_click=_reset,
            args=(names,),
            help=f"Drops what was chosen for {layers}",
        )


@uninterrupted
def _set(names: tuple[str, ...], whole: bool) -> None:
    """Set what was chosen; a rule for the scales of all layers becomes the recipe's default.

    That default holds for what a model fix adds, too.
    """
    changes, words = _chosen()
    rule = SCALES.get(keys.BULK_SCALES.get() or "")

    def change(recipe: Recipe) -> Recipe:
        recipe = recipe.with_layers(names, **changes) if changes else recipe
        if rule is None:
            return recipe
        return _with_rule(recipe, None if whole else names, rule)

    if rule is not None:
        words.append(f"scales {keys.BULK_SCALES.get()}")
    scope = "the whole network" if whole else text.plural(len(names), "layer")
    state.edit(change, f"{', '.join(words)} for {scope}")
    for key in (keys.BULK_METHOD, keys.BULK_PRECISION, keys.BULK_WEIGHTS, keys.BULK_SCALES):
        key.set(None)
    state.redraw_editors()


def _chosen() -> tuple[ChoiceChanges, list[str]]:
    """What was chosen for single layers, and how a step with it is called."""
    changes, words = ChoiceChanges(), list[str]()
    if label := keys.BULK_METHOD.get():
        changes["method"] = METHODS[label]
        words.append(label)
    if precision := keys.BULK_PRECISION.get():
        changes["precision"] = Precision(precision)
        words.append(precision)
    if weights := keys.BULK_WEIGHTS.get():
        changes["weights"] = GRANULARITY[weights]
        words.append(f"weights {weights}")
    return changes, words


def _with_rule(recipe: Recipe, names: tuple[str, ...] | None, rule: ScaleRule) -> Recipe:
    """The recipe with a rule for the scales of some layers; None = of all."""
    if names is not None:
        return recipe.with_layers(names, scale_rule=rule)
    return recipe.with_layers(recipe.layers, scale_rule=None).with_default(scale_rule=rule)


@uninterrupted
def _reset(names: tuple[str, ...]) -> None:
    state.edit(
        lambda recipe: recipe.without_layers(names), f"defaults for {text.plural(len(names), 'layer')}"
    )
    state.redraw_editors()
