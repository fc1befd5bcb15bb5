"""The app's router: page settings, the sidebar, and the chosen page."""

import argparse
import sys
from pathlib import Path

import streamlit as st

from quantscope.ui.components.manners import mind_manners
from quantscope.ui.session import keys, state
from quantscope.ui.session.keys import Page
from quantscope.ui.views import (
    common,
    compare,
    export,
    history,
    inspector,
    layers,
    look,
    overview,
    playground,
    present,
    sensitivity,
    sidebar,
    start,
)

ASSETS = Path(__file__).parent / "assets"
VIEWS = {  # icon and view of each page, in the order of the sidebar's links
    Page.OPEN: ("folder_open", start.render),
    Page.OVERVIEW: ("dashboard", overview.render),
    Page.LAYERS: ("table_rows", layers.render),
    Page.INSPECTOR: ("tune", inspector.render),
    Page.SENSITIVITY: ("leaderboard", sensitivity.render),
    Page.HISTORY: ("history", history.render),
    Page.COMPARE: ("compare_arrows", compare.render),
    Page.PLAYGROUND: ("science", playground.render),
    Page.PRESENT: ("co_present", present.render),
    Page.EXPORT: ("download", export.render),
}
READ_ONLY = {  # of a model that is quantized already
    page: (
        icon,
        {Page.OPEN: view, Page.OVERVIEW: look.render, Page.PLAYGROUND: view}.get(page, look.elsewhere),
    )
    for page, (icon, view) in VIEWS.items()
}


def arguments() -> argparse.Namespace:
    """What the command line gave after `--`; unknown words are ignored."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--model", default="")
    parser.add_argument("--data", default="")
    parser.add_argument("--eval", default="")
    parser.add_argument("--demo", default="")
    try:
        return parser.parse_known_args(sys.argv[1:])[0]
    except (argparse.ArgumentError, SystemExit):
        return argparse.Namespace(model="", data="", eval="", demo="")


def main() -> None:
    """Draw the app."""
    st.set_page_config(page_title="QuantScope", page_icon=str(ASSETS / "icon.svg"), layout="wide")
    st.html(ASSETS / "page.css")
    st.html(ASSETS / "reading.css")
    st.logo(str(ASSETS / "logo.svg"), size="large", icon_image=str(ASSETS / "icon.svg"))
    given = arguments()
    greeted = keys.GREETED.get()
    if state.project() is None and not greeted:
        start.greet(model=given.model, data=given.data, evaluation=given.eval, demo=given.demo)
    keys.GREETED.set(True)
    state.follow()
    opened = state.project() is not None
    first = Page.OVERVIEW if opened else Page.OPEN
    here = state.project()
    views = VIEWS if here is None or not state.looked_at(here) else READ_ONLY
    pages = {
        page: st.Page(
            common.guarded(view),
            title=page.value.capitalize(),
            icon=f":material/{icon}:",
            url_path=page.value,
            visibility="hidden" if view is look.elsewhere else "visible",
        )
        for page, (icon, view) in views.items()
    }
    keys.PAGES.set(pages)
    # Streamlit takes the path from its default page; as a page of its own, it leaves all others theirs.
    home = st.Page(
        lambda: common.go(first), title="QuantScope", url_path="home", default=True, visibility="hidden"
    )
    # A click on a link could lose against the redirect from the bare address: no links until that is over.
    bare = not greeted and (st.context.url or "").rstrip("/").rsplit("/", 1)[-1] not in pages
    chosen = st.navigation([home, *pages.values()], position="hidden" if bare else "sidebar")
    if (wanted := keys.GO.pop()) is not None and chosen is not pages[wanted]:
        common.go(wanted)  # not to where it is: what was typed there would be gone
    if chosen is not pages[Page.OPEN]:
        keys.REFUSED.pop()
    chosen.run()
    sidebar.render()  # after the page, which must follow a drag of a clip line at once
    with st.sidebar:
        mind_manners()
    if keys.GO.get() is not None:
        st.rerun()  # what is shown went while it was being drawn: nothing else would say so
