"""History: every step of the recipe with what came of it, and the ways back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import streamlit as st

from quantscope.core.project import Figures, Scope
from quantscope.ui.components import StepCell, StepRow, step_list
from quantscope.ui.content import text
from quantscope.ui.content.basis import Basis
from quantscope.ui.content.comparison import Column, figure_rows
from quantscope.ui.content.step_tree import TreeRow, moment, step_tree
from quantscope.ui.figures.versions import StepPoint, history_figure
from quantscope.ui.runs import compared, history, measured, versions
from quantscope.ui.runs.history import Known
from quantscope.ui.runs.versions import Version
from quantscope.ui.session import keys, state
from quantscope.ui.session.keys import Page
from quantscope.ui.session.memory import uninterrupted
from quantscope.ui.views import common, compare, history_step, job_progress

MEASURING = "figures_of_steps"
HEADS = ("Top-1", "Agreement with float", "Mean IoU", "Output SQNR", "File size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The steps that are listed, with what is known of them over the chosen samples."""

    now: state.Session
    known: Known
    tree: tuple[TreeRow, ...]  # the newest first
    scope: Scope
    chosen: int

    def figures(self, number: int) -> Figures | None:
        """Figures of a step over the chosen samples."""
        return self.known.figures(number, self.scope)


def render() -> None:
    """Draw the page."""
    common.title(
        "History",
        "Every step is kept: what was changed, what came of it, and the way back. An edit after going back "
        "starts a branch; nothing is lost.",
    )
    now = common.session("then every step of its recipe is listed here.")
    if now is None:
        return
    known = history.known(now, hidden=keys.HISTORY_HIDDEN.get())
    numbers = [version.number for version in known.steps]
    tree = step_tree(now.project.parents, now.project.head, numbers)
    asked = keys.history_step(now.project.identity).get()
    chosen = asked if asked in numbers else now.project.head
    listed = Listed(now=now, known=known, tree=tree, scope=_scope(known), chosen=chosen)
    _charts(listed)
    _tools(listed)
    _deleted(now)
    left, right = st.columns([5, 3], gap="medium")
    with left:
        _list(listed)
    with right:
        version = next((v for v in known.steps if v.number == chosen), None)
        if version is not None:
            history_step.render(now, known, version)


def _scope(known: Known) -> Scope:
    """Over which samples figures are shown: as chosen, else those that most steps have figures of."""
    counts = {scope: known.count(scope) for scope in (Scope.WHOLE, Scope.PREVIEW)}
    first = Scope.WHOLE if 2 * counts[Scope.WHOLE] >= counts[Scope.PREVIEW] else Scope.PREVIEW
    asked = keys.HISTORY_SCOPE.get()
    return Scope(asked) if asked in (Scope.WHOLE, Scope.PREVIEW) else first


def _basis(now: state.Session, scope: Scope) -> Basis:
    return measured.judged_basis(now) if scope is Scope.WHOLE else measured.preview_basis(now)


# --- curves ---


def _charts(listed: Listed) -> None:
    """A curve for each of two figures; a click chooses the step."""
    rows = _by_name(listed)
    curves = [(name, unit, values) for name, unit, values in rows if len(values) > 1]
    if not curves:
        return
    for column, (name, unit, values) in zip(st.columns(len(curves)), curves, strict=True):
        with column.container(border=True):
            st.markdown(f"**{name}** at each step — click one to choose it")
            st.plotly_chart(
                history_figure(_points(listed, values), unit=unit),
                key=keys.history_chart(name).name,
                on_select=partial(_picked, name),
                config={"displayModeBar": False},
                selection_mode="points",
                height=150,
            )


def _by_name(listed: Listed) -> list[tuple[str, str, dict[int, float]]]:
    """The figures that are drawn: the output's SQNR, and how often the answer is right, or float's."""
    right: dict[int, float] = {}
    agree: dict[int, float] = {}
    sqnr: dict[int, float] = {}
    for row in reversed(listed.tree):
        found = listed.figures(row.number)
        if found is None:
            continue
        if found.top1 is not None:
            right[row.number] = 100 * found.top1
        if found.agreement is not None:
            agree[row.number] = 100 * found.agreement
        if found.sqnr_db is not None:
            sqnr[row.number] = found.sqnr_db
    first = ("Top-1", "%", right) if right else ("Agreement with float", "%", agree)
    return [("Output SQNR", "dB", sqnr), first]


def _points(listed: Listed, values: dict[int, float]) -> list[StepPoint]:
    now, known = listed.now, listed.known
    leads = known.leads
    labels = {version.number: version.name or version.what for version in known.steps}
    points = []
    for number, value in values.items():
        parent = now.project.parents[number]
        while parent and parent not in values:
            parent = now.project.parents.get(parent, 0)
        points.append(
            StepPoint(
                number=number,
                value=value,
                parent=parent,
                label=labels.get(number, ""),
                leads=number in leads,
                shown=number == now.project.head,
                chosen=number == listed.chosen,
                pinned=number == known.pinned,
            )
        )
    return points


@uninterrupted
def _picked(name: str) -> None:
    point, opened = common.clicked(keys.history_chart(name)), state.project()
    if point is not None and opened is not None and point.get("customdata"):
        keys.history_step(opened.identity).set(int(point["customdata"][0]))


# --- what is done with several steps ---


def _tools(listed: Listed) -> None:
    now, known = listed.now, listed.known
    marked = keys.history_ticked(now.project.identity).get()
    ticked = [version for version in known.steps if version.number in marked]
    missing = [v for v in ticked or known.steps if known.figures(v.number, Scope.WHOLE) is None]
    job, most = compared.measuring(now), compare.MOST + 1
    with st.container(horizontal=True, vertical_alignment="center"):
        options = {scope: _basis(now, scope).words for scope in (Scope.WHOLE, Scope.PREVIEW)}
        if known.count(Scope.WHOLE) or known.count(Scope.PREVIEW):
            st.segmented_control(
                "Figures over",
                list(options),
                default=listed.scope,
                required=True,
                label_visibility="collapsed",
                format_func=lambda scope: options.get(scope, scope),
                key=f"history_scope_{listed.scope}",
                on_change=_choose_scope,
                args=(f"history_scope_{listed.scope}",),
            )
        st.button(
            f"Compare {len(ticked):,} steps" if len(ticked) > 1 else "Compare with the shown step",
            key="history_compare",
            icon=":material/compare_arrows:",
            disabled=not ticked or len(ticked) > most or [v.number for v in ticked] == [now.project.head],
            on_click=_compare,
            args=(tuple(ticked),),
            help=f"Tick steps in the list, up to {most}",
        )
        if known.hidden or keys.HISTORY_HIDDEN.get():
            st.toggle(f"Show deleted ({known.hidden})", key=keys.HISTORY_HIDDEN.name)
        if job is not None and job.active:
            common.poll(MEASURING, 0.4, _progress, now)
            return
        words = f"{text.plural(len(missing), 'step')}{' ticked' if ticked and missing else ''}"
        st.button(
            f"Measure {words}" if missing else "All measured",
            key="history_measure",
            icon=":material/speed:",
            disabled=not missing or now.workspace.preview is None,
            on_click=_measure,
            args=(tuple(missing),),
            help="Accuracy, size and time over the judged samples, in the background; the project keeps them",
        )
    if job is not None and job.error:
        st.error(text.escape(text.sentence(job.error)), icon=":material/error:")


def _progress(now: state.Session) -> None:
    """How far measuring is; ends in a new drawing of the page."""
    job = common.running(MEASURING, compared.measuring(now))
    if job is not None:
        words = f"{text.escape(job.progress.label or 'starting')} · {round(100 * job.share)} %"
        job_progress.line(job, MEASURING, words)


@uninterrupted
def _choose_scope(key: str) -> None:
    keys.HISTORY_SCOPE.set(str(keys.value_of(key).get() or ""))


@uninterrupted
def _compare(ticked: tuple[Version, ...]) -> None:
    now = state.session()
    if now is None:
        return
    chosen = ticked
    if len(ticked) == 1:
        shown = versions.find(now, versions.step_key(now.project.head))
        chosen = (*ticked, shown) if shown is not None else ticked
    compare.choose(now, chosen)
    keys.GO.set(Page.COMPARE)


def _measure(missing: tuple[Version, ...]) -> None:
    now = state.session()
    if now is not None:
        compared.measure_steps(now, missing)


def _deleted(now: state.Session) -> None:
    """What was deleted last, and the way back."""
    deleted = keys.history_deleted(now.project.identity).get()
    gone = tuple(number for number in deleted if number in now.project.hidden)
    if not gone:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        what = f"Step {gone[0]} is" if len(gone) == 1 else f"{text.plural(len(gone), 'step')} are"
        st.caption(f":material/delete: {what} out of the history.")
        st.button("Bring back", key="history_bring_back", type="tertiary", on_click=_bring_back, args=(gone,))


@uninterrupted
def _bring_back(numbers: tuple[int, ...]) -> None:
    now = state.session()
    if now is not None:
        keys.NOTICE.set(history.bring_back(now.project, set(numbers)))
        keys.history_deleted(now.project.identity).pop()


# --- the list ---


def _list(listed: Listed) -> None:
    known, now = listed.known, listed.now
    ticked = keys.history_ticked(now.project.identity).get()
    by_number = {version.number: version for version in known.steps}
    cells = {row.number: _cells(listed, row) for row in listed.tree}
    heads = [head for head in HEADS if any(head in found for found in cells.values())]
    if "Top-1" in heads and "Agreement with float" in heads:
        heads.remove("Agreement with float")
    rows = []
    for row in listed.tree:
        version = by_number[row.number]
        rows.append(
            StepRow(
                number=row.number,
                lane=row.lane,
                parent=row.parent,
                label=version.what,
                name=version.name,
                time=moment(version.time),
                cells=tuple(cells[row.number].get(head, StepCell(text="–")) for head in heads),
                shown=row.number == now.project.head,
                pinned=row.number == known.pinned,
                hidden=row.number in now.project.hidden,
                ticked=row.number in ticked,
            )
        )
    step_list(
        rows,
        heads,
        chosen=listed.chosen,
        key=keys.HISTORY_LIST.name,
        on_choose=_choose,
        on_tick=_tick,
    )
    if known.count(listed.scope):
        basis = _basis(now, listed.scope)
        st.caption(f"Figures over {basis.markdown}; small: the change since the step that it was made from.")
    else:
        st.caption(
            "Nothing is measured yet: figures come when a step is shown on *Overview*, or by *Measure*."
        )


def _cells(listed: Listed, row: TreeRow) -> dict[str, StepCell]:
    """Figures of a step by their names, with the change since the step that it was made from."""
    found = listed.figures(row.number)
    if found is None:
        return {}
    before = listed.figures(row.parent) if row.parent else None
    columns = [Column(label="before", figures=before), Column(label="after", figures=found)]
    after = {entry.name: entry.cells[1] for entry in figure_rows(columns, 0)}
    return {
        name: StepCell(text=cell.value, change=cell.change, tone=cell.tone) for name, cell in after.items()
    }


@uninterrupted
def _choose() -> None:
    events, opened = keys.HISTORY_LIST.get(), state.project()
    if events is not None and events.choose is not None and opened is not None:
        keys.history_step(opened.identity).set(int(events.choose["number"]))


@uninterrupted
def _tick() -> None:
    events, opened = keys.HISTORY_LIST.get(), state.project()
    if events is not None and events.tick is not None and opened is not None:
        numbers = tuple(int(number) for number in events.tick["numbers"])
        keys.history_ticked(opened.identity).set(numbers)
