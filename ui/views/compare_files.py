"""Compare: quantized files of other tools come in, and comparisons go out."""

from collections.abc import Callable

import streamlit as st

from quantscope.core.project import Figures
from quantscope.ui.content import text
from quantscope.ui.content.choices import ChoiceChange
from quantscope.ui.content.comparison_files import ComparedVersion, comparison_csv, comparison_json
from quantscope.ui.runs import compared, exporting, versions
from quantscope.ui.runs.compared import VersionLayers
from quantscope.ui.runs.measured import Measured
from quantscope.ui.runs.versions import Kind, Version
from quantscope.ui.session import keys, state
from quantscope.ui.session.memory import uninterrupted


def add_file(now: state.Session, take: Callable[[Version], None]) -> None:
    """Draw what takes a file of another tool; `take` is told the version that it becomes."""
    st.caption("A quantized .onnx that another tool made of this model, with the same inputs and outputs.")
    uploaded = st.file_uploader("Upload it", type=["onnx"], key=keys.COMPARE_FILE.name)
    path = st.text_input("Or its path on this machine", key=keys.COMPARE_PATH.name)
    pressed = st.button("Add", key="compare_add", type="primary", disabled=not path.strip())
    if uploaded is not None and uploaded.file_id != keys.COMPARE_LOADED.get():
        keys.COMPARE_LOADED.set(uploaded.file_id)
        _take(now, take, compared.FileGiven(name=uploaded.name, content=uploaded.getvalue()))
    elif pressed:
        _take(now, take, compared.FileGiven(name="", path=path))
    if refused := keys.COMPARE_REFUSED.get():
        st.error(text.escape(text.sentence(refused)), icon=":material/error:")
    for version in versions.versions(now):
        if version.kind is Kind.FILE:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(text.code(text.short(version.name, 40)))
                st.button(
                    "Remove",
                    key=f"compare_remove_{version.key}",
                    type="tertiary",
                    on_click=_remove,
                    args=(version,),
                )


def _take(now: state.Session, take: Callable[[Version], None], given: compared.FileGiven) -> None:
    """Look at a file, and compare with it if it is one of the model."""
    with st.spinner("Reading the file…"):
        added, refused = compared.take_file(now, given)
    keys.COMPARE_REFUSED.set(refused)
    if added is not None:
        take(added)
        st.rerun()


@uninterrupted
def _remove(version: Version) -> None:
    now = state.session()
    if now is not None:
        keys.NOTICE.set(compared.remove_file(now, version))


def downloads(
    now: state.Session,
    chosen: tuple[Version, ...],
    figures: dict[str, Measured[Figures]],
    layers: dict[str, Measured[VersionLayers]],
    changes: dict[str, tuple[ChoiceChange, ...]],
) -> None:
    """Draw the buttons that download the comparison."""
    running = [*(m.running for m in figures.values()), *(m.running for m in layers.values())]
    ready = not any(running)
    known = []
    for version in chosen:
        floating = version.kind is Kind.FLOAT
        value = None if floating else figures[version.key].value
        found = None if floating else layers[version.key].value
        known.append(
            ComparedVersion(
                label=version.label,
                kind=version.kind,
                figures=compared.float_figures(m.value for m in figures.values()) if floating else value,
                layers=found.layers if found is not None else (),
                encodings=found.encodings if found is not None else {},
                changes=[
                    f"{c.what}: {c.words} ({', '.join(c.layers) or 'whole model'})"
                    for c in changes.get(version.key, ())
                ],
            )
        )
    stem = exporting.stem(now.opened.model.name)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Comparison as JSON",
            data=lambda: comparison_json(now.opened.model, known),  # long for thousands of layers
            file_name=f"{stem}_comparison.json",
            mime="application/json",
            icon=":material/data_object:",
            disabled=not ready,
            on_click="ignore",
            key="compare_json",
            help="All figures, choices that differ, and the errors of all layers.",
        )
        st.download_button(
            "Tensors as CSV",
            data=lambda: comparison_csv(now.opened.model, known),
            file_name=f"{stem}_tensors.csv",
            mime="text/csv",
            icon=":material/table:",
            disabled=not ready,
            on_click="ignore",
            key="compare_csv",
            help="Range, scale and zero point of every tensor in every version.",
        )
