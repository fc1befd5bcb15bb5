"""What can be done with the samples that are listed: keep them as a file, or calibrate with them."""

from collections.abc import Sequence

import streamlit as st

from quantscope.ui.content import text
from quantscope.ui.runs import by_sample_files
from quantscope.ui.runs.by_sample import Wanted
from quantscope.ui.runs.exporting import stem
from quantscope.ui.session import keys, state
from quantscope.ui.session.keys import Page
from quantscope.ui.views import job_progress


def render(wanted: Wanted, rows: Sequence[int], listed_as: str) -> None:
    """Two buttons, each with what it does.

    Args:
        wanted: What is compared.
        rows: The listed samples, in order.
        listed_as: Name of the filter.
    """
    if not len(rows):
        return
    taken = [int(row) for row in rows[: by_sample_files.most_rows(wanted)]]
    some = "" if len(taken) == len(rows) else f" the first {len(taken):,} of"
    what = text.plural(len(rows), "listed sample")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.download_button(
            f"Download {text.plural(len(taken), 'sample')} (.npz)",
            lambda: by_sample_files.npz_of(wanted, taken),
            file_name=f"{stem(wanted.now.project.name)}_{stem(listed_as.lower())}.npz",
            mime="application/octet-stream",
            key="samples_npz",
            icon=":material/download:",
            on_click="ignore",
            help=f"Inputs, labels, places in the data and the outputs of all models, of{some} the {what}.",
        )
        why = by_sample_files.why_not_calibration(wanted.now)
        with st.popover("Calibrate with these…", icon=":material/model_training:", disabled=bool(why)):
            _calibrate(wanted, taken, what, some)
    _recalibration(wanted)
    if why:
        st.caption(f"Calibrate with these: {why[0].lower()}{why[1:]}")


def _calibrate(wanted: Wanted, taken: Sequence[int], what: str, some: str) -> None:
    judged = len(wanted.now.workspace.evaluation or ())
    left = judged - len(taken)
    st.markdown(
        f"Makes a **new project** with the recipe in use. In it,{some} the {what} "
        f"{'is' if len(taken) == 1 else 'are'} added to the calibration data. This project stays as it is."
    )
    st.markdown(
        "Samples that calibrate cannot judge any more: they are taken out of the evaluation data, which keep "
        f"{text.plural(max(0, left), 'sample')}. Without those that were hard, the rest is easier: do not "
        "compare the new project's figures with those of this one."
    )
    copied = text.size(by_sample_files.copied_bytes(wanted.now))
    st.caption(f"Both data sets are copied into the new project, about {copied}.")
    st.button(
        "Make the project",
        key="samples_calibrate",
        type="primary",
        disabled=left < 1,
        on_click=by_sample_files.start_recalibration,
        args=(wanted, taken),
    )


def _recalibration(wanted: Wanted) -> None:
    """How far the new project is; once it is there, it is opened."""
    job = by_sample_files.recalibration(wanted)
    if job is None:
        return
    if job.active:
        job_progress.watch("recalibration", lambda: by_sample_files.recalibration(wanted))
        return
    by_sample_files.forget_recalibration(wanted)
    if job.result is not None:
        state.show(job.result)
        keys.GO.set(Page.OVERVIEW)
        st.rerun()
    if job.error:
        st.error(text.escape(text.sentence(job.error)), icon=":material/error:")
