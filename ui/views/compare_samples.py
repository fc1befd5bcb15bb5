"""Compare, sample by sample: whose answers changed, drawn as what they are; and which classes lose."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from quantscope.core.errors import QuantScopeError
from quantscope.core.evaluate import BySample
from quantscope.ui.components import gallery
from quantscope.ui.components.refresh import signal
from quantscope.ui.content import sample_list, text
from quantscope.ui.content.sample_cards import Words
from quantscope.ui.content.sample_kinds import Drawing, OutputKind
from quantscope.ui.content.sample_list import Answers, Filter, Order, View
from quantscope.ui.content.sample_names import class_name
from quantscope.ui.runs import by_sample, by_sample_files, measured
from quantscope.ui.runs.by_sample import Guess, Page, Wanted
from quantscope.ui.runs.versions import Version
from quantscope.ui.session import keys
from quantscope.ui.session.jobs import Job, State
from quantscope.ui.session.memory import Key
from quantscope.ui.session.state import Session
from quantscope.ui.views import common, compare_classes, job_progress, sample_actions, sample_drawing

MOST = 5  # versions
EACH, EACH_WIDE = 12, 6  # samples on a page: of few pictures, and of many
PATIENCE = 0.4  # seconds for which a page waits for samples, so that small models need no second drawing
SAMPLES, CLASSES = "Samples", "Classes"
ALL_CLASSES, WORST = -1, ""  # stand for no class of its own, and for no output


def render(now: Session, versions: Sequence[Version]) -> None:
    """The float model and versions of it over the judged samples, one by one.

    Args:
        now: The open project.
        versions: What is compared; the float model is always taken, whether it is among them or not.
    """
    st.subheader("Sample by sample", anchor=False)
    chosen = by_sample.quantized(versions)[:MOST]
    wanted = Wanted(now=now, versions=chosen)
    if not chosen:
        st.caption("Choose a quantized version above: its answers are held against the float model's here.")
        return
    if now.workspace.judged is None:
        st.info(
            "There are no samples to compare on: give calibration or evaluation data on *Open*.",
            icon=":material/info:",
        )
        return
    try:
        compared = by_sample.compared(wanted)
    except QuantScopeError as error:
        st.error(text.escape(text.sentence(str(error))), icon=":material/error:")
        return
    if compared.found is None or compared.guess is None:
        _measuring(wanted, compared.job)
        return
    _shown(wanted, compared.found, compared.guess)


def _measuring(wanted: Wanted, job: Job[None] | None) -> None:
    """What is measured, or what became of it."""
    if job is None:
        return
    if job.active:
        st.caption("Running the float model and the versions on every sample…")
        job_progress.watch("by_sample", lambda: by_sample.job_of(wanted))
        return
    if job.state is State.FAILED:
        st.error(text.escape(text.sentence(job.error)), icon=":material/error:")
    st.button(
        "Compare sample by sample" if job.state is State.CANCELLED else "Try again",
        key="by_sample_again",
        icon=":material/play_arrow:",
        on_click=_again,
        args=(wanted,),
    )


def _again(wanted: Wanted) -> None:
    by_sample.again(wanted)


def _shown(wanted: Wanted, found: BySample, guess: Guess) -> None:
    _begin_anew(wanted.now.project.id)
    names = [text.short(version.short, 24) for version in wanted.versions]
    drawing = by_sample_files.drawing_of(wanted.now, guess.drawing)
    found = sample_list.as_drawn(found, drawing)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        view = replace(_chosen_versions(wanted, found), answers=_answers(found, drawing))
        part = _part(found)
    label = names[view.shown]
    before = "" if view.before is None else names[view.before]
    said = (
        sample_list.summary(view, label, _over(wanted, found)),
        sample_list.against(view, label, before),
    )
    st.markdown(text.escape(" ".join(filter(None, said))))
    words = Words(
        models=("float", *names),
        classes=by_sample_files.class_names(wanted.now, found.classes),
        tokens=by_sample_files.token_names(wanted.now),
    )
    if part == CLASSES:
        compare_classes.render(view, label, words.classes)
        return
    rows, listed_as = _list(view, label, before, words, wanted, drawing, guess)
    _gallery(wanted, found, rows, guess, drawing, words, view.shown)
    sample_actions.render(wanted, rows, listed_as)


def _over(wanted: Wanted, found: BySample) -> str:
    """Over which samples, in words; those that a model takes several of at a time are counted one by one."""
    basis = measured.judged_basis(wanted.now)
    one_by_one = wanted.samples.batch > 1
    return text.plural(found.rows, f"{basis.data} sample") if one_by_one else basis.words


def _chosen_versions(wanted: Wanted, found: BySample) -> View:
    """Which version is judged, and which other one it is held against."""
    by_key = {version.key: at for at, version in enumerate(wanted.versions)}
    names = {version.key: text.short(version.short, 24) for version in wanted.versions}
    if len(by_key) < 2:
        return View(found=found, shown=0)
    common.begin(keys.SAMPLES_SHOWN, by_key, wanted.versions[-1].key)
    shown = st.segmented_control(
        "Answers of",
        list(by_key),
        key=keys.SAMPLES_SHOWN.name,
        required=True,
        format_func=lambda key: text.escape(names[key]),
        on_change=_first_page,
    )
    others = [key for key in by_key if key != shown]
    before: str | None = others[0]
    if len(others) > 1:
        common.begin(keys.SAMPLES_BEFORE, others, others[0])
        before = st.selectbox(
            "Changed since",
            others,
            key=keys.SAMPLES_BEFORE.name,
            format_func=lambda key: names[key],
            on_change=_first_page,
            width=260,
        )
    return View(found=found, shown=by_key.get(str(shown), 0), before=by_key.get(str(before)))


def _part(found: BySample) -> str:
    """What is shown: samples, or classes where there are any."""
    if found.scored is None:
        return SAMPLES
    common.begin(keys.SAMPLES_PART, [SAMPLES, CLASSES], SAMPLES)
    chosen = st.segmented_control(
        "Look at", [SAMPLES, CLASSES], key=keys.SAMPLES_PART.name, required=True, width="content"
    )
    return chosen or SAMPLES


def _answers(found: BySample, drawing: Drawing) -> Answers:
    """What differs where whole samples have no class."""
    kinds = drawing.outputs.values()
    if found.scored is None and OutputKind.BOXES in kinds:
        return "boxes"
    if OutputKind.CLASS_MAP in kinds:
        return "pixels"
    return "tokens" if OutputKind.TOKEN_CLASSES in kinds else "positions"


def _begin_anew(project: str) -> None:
    """Forget what was chosen for the samples of another project."""
    if keys.SAMPLES_OF.get() == project:
        return
    keys.SAMPLES_OF.set(project)
    keys.SAMPLES_PAGE.pop()
    keys.SAMPLES_FILTER.pop()
    keys.SAMPLES_ORDER.pop()
    keys.SAMPLES_CLASS.pop()
    keys.SAMPLES_ANSWER.pop()
    keys.SAMPLES_OUTPUT.pop()
    keys.SAMPLES_SHOWN.pop()
    keys.SAMPLES_BEFORE.pop()


def _first_page() -> None:
    keys.SAMPLES_PAGE.set(0)


def _list(
    view: View,
    label: str,
    before: str,
    words: Words,
    wanted: Wanted,
    drawing: Drawing,
    guess: Guess,
) -> tuple[Sequence[int], str]:
    """The rows that are listed, in order, with the filter's name; and the controls that choose them."""
    choices = {choice.filter: choice for choice in sample_list.choices(view, label, before)}
    changed = choices.get(Filter.CHANGED)
    which = Filter.ALL
    if len(choices) > 1:
        first = Filter.CHANGED if changed is not None and changed.count else Filter.ALL
        common.begin(keys.SAMPLES_FILTER, choices, first)
        which = (
            st.pills(
                "Show",
                list(choices),
                key=keys.SAMPLES_FILTER.name,
                required=True,
                format_func=lambda one: text.escape(choices[one].words) if one in choices else str(one),
                on_change=_first_page,
                help="  \n".join(
                    f"**{text.escape(choice.label)}:** {text.escape(choice.help)}"
                    for choice in choices.values()
                ),
            )
            or Filter.ALL
        )
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        orders = sample_list.orders(view)
        common.begin(keys.SAMPLES_ORDER, orders, orders[0])
        order = st.selectbox("Order", orders, key=keys.SAMPLES_ORDER.name, on_change=_first_page, width=230)
        number = _class_choice(view, words)
        answer = _one_class(
            f"Answer of {text.escape(label)}", sample_list.answers_of(view), keys.SAMPLES_ANSWER, words
        )
        output = _output_choice(view, order)
        sample_drawing.popover(wanted, drawing, guess)
    which = which if which in choices else Filter.ALL
    rows = sample_list.listed(view, which, order, number=number, answer=answer, output=output).tolist()
    return rows, choices[which].label


def _class_choice(view: View, words: Words) -> int | None:
    label = "Class" if view.found.labels is not None else "Class of float"
    return _one_class(label, sample_list.classes_of(view.found), keys.SAMPLES_CLASS, words)


def _one_class(label: str, numbers: Sequence[int], key: Key[int], words: Words) -> int | None:
    """A class, or None for all of them."""
    if len(numbers) < 2:
        return None
    common.begin(key, [ALL_CLASSES, *numbers], ALL_CLASSES)
    chosen = st.selectbox(
        label,
        [ALL_CLASSES, *numbers],
        key=key.name,
        format_func=lambda number: "all" if number == ALL_CLASSES else class_name(number, words.classes),
        on_change=_first_page,
        width=170,
    )
    return None if chosen == ALL_CLASSES else chosen


def _output_choice(view: View, order: Order) -> str | None:
    if len(view.found.outputs) < 2 or order in (Order.DATA, Order.CLOSE):
        return None
    common.begin(keys.SAMPLES_OUTPUT, [WORST, *view.found.outputs], WORST)
    chosen = st.selectbox(
        "Error of",
        [WORST, *view.found.outputs],
        key=keys.SAMPLES_OUTPUT.name,
        format_func=lambda name: "the worst output" if name == WORST else text.short(name, 30),
        on_change=_first_page,
        width=230,
    )
    return None if chosen == WORST else chosen


# --- the gallery ---


def _gallery(
    wanted: Wanted,
    found: BySample,
    rows: Sequence[int],
    guess: Guess,
    drawing: Drawing,
    words: Words,
    shown: int,
) -> None:
    if not len(rows):
        st.info("No sample is like this. Choose another filter or class.", icon=":material/filter_alt:")
        return
    wide = any(kind in sample_drawing.WIDE for kind in drawing.outputs.values())
    each = EACH_WIDE if wide else EACH
    count = sample_list.pages(len(rows), each)
    at = min(keys.SAMPLES_PAGE.get(), count - 1)
    here = sample_list.rows_on(rows, at, each)
    page = Page(rows=here, drawing=drawing, head=guess.head, words=words, shown=shown)
    _pager("above", at, count, sample_list.page_words(at * each, len(here), len(rows)))
    job = by_sample.cards(wanted, found, page, patience=PATIENCE)
    if job is None:
        st.caption("Running these samples…")
        common.poll("sample_cards", 0.2, _look, wanted, page)
    elif job.result is None:
        st.error(text.escape(text.sentence(job.error)), icon=":material/error:")
    else:
        if at + 1 < count:  # it is there when it is asked for
            by_sample.cards(
                wanted, found, replace(page, rows=sample_list.rows_on(rows, at + 1, each)), ahead=True
            )
        gallery(job.result, words.models, key="samples_gallery", least=420 if wide else 330)
    if count > 1 and job is not None:
        _pager("below", at, count, "")


def _look(wanted: Wanted, page: Page) -> None:
    if by_sample.cards_are_there(wanted, page):
        signal("sample_cards", f"{page.rows} {page.drawing.token} {page.shown}")


def _pager(place: str, at: int, count: int, words: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if words:
            st.caption(words, width="stretch")
        if count < 2:
            return
        for name, icon, to, off in (
            ("Previous", "chevron_left", at - 1, at == 0),
            ("Next", "chevron_right", at + 1, at >= count - 1),
        ):
            st.button(
                name,
                key=f"samples_{name}_{place}",
                icon=f":material/{icon}:",
                disabled=off,
                on_click=keys.SAMPLES_PAGE.set,
                args=(to,),
            )
        st.caption(f"page {at + 1:,} of {count:,}", width="content")
