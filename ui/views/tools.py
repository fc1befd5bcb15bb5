"""Why do tools disagree: every method and every other tool on the same values, and grids of other kinds."""

import hashlib
from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st
from streamlit.elements.arrow import DataframeState

from quantscope.core.thresholds import compare_grids
from quantscope.core.thresholds.reference import ReferenceRow
from quantscope.ui.content import text
from quantscope.ui.content.disagreement import Verdict, shown, verdicts
from quantscope.ui.content.tensor_view import Mark, RangeView
from quantscope.ui.figures.grids import GRIDS, grids_figure
from quantscope.ui.runs import other_tools
from quantscope.ui.session import keys, state
from quantscope.ui.session.jobs import Job, State
from quantscope.ui.session.keys import MarkedRanges
from quantscope.ui.session.memory import Key
from quantscope.ui.views import job_progress

MOST = 6  # ranges drawn at once
Use = Callable[[str, float, float], None]


def marks(view: RangeView) -> tuple[Mark, ...]:
    """The chosen rows as marks for the chart of these values, where the methods are marked anyway."""
    return tuple(mark for mark in _marked(view) if mark.id not in view.searches)


def _marked(view: RangeView) -> tuple[Mark, ...]:
    """The chosen rows of these values."""
    known = keys.MARKED.get()
    return known.marks if known.tensor == view.tensor else ()


def marked(id: str) -> Mark | None:
    """The mark with that id."""
    return next((mark for mark in keys.MARKED.get().marks if mark.id == id), None)


# --- the table ---


def table(view: RangeView, references: Sequence[ReferenceRow], use: Use, *, key: str) -> None:
    """Every row's numbers and reason; chosen rows are drawn on the chart and can be used.

    `use(label, low, high)` is the callback of *Use this range*.
    """
    everything = False
    if references:
        everything = st.toggle(
            "All settings of each tool",
            key=f"{key}_all",
            help="Off: each algorithm once, as the tool ships it. "
            "On: also its other bin counts, percentiles and types.",
        )
    rows = shown(verdicts(view, references), everything=everything)
    token = hashlib.sha256(repr((view.tensor, everything, len(rows))).encode()).hexdigest()[:12]
    widget = keys.tools_table(key, token)
    number = st.column_config.NumberColumn
    st.dataframe(
        _cells(rows),
        key=widget.name,
        hide_index=True,
        height=min(35 + 33 * len(rows), 464),
        on_select=lambda: _chosen(widget, view, rows),
        selection_mode="multi-row",
        column_config={
            "best": st.column_config.TextColumn("", width=28, help="Within 0.1 % of the least squared error"),
            "tool": st.column_config.TextColumn("Tool", width=112, pinned=True),
            "algorithm": st.column_config.TextColumn("Algorithm", width=106, pinned=True),
            "low": number("Low", format="%.4g", width=64),
            "high": number("High", format="%.4g", width=64),
            "scale": number("Scale", format="%.4g", width=74, help="The tool's own"),
            "zero": number("Zero", width=46, help="The tool's own zero point"),
            "mse": number("MSE", format="%.3e", width=80, help=f"Of this range in {view.spec.type}"),
            "sqnr": number("SQNR", format="%.1f dB", width=68, help="10 log₁₀(Σf² / Σ(f−q)²)"),
            "clipped": number("Clipped", format="%.3f %%", width=72),
            "cause": st.column_config.TextColumn("Why it differs", width=640),
            "settings": st.column_config.TextColumn("Settings", width="medium") if references else None,
        },
    )
    _selection(view, rows, use, key)


def _cells(rows: Sequence[Verdict]) -> pd.DataFrame:
    """What the table shows."""
    return pd.DataFrame(
        {
            "best": ["★" if row.best else "" for row in rows],
            "tool": [row.tool for row in rows],
            "algorithm": [row.algorithm for row in rows],
            "low": [row.low for row in rows],
            "high": [row.high for row in rows],
            "scale": [row.scale for row in rows],
            "zero": pd.array([row.zero_point for row in rows], dtype="Int64"),
            "mse": [row.error.mse if row.error else None for row in rows],
            "sqnr": [row.error.sqnr_db if row.error else None for row in rows],
            "clipped": [100 * row.error.clipped_share if row.error else None for row in rows],
            "cause": [row.cause for row in rows],
            "settings": [row.settings for row in rows],
        }
    )


def _chosen(widget: Key[DataframeState | None], view: RangeView, rows: Sequence[Verdict]) -> None:
    """Rows were chosen or dropped; a callback."""
    chosen = widget.get()
    places = [i for i in chosen.selection.rows if i < len(rows)] if chosen is not None else []
    usable = [rows[i] for i in places if rows[i].low is not None and rows[i].error is not None]
    found = tuple(_mark(row) for row in usable[-MOST:])
    keys.MARKED.set(MarkedRanges(view.tensor, found))


def _mark(row: Verdict) -> Mark:
    assert row.low is not None
    assert row.high is not None
    assert row.error is not None
    words = f"{row.low:.4g} … {row.high:.4g}, SQNR {row.error.sqnr_db:.2f} dB"
    return Mark(id=row.id, label=row.label, low=min(row.low, 0.0), high=max(row.high, 0.0), text=words)


def _selection(view: RangeView, rows: Sequence[Verdict], use: Use, key: str) -> None:
    """What was chosen, in full, with a button each."""
    chosen = _marked(view)
    by_id = {row.id: row for row in rows}
    if not chosen:
        st.caption(
            "Choose rows with the boxes on their left: they are drawn on the histogram, and can be used. "
            "Click a column's name to sort."
        )
        return
    for i, mark in enumerate(chosen):
        row = by_id.get(mark.id)
        if row is None:
            continue
        with st.container(horizontal=True, vertical_alignment="center", wrap=False):
            st.button(
                "Use this range",
                key=f"{key}_use_{i}",
                icon=":material/check:",
                width=160,
                on_click=use,
                args=(row.label, mark.low, mark.high),
            )
            st.markdown(
                f"**{text.escape(row.label)}** {text.number(mark.low)} … {text.number(mark.high)}",
                width=290,
            )
            st.caption(text.escape(row.cause), width="stretch")


# --- in the Inspector ---


def inspector(now: state.Session, view: RangeView, use: Use) -> None:
    """The methods at once; the other tools as soon as the float model has been run for the values."""
    job = other_tools.tool_job(now, view.tensor)
    st.caption(
        f"The same values, and what each method and tool would keep of them. MSE, SQNR and clipped share are "
        f"those of the range in this layer's own type ({view.spec.type}, "
        f"{'symmetric' if view.spec.symmetric else 'asymmetric'}), so that rows can be compared; "
        "scale and zero point are the tool's own."
    )
    if job is None:
        _start(now, view.tensor, "Add other tools")
    elif job.active:
        job_progress.watch("tools", lambda: other_tools.tool_job(now, view.tensor))
    elif job.state is State.DONE:
        _facts(job)
    else:
        if job.error:
            st.error(text.escape(text.sentence(job.error)), icon=":material/error:")
        _start(now, view.tensor, "Try again")
    run = job.result if job is not None and job.state is State.DONE else None
    table(view, run.rows if run is not None else (), use, key="disagree")


def _start(now: state.Session, tensor: str, label: str) -> None:
    if now.workspace.samples is None:
        st.info("Other tools need the values themselves; the calibration data are not there any more.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(label, key="start_tools", icon=":material/compare_arrows:", on_click=_begin, args=(tensor,))
        st.caption(
            "onnxruntime, ModelOpt, PPQ, ncnn, MNN, torch.ao and more, computed from the same values. "
            "Runs the float model on the samples; seconds."
        )


def _begin(tensor: str) -> None:
    now = state.session()
    if now is not None:
        other_tools.start_tools(now, tensor)


def _facts(job: Job[other_tools.ToolRun]) -> None:
    run = job.result
    assert run is not None  # it is done
    if run.samples == run.of and run.every == 1:
        what = f"all {run.values:,} values of {text.plural(run.of, 'sample')}"
    else:
        part = f"every {run.every}th value of " if run.every > 1 else ""
        what = (
            f"{run.values:,} values: {part}{run.samples:,} of {text.plural(run.of, 'sample')}, "
            "those with the extremes among them"
        )
    st.caption(
        f"The tools were given {what}, in one batch ({text.duration(job.elapsed)}). "
        "A tool that merges histograms batch by batch may move with their order."
    )


# --- in the Playground ---


def grids(view: RangeView, *, key: str) -> None:
    """Linear, power-of-two and LOG2 grids with equal bits on the same values."""
    found = compare_grids(view.histogram, view.spec, view.range)
    words, figure = st.columns([1.2, 2], gap="medium")
    best = max(found, key=lambda entry: entry.sqnr_db)
    with words:
        st.markdown(
            "A **linear** grid has equal steps. A **power-of-two** scale is linear too, but multiplying by "
            "it is a shift of bits. On a **LOG2** grid each level is twice the one before: fine near zero, "
            "coarse far out."
        )
        frame: dict[str, list[str] | list[float]] = {
            "Grid": [GRIDS[entry.grid][0] + (" ★" if entry is best else "") for entry in found],
            "SQNR, dB": [round(entry.sqnr_db, 2) for entry in found],
            "MSE": [text.number(entry.mse) for entry in found],
        }
        st.dataframe(frame, hide_index=True, key=f"{key}_table")
        st.caption(
            f"{view.spec.type.bits} bits each. Linear grids use the range that is set, LOG2 ends at the "
            "largest magnitude. "
            + "; ".join(f"{GRIDS[entry.grid][0]}: {entry.detail}" for entry in found)
            + "."
        )
    low, high = max(view.histogram.min, -view.range.abs_max), min(view.histogram.max, view.range.abs_max)
    with figure:
        st.plotly_chart(
            grids_figure(found, min(low, 0.0) / 8, max(high, 0.0) / 8 or 1.0),
            key=f"{key}_figure",
            config={"displayModeBar": False},
        )
