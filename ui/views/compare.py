"""Compare: versions side by side, their choices, figures, layers, tensors and samples."""

from __future__ import annotations

import streamlit as st

from quantscope.ui.components.refresh import signal
from quantscope.ui.content import text
from quantscope.ui.figures.versions import VersionLine, layers_figure
from quantscope.ui.runs import baseline, compared, history, measured, versions
from quantscope.ui.runs.compared import VersionLayers
from quantscope.ui.runs.measured import Measured
from quantscope.ui.runs.versions import Kind, Version
from quantscope.ui.session import keys, state
from quantscope.ui.session.keys import ComparedVersions, Page
from quantscope.ui.session.memory import uninterrupted
from quantscope.ui.views import common, compare_figures, compare_files, compare_samples, compare_tensors

SIDE_BY_SIDE = 2  # versions whose figures leave room for choices beside them
MOST = 5  # versions held against another one


def render() -> None:
    """Draw the page."""
    common.title("Compare", "Which version is better, where, and by which choices.")
    now = common.session("then its versions can be held against each other here.")
    if now is None:
        return
    chosen = _chosen(now)
    _chooser(now, chosen)
    if len(chosen) < 2:
        _nothing(now)
        return
    figures = {v.key: compared.figures(now, v) for v in chosen if v.kind is not Kind.FLOAT}
    layers = {v.key: compared.layers(now, v) for v in chosen if v.kind is not Kind.FLOAT}
    running = [*(m.running for m in figures.values()), *(m.running for m in layers.values())]
    _polling(now, chosen, any(running))
    for version in chosen:
        if version.key in figures and (why := figures[version.key].error or layers[version.key].error):
            _cannot(version, why)
    if len(chosen) > SIDE_BY_SIDE:
        compare_figures.figures(now, chosen, figures)
        changes = compare_figures.choices(now, chosen)
    else:
        left, right = st.columns([3, 2])
        with left:
            compare_figures.figures(now, chosen, figures)
        with right:
            changes = compare_figures.choices(now, chosen)
    _layers(now, chosen, layers)
    compare_tensors.render(now, chosen, layers)
    compare_samples.render(now, chosen)
    compare_files.downloads(now, chosen, figures, layers, changes)


def _cannot(version: Version, why: str) -> None:
    """Why a version cannot be run."""
    name = text.escape(text.short(version.short, 40))
    st.error(f"**{name}** cannot be measured: {text.escape(why)}", icon=":material/error:")


# --- which versions ---


def _chosen(now: state.Session) -> tuple[Version, ...]:
    """What is compared, that which others are held against first; versions that are gone are left out."""
    known = {version.key: version for version in versions.versions(now)}
    kept = keys.COMPARED.get()
    if kept is None or kept.project != now.project.id:
        kept = _first_choice(now)
    against = known.get(kept.against, versions.FLOAT_MODEL)
    others = [known[key] for key in kept.others if key in known and key != against.key]
    return (against, *others[:MOST])


def _first_choice(now: state.Session) -> ComparedVersions:
    """The baseline, or the first step, and the shown one."""
    pinned, head = baseline.baseline(now.project), now.project.head
    first = min(now.project.parents, default=head)
    against = pinned.version.key if pinned is not None else versions.step_key(first)
    shown = versions.step_key(head)
    if against == shown:
        against = versions.FLOAT
    return ComparedVersions(project=now.project.id, against=against, others=(shown,))


def _chooser(now: state.Session, chosen: tuple[Version, ...]) -> None:
    known = {version.key: version for version in versions.versions(now)}
    pinned = baseline.baseline(now.project)

    def label(key: str) -> str:
        version = known.get(key)
        if version is None:
            return key
        marks = [" · shown"] if version.number and version.number == now.project.head else []
        marks += [" · baseline"] if pinned is not None and pinned.version.key == key else []
        return text.plain(f"{text.short(version.label, 34)}{''.join(marks)}")

    against, *others = (version.key for version in chosen)
    left, right, more = st.columns([6, 11, 6], vertical_alignment="bottom")
    options = list(known)
    key, value = common.follow("compare_against", against)
    left.selectbox(
        "Held against",
        options,
        index=options.index(value),
        format_func=label,
        key=key,
        on_change=common.changed,
        args=(key, _choose_against),
    )
    key, first = common.follow("compare_others", others)
    right.multiselect(
        "Versions",
        [option for option in options if option != against],
        default=first,
        format_func=label,
        max_selections=MOST,
        key=key,
        placeholder="Choose steps, named versions or files",
        on_change=common.changed,
        args=(key, _choose_others),
    )
    with more.container(horizontal=True, gap="small"):
        st.button(
            "",
            icon=":material/history:",
            key="to_history",
            help="History: all steps with their names and figures",
            on_click=_to_history,
        )
        _pin(chosen[0], pinned is not None and pinned.version.key == chosen[0].key)
        with st.popover("Add a file", icon=":material/note_add:"):
            compare_files.add_file(now, _take)


def _pin(version: Version, pinned: bool) -> None:
    """The button that makes what others are held against the baseline of all pages."""
    st.button(
        "",
        icon=":material/keep_off:" if pinned else ":material/keep:",
        key="compare_pin",
        help="Unpin the baseline"
        if pinned
        else f"Pin {text.escape(text.short(version.short))} as the baseline: "
        "figures on all pages then show their distance to it",
        disabled=version.kind is Kind.FLOAT,
        on_click=_toggle_pin,
        args=(None if pinned else version,),
    )


@uninterrupted
def _toggle_pin(version: Version | None) -> None:
    now = state.session()
    if now is not None:
        keys.NOTICE.set(history.pin(now.project, version))


def _to_history() -> None:
    keys.GO.set(Page.HISTORY)


@uninterrupted
def _choose_against(key: str) -> None:
    now = state.session()
    if now is not None:
        before = _chosen(now)
        others = [version.key for version in before if version.key != key]
        if key in (version.key for version in before[1:]):  # the two change places
            others = [version.key for version in before if version.key != key]
        else:
            others = [version.key for version in before[1:]]
        keys.COMPARED.set(ComparedVersions(project=now.project.id, against=key, others=tuple(others)))


@uninterrupted
def _choose_others(chosen: list[str]) -> None:
    now = state.session()
    if now is not None:
        against = _chosen(now)[0].key
        keys.COMPARED.set(ComparedVersions(project=now.project.id, against=against, others=tuple(chosen)))


def choose(now: state.Session, chosen: tuple[Version, ...]) -> None:
    """Let the page compare these, the first with the others; for use in callbacks."""
    against, *others = (version.key for version in chosen)
    keys.COMPARED.set(ComparedVersions(project=now.project.id, against=against, others=tuple(others[:MOST])))


def _take(added: Version) -> None:
    """Compare with a file too."""
    now = state.session()
    if now is not None:
        before = _chosen(now)
        choose(now, before if added in before else (*before[:MOST], added))


def _nothing(now: state.Session) -> None:
    """Fewer than two versions are chosen."""
    with st.container(border=True):
        if len(now.project.parents) < 2:
            st.markdown(
                "**There is one version so far.** Every edit makes another: change a strategy on *Layers*, "
                "or start *Auto-tune* on *Overview*, and compare what came of it. Or add a quantized file "
                "that another tool made of this model."
            )
        else:
            st.markdown("**Choose at least one version above** to hold against the other.")


def _polling(now: state.Session, chosen: tuple[Version, ...], active: bool) -> None:
    with st.container():  # always there, so that nothing below changes its place
        if active:
            common.poll("versions", 0.3, _poll, chosen, compared.ready(now, chosen))


def _poll(chosen: tuple[Version, ...], before: frozenset[str]) -> None:
    now = state.session()
    there = frozenset() if now is None else compared.ready(now, chosen)
    waiting = now is not None and compared.waiting(chosen)
    if there != before or not waiting:
        signal("versions", f"{sorted(there)} {waiting}")


# --- layers ---


def _layers(
    now: state.Session, chosen: tuple[Version, ...], layers: dict[str, Measured[VersionLayers]]
) -> None:
    names = [layer.name for layer in now.opened.model.layers]
    lines = []
    for version in chosen:
        found = layers.get(version.key)
        if found is not None and found.value is not None:
            sqnr = compared.sqnr_of(names, found.value)
            lines.append(VersionLine(label=version.short, sqnr=sqnr, against=version is chosen[0]))
    waiting = " · :orange[measuring…]" if any(found.running for found in layers.values()) else ""
    with st.container(border=True):
        st.markdown(
            f"**Error of every layer** — everything before it quantized too, "
            f"{measured.preview_samples(now)}; higher is better; click a point to inspect the layer{waiting}"
        )
        st.plotly_chart(
            layers_figure(names, lines),
            key=keys.COMPARE_LAYERS.name,
            on_select=_picked,
            config={"displayModeBar": False},
            selection_mode="points",
        )


def _picked() -> None:
    point, now = common.clicked(keys.COMPARE_LAYERS), state.session()
    if point is not None and now is not None:
        names = [layer.name for layer in now.opened.model.layers]
        state.choose_layer(names[int(point["x"]) - 1])
        keys.GO.set(Page.INSPECTOR)
