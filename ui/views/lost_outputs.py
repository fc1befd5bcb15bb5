"""What the outputs have lost, where it must not be missed: a banner, a card, and the change that helps."""

import streamlit as st

from quantscope.core.evaluate import Comparison, LostOutput, output_warnings
from quantscope.core.model import quoted_names
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Precision
from quantscope.ui.components import Card
from quantscope.ui.content import text
from quantscope.ui.session import state


def overview(found: Comparison | None) -> None:
    """A banner for outputs that became constant, are half noise, or not finite."""
    said = () if found is None else output_warnings(found.outputs, found.lost)
    if found is None or not said:
        return
    with st.container(border=True):
        lines = "\n".join(f"- {text.escape(sentence)}." for sentence in said)
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
        st.caption("Auto-tune below looks for the least change that brings them back.")


def _spare(lost: LostOutput) -> None:
    def changed(recipe: Recipe) -> Recipe:
        for layer in lost.spared:
            recipe = recipe.with_layer(layer, precision=Precision.FLOAT)
        return recipe

    state.edit(changed, f"{quoted_names(lost.spared)} in float")


def card(found: Comparison) -> Card | None:
    """The worst part of the outputs, where they have several; None where one figure says all."""
    parts = [(o, part) for o in found.outputs if o.channels is not None for part in o.channels.parts]
    if len(parts) < 2:
        return None
    output, worst = min(parts, key=lambda entry: entry[1].sqnr_db)
    several = output.channels is not None and len(output.channels.parts) > 1
    where = f"{text.plural(len(worst.channels), 'channel')} of {output.name}" if several else output.name
    return Card(
        name="Worst output",
        value=text.decibel(worst.sqnr_db),
        change=f"{len(worst.lost)} constant" if worst.lost else "",
        tone="bad" if worst.lost else "",
        note=text.short(where, 28),
        tip="SQNR of the worst output, or of the channels of one whose values are about as large. "
        "The SQNR of all outputs together is that of the largest values.",
    )
