"""An already quantized model, to look at: its scales on the values that they round. Nothing can be edited."""

import streamlit as st

from quantscope.core.evaluate import Role, StoredQuantizer
from quantscope.core.project import Project
from quantscope.ui.components import Card, cards
from quantscope.ui.content import text
from quantscope.ui.content.stored_rows import StoredRow, counts, stored_json, without_quantizer
from quantscope.ui.figures.stored import channels_figure, stored_figure
from quantscope.ui.runs import exporting, looking
from quantscope.ui.runs.looking import Look
from quantscope.ui.session import locating, state
from quantscope.ui.session.jobs import Job
from quantscope.ui.session.keys import Page
from quantscope.ui.views import common, job_progress, locate

ROLES = {"All": None, "Activations": Role.ACTIVATION, "Weights": Role.WEIGHT, "Biases": Role.BIAS}
NAMES = {Role.ACTIVATION: "activation", Role.WEIGHT: "weight", Role.BIAS: "bias"}


def render() -> None:
    """Draw the page, in place of the Overview."""
    opened = state.project()
    common.title(
        "A look at a quantized model",
        "Read-only: this file holds integers already. To tune a model, open the float one it was made from.",
    )
    if opened is None:
        return
    job = looking.look_job(opened)
    found = job.result
    if found is not None:
        _found(found)
    elif job.active:
        with st.container(border=True):
            st.markdown("**Looking at the model**")
            job_progress.watch("look", lambda: _job(opened))
    elif gone := locating.missing_model(opened):
        locate.render(opened, gone)
    else:
        st.error(text.escape(text.sentence(job.error or "it was cancelled")), icon=":material/error:")
        st.button(
            "Try again",
            icon=":material/refresh:",
            on_click=looking.look_again,
            args=(opened,),
            key="look_again_job",
        )


def _job(opened: Project) -> Job[object]:
    return looking.look_job(opened)


def elsewhere() -> None:
    """Draw what a page that edits says of such a model."""
    common.title("Read-only", "This model is quantized already.")
    common.empty(
        "Nothing to tune here",
        "This page works on a float model. Of a quantized one, the scales and what they round can be seen.",
        "Look at it",
        Page.OVERVIEW,
    )


def _found(found: Look) -> None:
    _cards(found)
    if not found.rows:
        st.info(
            "This file has no quantizer whose scale is a constant: scales are found while it runs. "
            + _dynamic(found),
            icon=":material/info:",
        )
    else:
        left, right = st.columns(2, gap="small")
        with left.container(border=True, height="stretch"):
            chosen = _table(found)
        with right.container(border=True, height="stretch"):
            _quantizer(found, chosen)
    _rest(found)


def _cards(found: Look) -> None:
    of = counts(found.stored.quantizers)
    types: dict[str, int] = {}
    for row in found.rows:
        types[row.type] = types.get(row.type, 0) + 1
    common_types = sorted(types, key=lambda name: -types[name])
    clipping = [row for row in found.rows if row.clipped]
    rounded = [row for row in found.rows if row.sqnr_db is not None]
    least = min(rounded, key=lambda row: row.sqnr_db or 0.0, default=None)
    over = f"over {text.plural(found.samples, 'sample')}" if found.samples else "no data were given"
    cards(
        [
            Card(
                name="Activations",
                value=f"{of[Role.ACTIVATION]:,}",
                note="quantized tensors",
                tip="Tensors with a scale of their own: what goes into and comes out of the layers.",
            ),
            Card(
                name="Weights",
                value=f"{of[Role.WEIGHT]:,}",
                note=f"and {text.plural(of[Role.BIAS], 'bias', 'biases')}",
                tip="Constants that the file stores as integers.",
            ),
            Card(
                name="Types",
                value=common_types[0] if common_types else "–",
                note=", ".join(common_types[1:4]),
            ),
            Card(
                name="Clipping",
                value=f"{len(clipping):,}" if found.samples else "–",
                note=f"of {text.plural(len(rounded), 'tensor')}, {over}" if found.samples else over,
                tip="Activations with values beyond the range that their quantizer keeps.",
            ),
            Card(
                name="Least SQNR",
                value=text.decibel(least.sqnr_db) if least is not None else "–",
                note=text.short(least.name, 22) if least is not None else over,
                tip="Of an activation's own quantizer: values before it against values behind it.",
            ),
            Card(name="Size", value=text.size(found.model.size_bytes), note=f"opset {found.model.opset}"),
        ],
        key="look_cards",
        least=140,
    )


def _table(found: Look) -> int:
    """The quantizers; the number of the chosen one."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control("Kind", list(ROLES), default="All", required=True, key="look_role")
        part = st.text_input("Name contains", key="look_name", placeholder="tensor or layer", width=150)
    role = ROLES[kind]
    picked = [
        number
        for number, row in enumerate(found.rows)
        if (role is None or row.role is role) and (part or "").lower() in f"{row.name} {row.layer}".lower()
    ]
    if not picked:
        st.caption(
            f"None of the {len(found.rows):,} quantizers has that in its name. Clear the filter to see them."
        )
        return 0
    chosen = st.dataframe(
        {
            "Tensor": [found.rows[n].name for n in picked],
            "Kind": [NAMES[found.rows[n].role] for n in picked],
            "Range": [_span(found.rows[n].low, found.rows[n].high) for n in picked],
            "Scale": [found.rows[n].scale for n in picked],
            "Zero point": [_zero(found.rows[n]) for n in picked],
            "Clipped": [_percent(found.rows[n].clipped) for n in picked],
            "SQNR, dB": [_finite(found.rows[n].sqnr_db) for n in picked],
            "Range used": [_percent(found.rows[n].used) for n in picked],
            "Type": [found.rows[n].type for n in picked],
            "Channels": [found.rows[n].channels for n in picked],
            "Layer": [found.rows[n].layer for n in picked],
            "Operator": [found.rows[n].op for n in picked],
        },
        key=f"look_table_{role}_{part}",
        on_select="rerun",
        selection_mode="single-row",
        hide_index=True,
        placeholder="–",
        height=400,
        column_config={
            "Tensor": st.column_config.TextColumn(pinned=True, width=110),
            "Kind": st.column_config.TextColumn(width=76),
            "Range": st.column_config.TextColumn(width=130),
            "Scale": st.column_config.NumberColumn(format="%.4g"),
            "Clipped": st.column_config.NumberColumn(format="%.2f %%"),
            "SQNR, dB": st.column_config.NumberColumn(format="%.1f"),
            "Range used": st.column_config.NumberColumn(format="%.0f %%"),
        },
    )
    rows = chosen.selection.rows
    st.caption(
        "Choose a row to see its values. Where channels have scales of their own, the largest is shown."
    )
    return picked[rows[0]] if rows and rows[0] < len(picked) else picked[0]


def _finite(value: float | None) -> float | None:
    return None if value is None or abs(value) == float("inf") else value


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _zero(row: StoredRow) -> str:
    return "differ" if row.zero_point is None else f"{row.zero_point:,}".replace("-", "−")


def _span(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{text.number(low)} … {text.number(high)}"


def _quantizer(found: Look, number: int) -> None:
    """One quantizer: its values, its range, and what it costs."""
    row, entry = found.rows[number], found.stored.quantizers[number]
    histogram = found.histograms.get(number)
    where = f" of {text.code(text.short(row.layer, 40))} · {text.escape(row.op)}" if row.layer else ""
    st.markdown(f"**{text.code(text.short(row.name, 44))}** — {NAMES[row.role]}{where}")
    st.markdown(_facts(row, entry))
    if histogram is not None:
        figure = stored_figure(histogram, row_range(row), height=300 if row.channels == 1 else 240)
        st.plotly_chart(figure, key="look_values", config={"displayModeBar": False})
    elif row.role is Role.ACTIVATION:
        st.info(
            "Open the model together with data to see which values this range meets."
            if not found.samples
            else "No values of it can be read while the model runs.",
            icon=":material/info:",
        )
    if row.channels > 1:
        st.plotly_chart(
            channels_figure(entry, height=190), key="look_channels", config={"displayModeBar": False}
        )
    st.caption(_basis(found, row, entry))


def row_range(row: StoredRow) -> tuple[float, float] | None:
    """What the quantizer keeps."""
    return None if row.low is None or row.high is None else (row.low, row.high)


def _facts(row: StoredRow, entry: StoredQuantizer) -> str:
    least, most = float(entry.scale.min()), float(entry.scale.max())
    scale = text.number(most) if least == most else f"{text.number(least)} … {text.number(most)}"
    zero = "zero points differ" if row.zero_point is None else f"zero point {_zero(row)}"
    said = [
        f"{row.type}, scale {scale}, {zero}"
        + (f", {text.plural(row.channels, 'channel')}" if row.channels > 1 else "")
        + (f", blocks of {entry.block}" if entry.block else ""),
        f"keeps {_span(row.low, row.high)}" if row.low is not None else "",
        f"values {_span(row.seen_low, row.seen_high)}" if row.seen_low is not None else "",
        f"{text.percent(row.clipped)} clipped, {text.decibel(row.sqnr_db)}"
        if row.clipped is not None
        else "",
        f"cuts as a {row.activation} would, which does not count as clipping" if row.activation else "",
    ]
    return " · ".join(text.escape(part) for part in said if part)


def _basis(found: Look, row: StoredRow, entry: StoredQuantizer) -> str:
    if row.role is not Role.ACTIVATION:
        return "Values as the network computes with them: (integer − zero point) × scale."
    if not found.samples:
        return "Without data, only what the file says is shown."
    what = (
        "values as integers that were rounded already, times the scale: what was clipped stands at the ends"
        if entry.integers
        else "values before they are rounded; the layers before are quantized, as in the file"
    )
    return f"Over {text.plural(found.samples, 'sample')} of {text.escape(found.source)}: {what}."


def _dynamic(found: Look) -> str:
    listed = ", ".join(f"{count:,} × {op}" for op, count in found.stored.dynamic.items())
    return (
        f"Scales that are found while the model runs, which a file does not say: {listed}." if listed else ""
    )


def _rest(found: Look) -> None:
    layers = [(layer.name, layer.op) for layer in found.model.layers if layer.kind == "compute"]
    bare = without_quantizer(layers, found.stored.quantizers) if found.rows else []
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "All scales and zero points, JSON",
            data=lambda: stored_json(found.stored.quantizers),  # long where channels have scales of their own
            file_name=f"{exporting.stem(found.model.name)}_encodings.json",
            mime="application/json",
            icon=":material/download:",
            on_click="ignore",
            key="look_json",
        )
        if found.rows and (said := _dynamic(found)):
            st.caption(text.escape(said))
    if bare:
        with st.expander(f"{text.plural(len(bare), 'layer')} without a quantizer of their own"):
            st.markdown("\n".join(f"- {text.code(name)}" for name in bare[:200]))
            if len(bare) > 200:
                st.caption(f"… and {len(bare) - 200:,} more.")
    if found.notes:
        with st.expander(text.plural(len(found.notes), "note")):
            st.markdown("\n".join(f"- {text.escape(note)}" for note in found.notes))
