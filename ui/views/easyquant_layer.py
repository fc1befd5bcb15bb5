"""EasyQuant for one layer: scales found by what the layer gives out, and its output against the range."""

import streamlit as st

from quantscope.core.model import Layer
from quantscope.core.recipe import Recipe
from quantscope.ui.content import text
from quantscope.ui.figures.output_curve import output_curve_figure
from quantscope.ui.runs import easyquant_layer as runs
from quantscope.ui.session import state
from quantscope.ui.session.jobs import Job, State
from quantscope.ui.views import easyquant_model, job_progress

PLAIN = {"displayModeBar": False}


def render(now: state.Session, layer: Layer) -> None:
    """Draw the part."""
    st.caption(
        "What counts is what a layer gives out, not what its input looks like. EasyQuant tries weight scales "
        "and the range of the tensor that the layer reads in turn, and keeps what turns its output least "
        "(largest cosine with the float output)."
    )
    if now.workspace.samples is None:
        st.info("The calibration data are not there any more, so that outputs cannot be compared.")
        return
    job = runs.easy_job(now, layer.name)
    if job is None:
        _start(layer, "Run EasyQuant" if layer.weight is not None else "Compare outputs")
    elif job.active:
        job_progress.watch("easy", lambda: runs.easy_job(now, layer.name))
    elif job.state is State.DONE:
        _result(now, layer, job)
    else:
        if job.error:
            st.error(text.escape(text.sentence(job.error)), icon=":material/error:")
        _start(layer, "Try again")


def _start(layer: Layer, label: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            label, key="start_easy", icon=":material/auto_awesome:", on_click=_begin, args=(layer.name,)
        )
        st.caption(
            "Runs on up to 16 calibration samples and measures the network before and after; seconds. "
            "Nothing changes before you use the result."
        )


def _begin(name: str) -> None:
    now = state.session()
    if now is not None:
        runs.start_easy(now, name)


def _result(now: state.Session, layer: Layer, job: Job[runs.EasyRun]) -> None:
    run = job.result
    assert run is not None  # it is done
    current = run.token == state.recipe_token(now.recipe)
    if run.figures is not None:
        easyquant_model.show(run.figures)
    with st.container(horizontal=True, vertical_alignment="center"):
        for found in run.tuned.layers:
            changed = _changes(run, now.recipe)
            loses = run.figures is not None and not (run.figures.closer and not run.figures.loses)
            use = "Use these scales anyway" if loses else "Use these scales"
            st.button(
                use if changed else "In use",
                key="use_easy",
                type="secondary" if loses else "primary",
                icon=":material/check:",
                disabled=not changed,
                on_click=_use,
                args=(layer.name, run),
            )
            moved = sum(factor != 1.0 for factor in found.factors)
            ranges = ", ".join(
                f"range of {text.code(owner)} {text.number(r.low)} … {text.number(r.high)}"
                for owner, r in run.tuned.ranges.items()
            )
            st.markdown(
                f"Output cosine **{text.cosine(found.before)} → {text.cosine(found.after)}** · "
                f"{moved} of {text.plural(len(found.factors), 'weight scale')} changed"
                + (f" · {ranges}" if ranges else "")
            )
        for name, why in run.tuned.left_out.items():
            st.markdown(f"{text.code(name)} is not tuned: {text.escape(why)}")
        _again(layer)
    said = f"{text.plural(run.tuned.samples, 'sample')}, {text.duration(job.elapsed)}"
    if not current:
        said += f"; {text.EARLIER}"
    st.caption(said)
    if run.read is None and run.made is None:
        st.info("No layer with weights reads this tensor, so there is no output to compare.")
    shown = [
        (run.read, "This layer's output against the range of the tensor that it reads"),
        (run.made, "Outputs of the layers that read this tensor, against its range"),
    ]
    for place, (curve, title) in zip(st.columns(2, gap="medium"), shown, strict=True):
        if curve is not None:
            with place:
                st.markdown(f"**{title}** ({text.code(curve.tensor)})")
                figure = output_curve_figure(curve, runs.kept_range(now, curve.tensor))
                st.plotly_chart(figure, key=f"easy_{title}", config=PLAIN)


def _again(layer: Layer) -> None:
    st.button("Run again", key="start_easy", icon=":material/refresh:", on_click=_begin, args=(layer.name,))


def _changes(run: runs.EasyRun, recipe: Recipe) -> bool:
    return run.tuned.apply(recipe) != recipe


def _use(name: str, run: runs.EasyRun) -> None:
    state.edit(run.tuned.apply, f"{text.short(name)}: EasyQuant")
