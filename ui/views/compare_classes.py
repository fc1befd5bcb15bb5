"""Compare, class by class: which lose by quantization, and which they are taken for."""

import streamlit as st

from quantscope.ui.content import text
from quantscope.ui.content.sample_classes import MATRIX, PAIRS, ClassFigures, class_figures
from quantscope.ui.content.sample_list import Filter, View
from quantscope.ui.figures import sample_classes
from quantscope.ui.session import keys
from quantscope.ui.session.memory import uninterrupted
from quantscope.ui.views.common import clicked


def render(view: View, label: str, names: tuple[str, ...]) -> None:
    """Classes by what they lose, the pairs that became most frequent, and the matrix where it can be read."""
    found = class_figures(view, names)
    if found is None:
        st.info(
            "Classes are not counted in pairs here: there are more than 1,024 of them at every position.",
            icon=":material/info:",
        )
        return
    what = "positions" if found.positions else "samples"
    if found.labelled:
        st.caption(
            f"Of the {what} with each label: the share that is right, in float and in {text.escape(label)}."
        )
    else:
        st.caption(
            f"There are no labels: of the {what} that the float model gives each class, the share to which "
            f"{text.escape(label)} gives it too."
        )
    left, right = st.columns(2, gap="medium")
    with left:
        st.plotly_chart(
            sample_classes.classes_figure(found.rows, label, labelled=found.labelled),
            key="samples_classes",
            config={"displayModeBar": False},
        )
    with right:
        if found.matrix is not None:
            clickable = view.classifies
            st.plotly_chart(
                sample_classes.matrix_figure(found.matrix, label, labelled=found.labelled),
                key=keys.SAMPLES_MATRIX.name,
                config={"displayModeBar": False},
                on_select=_show_cell if clickable else "ignore",
                selection_mode="points",
            )
            if clickable:
                st.caption("Click a cell to see its samples.")
        else:
            st.caption(f"More than {MATRIX} classes are no matrix to be read: these are its largest entries.")
            _pairs(found, label)
    if found.matrix is not None:
        with st.expander("Pairs that are confused, as a table"):
            _pairs(found, label)
    with st.expander("All classes, as a table"):
        _classes(found, label)


@uninterrupted
def _show_cell() -> None:
    """Show the samples of the cell that was clicked; a callback."""
    point = clicked(keys.SAMPLES_MATRIX)
    if point is None:
        return
    first, second = (int(number) for number in point["customdata"][:2])
    keys.SAMPLES_CLASS.set(first)
    keys.SAMPLES_ANSWER.set(second)
    keys.SAMPLES_FILTER.set(Filter.ALL)
    keys.SAMPLES_PART.set("Samples")
    keys.SAMPLES_PAGE.set(0)


def _pairs(found: ClassFigures, label: str) -> None:
    if not found.pairs:
        st.caption("No class is taken for another.")
        return
    first = "Label" if found.labelled else "Class of float"
    rows = [
        {
            first: pair.first,
            "Taken for": pair.second,
            **({"in float": pair.float_count} if found.labelled else {}),
            f"in {label}": pair.version_count,
            **({"Change": pair.change} if found.labelled else {}),
        }
        for pair in found.pairs
    ]
    st.dataframe(rows, hide_index=True)
    if len(found.pairs) == PAIRS:
        st.caption(f"The {PAIRS} pairs that became more frequent than all others.")


def _classes(found: ClassFigures, label: str) -> None:
    st.dataframe(
        [
            {
                "Class": row.name,
                "Positions" if found.positions else "Samples": row.count,
                "float, %": 100 * row.float_right,
                f"{label}, %": 100 * row.version_right,
                "Change, points": row.change,
                "Most often taken for": row.taken_for,
            }
            for row in found.rows
        ],
        hide_index=True,
        column_config={
            "float, %": st.column_config.NumberColumn(format="%.1f"),
            f"{label}, %": st.column_config.NumberColumn(format="%.1f"),
            "Change, points": st.column_config.NumberColumn(format="%+.1f"),
        },
    )
