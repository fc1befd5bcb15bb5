"""EasyQuant for the whole model: found layer by layer, judged by what the network gives out."""

import math

import pandas as pd
import streamlit as st

from quantscope.ui.content import text
from quantscope.ui.runs import easyquant_model as runs
from quantscope.ui.runs.easyquant_model import BeforeAndAfter, WholeRun
from quantscope.ui.session import state
from quantscope.ui.session.jobs import Job
from quantscope.ui.views import job_progress


def render(now: state.Session) -> None:
    """Draw it."""
    st.caption(
        "For each layer in turn, tries weight scales and the range of the tensor that the layer reads, and "
        "keeps what turns the layer's own output least. It never sees the network as a whole, so the whole "
        "is measured before and after. Nothing changes before you use the result; one undo takes it back."
    )
    if now.workspace.samples is None:
        st.info("The calibration data are not there any more, so that outputs cannot be compared.")
        return
    job = runs.whole_job(now.project.id)
    if job is None:
        _start("EasyQuant for all layers")
    elif job.active:
        job_progress.watch("easymodel", lambda: runs.whole_job(now.project.id), keeps=True)
    elif job.result is not None:
        _result(now, job, job.result)
    else:
        if job.error:
            st.error(text.escape(text.sentence(job.error)), icon=":material/error:")
        _start("Try again")


def _start(label: str) -> None:
    st.button(label, key="start_easymodel", icon=":material/auto_awesome:", on_click=_begin)


def _begin() -> None:
    now = state.session()
    if now is not None:
        runs.start_whole(now)


def _result(now: state.Session, job: Job[object], run: WholeRun) -> None:
    in_use, fits = now.recipe == run.recipe and run.changes, now.recipe == run.given
    _verdict(run)
    with st.container(horizontal=True, vertical_alignment="center"):
        loses = run.figures is not None and run.figures.loses
        st.button(
            "In use" if in_use else "Use these scales anyway" if loses else "Use these scales",
            key="use_easymodel",
            type="secondary" if loses else "primary",
            icon=":material/check:",
            disabled=in_use or not (fits and run.changes),
            on_click=_use,
            args=(run,),
        )
        if run.changes and run.figures is None:
            st.button(
                "Measure the network",
                key="measure_easymodel",
                icon=":material/straighten:",
                disabled=not (in_use or fits),
                on_click=_measure,
                args=(run,),
            )
        _start("Run again")
        said = f"{text.plural(run.tuned.samples, 'calibration sample')}, {text.duration(job.elapsed)}"
        if not (in_use or fits):
            said += "; found for another state of the recipe: run again, or undo back to it"
        st.caption(said)
    _table(now, run)


def _verdict(run: WholeRun) -> None:
    done, figures = len(run.tuned.layers), run.figures
    part = "" if run.tuned.complete else f" It was stopped: {done} of {run.of} layers are tuned."
    if not run.changes:
        st.info(f"Every scale is kept: none that was tried turns a layer's output less.{part}")
    elif figures is None:
        st.info(
            f"Scales were found, but the network was not measured with them.{part}",
            icon=":material/straighten:",
        )
    else:
        show(figures, part)


def show(figures: BeforeAndAfter, part: str = "") -> None:
    """Say what the scales found do to the network; `part` goes behind the figures."""
    if figures.mixed:
        said = "More samples are right, though the output is farther from float's: that may be chance."
        st.warning(f"**{said}** {_words(figures)}{part}", icon=":material/info:")
    elif figures.loses:
        st.warning(
            f"**It loses here.** {_words(figures)}{part}{_why(figures)}", icon=":material/trending_down:"
        )
    elif figures.closer or (figures.gain_top1 or 0.0) > 0.0:
        st.success(f"{_words(figures)}{part}", icon=":material/trending_up:")
    else:
        st.info(f"It makes no difference to the network. {_words(figures)}{part}", icon=":material/info:")


def _words(figures: BeforeAndAfter) -> str:
    """Before and after on the network's output."""
    before, after = figures.before, figures.after
    words = (
        f"Output SQNR **{text.decibel(before.output.sqnr_db)} → {text.decibel(after.output.sqnr_db)}** "
        f"({_change(figures)})"
    )
    if figures.gain_top1 is not None and before.accuracy is not None and after.accuracy is not None:
        words += (
            f", top-1 **{text.percent(before.accuracy.quantized_top1, 1)} → "
            f"{text.percent(after.accuracy.quantized_top1, 1)}** "
            f"(float {text.percent(before.accuracy.float_top1, 1)})"
        )
    known = "" if figures.unseen else " that calibration has seen (too few to hold any out)"
    return f"{words}, on {text.plural(after.samples, 'sample')}{known}."


def _change(figures: BeforeAndAfter) -> str:
    """The difference of the two figures as they are shown."""
    ends = [found.output.sqnr_db for found in (figures.before, figures.after)]
    if any(end is None or not math.isfinite(end) for end in ends):
        return text.change(figures.gain_db)
    before, after = (round(end, 1) for end in ends if end is not None)
    return text.change(after - before)


def _why(figures: BeforeAndAfter) -> str:
    """What to make of a loss."""
    if figures.closer:
        return " The output is closer to float, and yet fewer samples are read right."
    return " Each layer's own output is closer to float, the network's is not: keep what you have."


def _table(now: state.Session, run: WholeRun) -> None:
    found, owners = run.tuned.layers, now.encodings.placement.tensors
    ranges = [run.tuned.ranges.get(owners.get(entry.tensor, "")) for entry in found]
    if not found and not run.tuned.left_out:
        return
    with st.expander("Layer by layer"):
        number = st.column_config.NumberColumn
        st.dataframe(
            pd.DataFrame(
                {
                    "layer": [text.plain(entry.layer) for entry in found],
                    "reads": [text.plain(entry.tensor) for entry in found],
                    "before": [entry.before for entry in found],
                    "after": [entry.after for entry in found],
                    "moved": [
                        f"{sum(factor != 1.0 for factor in entry.factors)} of {len(entry.factors)}"
                        for entry in found
                    ],
                    "range": [
                        f"{text.number(r.low)} … {text.number(r.high)}" if r is not None else "as it was"
                        for r in ranges
                    ],
                }
            ),
            hide_index=True,
            width="stretch",
            height=min(38 + 35 * len(found), 400),
            key="easymodel_layers",
            column_config={
                "before": number("cosine before", format="%.6f", help="Of the layer's own output"),
                "after": number("cosine after", format="%.6f"),
                "moved": st.column_config.TextColumn("weight scales changed"),
                "range": st.column_config.TextColumn("range of what it reads"),
            },
        )
        for name, why in run.tuned.left_out.items():
            st.markdown(f"{text.code(name)} is not tuned: {text.escape(why)}")


def _use(run: WholeRun) -> None:
    label = f"EasyQuant, {text.plural(len(run.tuned.layers), 'layer')}"
    state.edit(run.tuned.apply, label)


def _measure(run: WholeRun) -> None:
    now = state.session()
    if now is not None:
        runs.measure_whole(now, run)
