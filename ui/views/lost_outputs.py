"""What the outputs have lost, where it must not be missed: a banner, and the change that helps."""

import streamlit as st

from quantscope.core.evaluate import Comparison, LostOutput, output_warnings
from quantscope.core.model import quoted_names
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision
from quantscope.ui.content import text
from quantscope.ui.session import state


def overview(found: Comparison | None) -> None:
    """A banner for outputs that became constant, are half noise, or not finite."""
    said = () if found is None else output_warnings(found.outputs, found.lost)
    if found is None or not said:
        return
    with st.container(border=True):
        lines = "\n".join(f"- {text.escape(text.typeset(sentence))}." for sentence in said)
        st.error(f"**The quantized model has lost outputs.**\n\n{lines}", icon=":material/report:")
        for lost in found.lost:
            if lost.spared:
                st.button(
                    f"Leave {text.escape(quoted_names(lost.spared))} in float",
                    key=f"spare_{lost.output}",
                    icon=":material/healing:",
                    on_click=_spare,
                    args=(lost,),
                )
        st.caption("Auto-tune looks for the least change that brings them back.")


def _spare(lost: LostOutput) -> None:
    def changed(recipe: Recipe) -> Recipe:
        for layer in lost.spared:
            recipe = recipe.with_layer(layer, precision=Precision.FLOAT)
        return recipe

    state.edit(changed, f"{quoted_names(lost.spared)} in float")
