"""Compare: figures of versions side by side, and what was chosen differently."""

import streamlit as st

from quantscope.core.errors import QuantScopeError
from quantscope.core.project import Figures
from quantscope.ui.content import text
from quantscope.ui.content.choices import ChoiceChange, choice_changes
from quantscope.ui.content.comparison import Cell, Column, figure_rows, verdict
from quantscope.ui.runs import compared, measured, versions
from quantscope.ui.runs.measured import Measured
from quantscope.ui.runs.versions import Kind, Version
from quantscope.ui.session import state

ONE_PAIR = 2  # versions, of which a sentence can say which is better
NAMES = 3  # of layers that are written out
CHANGES = 12  # lines of changed choices that are shown at once


def figures(
    now: state.Session, chosen: tuple[Version, ...], measurements: dict[str, Measured[Figures]]
) -> None:
    """Draw the table of figures."""
    columns = []
    known = compared.float_figures(m.value for m in measurements.values())
    shown = chosen if chosen[0].kind is Kind.FLOAT else (versions.FLOAT_MODEL, *chosen)
    for version in shown:
        if version.kind is Kind.FLOAT:
            columns.append(Column(label="Float", figures=known, floating=True, waiting=known is None))
        else:
            found = measurements[version.key]
            columns.append(
                Column(label=version.short, figures=found.value, waiting=found.running, error=found.error)
            )
    against = shown.index(chosen[0])
    with st.container(border=True):
        basis, held = measured.judged_basis(now), text.escape(text.short(columns[against].label, 40))
        st.markdown(f"**Figures** — over {basis.markdown} · coloured: the change against {held}")
        if len(chosen) == ONE_PAIR:
            _verdict(columns[-1], columns[against])
        st.markdown(_table(columns, against))
        st.caption(
            "**Bold**: the best of the quantized versions. Times are medians of single runs on this CPU, one "
            "thread. Each version ran in turn with float: its share of float's time can be compared, "
            "milliseconds of different moments only roughly."
        )


def _verdict(column: Column, against: Column) -> None:
    """Which of two is better, in a sentence."""
    if column.figures is None or against.figures is None or against.floating:
        return
    found = verdict(column.figures, against.figures)
    name = text.escape(text.short(column.label, 40))
    if not found.better and not found.worse:
        st.markdown(f"No figure of **{name}** differs noticeably.")
        return
    better = f":green[better] in {text.escape(', '.join(found.better))}" if found.better else ""
    worse = f":red[worse] in {text.escape(', '.join(found.worse))}" if found.worse else ""
    st.markdown(f"**{name}** is {'; '.join(filter(None, (better, worse)))}.")


def _table(columns: list[Column], against: int) -> str:
    """The figures as Markdown."""
    head = [text.escape(text.short(column.label, 24)) for column in columns]
    lines = ["| | " + " | ".join(head) + " |", "|:--" * (len(columns) + 1) + "|"]
    for row in figure_rows(columns, against):
        cells = " | ".join(_cell(cell) for cell in row.cells)
        lines.append(f"| {row.name} | {cells} |")
    return "\n".join(lines)


def _cell(cell: Cell) -> str:
    value = text.escape(cell.value)
    value = f"**{value}**" if cell.best else value
    change = text.escape(cell.change)
    colour = {"good": "green", "bad": "red", "": "gray"}[cell.tone]
    return f"{value} :{colour}[{change}]" if change else value


def choices(now: state.Session, chosen: tuple[Version, ...]) -> dict[str, tuple[ChoiceChange, ...]]:
    """Draw what the versions choose otherwise than the first of them, and return it; for steps."""
    against, *others = chosen
    steps = [version for version in others if version.kind is Kind.STEP]
    found: dict[str, tuple[ChoiceChange, ...]] = {}
    with st.container(border=True):
        st.markdown("**What was chosen differently**")
        if against.kind is not Kind.STEP:
            what = "The float model" if against.kind is Kind.FLOAT else "A file of another tool"
            st.caption(f"{what} has no recipe to hold a step's choices against; scales are told below.")
            return found
        for version in steps:
            try:
                before, after = versions.recipe_of(now, against), versions.recipe_of(now, version)
            except QuantScopeError as error:
                st.caption(text.escape(text.sentence(str(error))))
                continue
            assert before is not None  # both are steps
            assert after is not None
            found[version.key] = choice_changes(before, after, now.opened.model)
            _changes(against, version, found[version.key])
        if len(steps) < len(others):
            st.caption(
                "Of files of other tools no choices are known; their scales are told below, tensor by tensor."
            )
    return found


def _changes(against: Version, version: Version, found: tuple[ChoiceChange, ...]) -> None:
    st.markdown(f"{text.escape(against.short)} → **{text.escape(version.short)}**")
    if not found:
        st.markdown("- nothing: both have the same choices")
    st.markdown("\n".join(change_line(change) for change in found[:CHANGES]))
    if len(found) > CHANGES:
        with st.expander(f"{len(found) - CHANGES:,} more"):
            st.markdown("\n".join(change_line(change) for change in found[CHANGES:]))


def change_line(change: ChoiceChange) -> str:
    """One change as a line of Markdown."""
    details = f" ({text.escape('; '.join(change.details))})" if change.details else ""
    words = f"{text.escape(change.words)}{details}"
    if not change.layers:
        return f"- **{text.escape(change.what)}**: {words}"
    if change.everywhere:
        where = f"all {text.plural(len(change.layers), 'layer')}"
    elif len(change.layers) <= NAMES:
        where = ", ".join(text.code(text.short(name, 40)) for name in change.layers)
    else:
        first = ", ".join(text.code(text.short(name, 24)) for name in change.layers[:2])
        where = f"{text.plural(len(change.layers), 'layer')} ({first}, …)"
    return f"- **{text.escape(change.what)}**: {words} for {where}"
