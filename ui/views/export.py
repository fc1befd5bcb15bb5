"""Export: the quantized model, verified by loading it again, and what it takes to repeat it."""

import streamlit as st

from quantscope.core.export import ONNX_QDQ
from quantscope.core.recipe import recipe_to_yaml
from quantscope.core.targets import TARGETS, target
from quantscope.ui.content import size_parts, text
from quantscope.ui.content.shells import shells as shells_of_all
from quantscope.ui.content.snippet import run_in_python
from quantscope.ui.runs import exported_encodings, exporting, measured
from quantscope.ui.runs.exporting import Verified
from quantscope.ui.session import keys, state
from quantscope.ui.session.memory import Key, uninterrupted
from quantscope.ui.views import common, saturation, save_to

REASONS, NAMES = 12, 8  # shown of what stays float, and of the layers of each reason


def render() -> None:
    """Draw the page."""
    common.title("Export", "The file that every figure came from, checked by running it once more.")
    now = common.session("then the quantized model can be downloaded here.")
    if now is None:
        return
    measurement, whole = measured.verified(now), measured.whole(now)
    common.polling(measurement.running or whole.running, measured.VERIFIED, measured.WHOLE)
    _verification(measurement)
    saturation.export(now, whole)
    stem = exporting.stem(now.model.name)
    _files(now, stem, measurement.value if not measurement.error else None)
    _run(now, stem, measurement.value)
    _repeat(now, stem)
    _stays_float(now)
    _changed(now)


def _files(now: state.Session, stem: str, ready: Verified | None) -> None:
    """What can be downloaded; the model as soon as it is verified."""
    with st.container(border=True):
        st.markdown("**Files**")
        _target(now)
        with st.container(horizontal=True):
            st.download_button(
                f"Model, {text.size(len(ready.data))}" if ready else "Model",
                data=ready.data if ready else b"",
                file_name=exporting.file_name(stem, now.recipe),
                mime="application/octet-stream",
                type="primary",
                icon=":material/download:",
                disabled=ready is None,
                on_click="ignore",
                key="get_model",
            )
            st.download_button(
                "Recipe",
                data=recipe_to_yaml(now.recipe),
                file_name=exporting.recipe_name(stem),
                mime="application/yaml",
                icon=":material/description:",
                on_click="ignore",
                key="get_recipe",
                help="All choices as text: review it, keep it in version control, replay it without the app.",
            )
            rows, _running = measured.rows(now)
            st.download_button(
                "Layer table",
                data=exporting.table_csv(rows),
                file_name=f"{stem}_layers.csv",
                mime="text/csv",
                icon=":material/table:",
                on_click="ignore",
                key="get_table",
            )
            st.download_button(
                "Scales and zero points",
                data=(lambda: exporting.encodings_json(ready.data)) if ready else b"",
                file_name=f"{stem}_encodings.json",
                mime="application/json",
                icon=":material/data_object:",
                disabled=ready is None,
                on_click="ignore",
                key="get_encodings",
                help="Every quantizer of the file as JSON, to set the same in another runtime or tool.",
            )
        save_to.render(now, stem, ready)
        if ready is not None:
            st.caption(size_parts.sentence(ready.parts, now.opened.model.size_bytes))
        st.caption(
            f"{ONNX_QDQ.label} for {text.escape(exporting.target_label(now.recipe))}; "
            "the model's inputs and outputs are as in your file."
        )


def _run(now: state.Session, stem: str, ready: Verified | None) -> None:
    """Lines to copy that run the file; always there, since tabs below that moved would forget a click."""
    with st.container(border=True):
        st.markdown("**Run it in Python**")
        if ready is None:
            st.caption("The lines come with the check of the file.")
            return
        exact = not target(now.recipe.target).avoids_saturation
        st.code(
            run_in_python(exporting.file_name(stem, now.recipe), ready.inputs, exact=exact), language="python"
        )


def _repeat(now: state.Session, stem: str) -> None:
    """The command line that makes the same file, and the way back from a recipe."""
    with st.container(border=True):
        st.markdown("**Repeat it without the app**")
        shells = shells_of_all()
        for tab, shell in zip(st.tabs([shell.name for shell in shells]), shells, strict=True):
            line = exporting.command(now.project, now.recipe, stem, shell)
            tab.code(line, language=shell.language, wrap_lines=True)
            if judging := exporting.judging_command(now.project, now.recipe, stem, shell):
                tab.caption("Then measure the file beside the float model, on the evaluation data:")
                tab.code(judging, language=shell.language, wrap_lines=True)
        st.caption(f"Run it in the folder where {text.code(exporting.recipe_name(stem))} was saved.")
        st.file_uploader(
            "Use a recipe file",
            type=["yaml", "yml"],
            key=keys.RECIPE_FILE.name,
            on_change=_load,
            width=420,
            help="Replaces the choices shown; it can be undone.",
        )


def _target(now: state.Session) -> None:
    """What the file is for."""
    box = keys.target_box(now.recipe.target)
    st.selectbox(
        "Target",
        list(TARGETS),
        index=list(TARGETS).index(now.recipe.target),
        format_func=lambda name: target(name).label,
        key=box.name,
        on_change=_choose_target,
        args=(box,),
        width=420,
    )
    st.caption(text.escape(target(now.recipe.target).note))


@uninterrupted
def _choose_target(box: Key[str]) -> None:
    saturation.choose_target(box.get())


@uninterrupted
def _load() -> None:
    """Take the choices of an uploaded recipe; what does not fit is said and changes nothing."""
    file = keys.RECIPE_FILE.get()
    now = state.session()
    if file is None or file.file_id == keys.RECIPE_LOADED.get():
        return  # a poll may deliver the same file again
    keys.RECIPE_LOADED.set(file.file_id)
    if now is not None:
        state.load_recipe(now, file.getvalue(), file.name)


def _verification(measurement: measured.Measured[Verified]) -> None:
    found = measurement.value
    with st.container(border=True):
        if measurement.error:
            st.markdown(
                f":red[:material/error:] **The file could not be verified:** {text.escape(measurement.error)}"
            )
        elif found is None:
            # As long as what will stand here, so that nothing below moves.
            st.markdown(
                ":material/hourglass_top: **Verifying…** The file is written, loaded again by ONNX Runtime "
                "and run on the samples of the preview; its outputs are compared, bit for bit, to the ones "
                "behind the figures on the other pages."
            )
        elif found.identical:
            st.markdown(
                f":green[:material/verified:] **Verified.** {text.size(len(found.data))} were loaded again "
                f"by ONNX Runtime {text.escape(found.runtime)} and run on "
                f"{text.plural(found.samples, 'sample')}: outputs are identical, bit for bit, to the ones "
                "behind the figures on the other pages."
            )
        else:
            st.markdown(
                f":red[:material/error:] **Not identical.** Outputs of the loaded file differ by up to "
                f"{text.number(found.difference)} from the preview; do not ship it, and report this."
            )
        if not measurement.error:
            st.caption(f"SHA-256 {'…' if found is None else found.sha256}")


def _stays_float(now: state.Session) -> None:
    """Layers in float by reason; names as far as there is room."""
    groups = exporting.float_groups(now.model, now.recipe, now.encodings)
    with st.container(border=True):
        st.markdown("**What stays float, and why**")
        if not groups:
            st.markdown("Nothing: every layer computes on integers.")
        for group in groups[:REASONS]:
            operators = ", ".join(f"{count:,} {op}" for op, count in group.operators)
            st.markdown(f"**{text.escape(operators)}**: {text.escape(group.why)}.")
            more = len(group.names) - NAMES
            names = ", ".join(text.code(text.short(name, 44)) for name in group.names[:NAMES])
            st.caption(names + (f" and {more:,} more" if more > 0 else ""))
        if (left := sum(len(group.names) for group in groups[REASONS:])) > 0:
            st.caption(f"… and {text.plural(left, 'layer')} for other reasons; the layer table lists all.")


def _changed(now: state.Session) -> None:
    """All that makes the quantized model another one than the file that was opened."""
    sentences = exporting.changes(now.opened.model, now.recipe, exported_encodings.pass_records(now))
    if sentences:
        with st.container(border=True):
            st.markdown("**What was changed before quantizing**")
            st.markdown("\n".join(f"- {text.escape(sentence)}" for sentence in sentences))
