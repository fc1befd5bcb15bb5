"""Present: the project's story for people who do not know quantization, and its sentence for the Overview."""

import streamlit as st

from quantscope.ui.components.refresh import signal
from quantscope.ui.components.story import deck_view, standalone
from quantscope.ui.content import text
from quantscope.ui.runs import exporting, measured, story, story_outcomes
from quantscope.ui.runs.measured import EFFECT, LOCAL, WHOLE
from quantscope.ui.session import keys, state
from quantscope.ui.session.keys import Page
from quantscope.ui.views import common

KINDS = (EFFECT, LOCAL, WHOLE)
Seen = tuple[str, frozenset[str], bool]  # recipe, kinds of figures, and whether samples were compared


def render() -> None:
    """Draw the page."""
    common.title(
        "Present",
        "The story of this project in plain words. Press *Present* for the whole screen, arrow keys to turn, "
        "N for notes, Esc to leave. Nothing here changes the recipe.",
    )
    now = common.session("then this page tells its story.")
    if now is None:
        return
    seen = _seen(now)
    deck, measuring = story.deck_of(now)
    deck_view(deck, key="story_deck", remember=f"quantscope-slide-{now.project.id}")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Download as one HTML file",
            lambda: standalone(deck),
            file_name=f"{exporting.stem(now.project.name)}_story.html",
            mime="text/html",
            key="story_file",
            icon=":material/download:",
            on_click="ignore",
            disabled=measuring,
        )
        st.caption(
            "Some figures are still being measured; the file can be had when they are there."
            if measuring
            else "It opens in any browser, without a network, with the same keys."
        )
        if measuring:
            common.poll("story", 0.4, _poll, "story", seen)


def sentence(now: state.Session) -> None:
    """The story in one sentence, with the way to all of it; for the Overview."""
    seen = _seen(now)
    words, measuring = story.sentence(now)
    with st.container(horizontal=True, vertical_alignment="center", key="story_sentence"):
        waiting = ":gray[Measuring what it costs and saves…]" if measuring else ""
        st.markdown(f"**{text.escape(words)}**" if words else waiting)
        st.button("Present", key="to_present", icon=":material/co_present:", on_click=_to_present)
        if measuring:  # here, where it takes no line of its own
            common.poll("sentence", 0.4, _poll, "sentence", seen)


def _seen(now: state.Session) -> Seen:
    """Which recipe's figures are there; to be asked for before the story, which may be told meanwhile."""
    there = story_outcomes.outcomes(now, story.before(now), peek=True).value is not None
    return state.recipe_token(now.recipe), measured.ready(now, KINDS), there


def _poll(name: str, seen: Seen) -> None:
    now = state.session()
    waiting = [measured.waiting(KINDS), story_outcomes.waiting()]
    found = None if now is None else _seen(now)
    if found != seen or not any(waiting):
        signal(name, f"{found} {waiting}")


def _to_present() -> None:
    keys.GO.set(Page.PRESENT)
