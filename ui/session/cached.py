"""Everything kept between runs of a page, and the only place with st.cache_*: jobs, results, curves.

`of_project` keeps what follows from a project and may hold models, statistics or activations: for the few
projects used last, and dropped as a whole. `results_of_project` keeps what took minutes to find and is small,
such as recipes, steps, trials and runs: for many more projects. Both are shared by all sessions; each kind of
thing is a class of its own with a lock of its own.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from typing import TypeVar, cast

import streamlit as st

from quantscope.core.memo import Recent
from quantscope.core.progress import ProgressFn
from quantscope.ui.session.jobs import Registry, acquired
from quantscope.ui.session.pool import Pool

PROJECTS = 4  # in memory, besides those in which something runs; others are read again when they are opened
PROJECTS_WITH_RESULTS = 32  # whose small results are kept
VARIANTS = 4  # of what is kept of a kind in a project, as for its model with other fixes
COMPUTED = 64  # of what follows from no project, such as the values that the Playground draws
FORGETTING = 2.0  # seconds that the work of a removed project is given to stop
AT_ONCE, IN_TURN = "at once", "in turn"  # lanes: what follows an edit at once; what must not disturb another
LANES = {AT_ONCE: 4, IN_TURN: 1}
T = TypeVar("T")
_asked_lock = threading.Lock()


class ProjectStore:
    """What is kept by project, for the `keep` projects used last."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._kept: OrderedDict[str, dict[Callable[[], object], Recent[object]]] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, project: str, make: Callable[[], T], key: Hashable) -> T:
        """The one `make()` of a project and key."""
        with self._lock:
            kinds = self._kept.setdefault(project, {})
            kept = kinds.setdefault(make, Recent(VARIANTS))
            return cast(T, kept.get_or_make(key, make))  # made by `make`, like all beside it

    def use(self, project: str, busy: set[str]) -> list[str]:
        """Note that a project is used now, and drop what is kept of those used longest ago.

        Args:
            project: The one used.
            busy: Projects in which something runs; they count as used, and are not dropped.

        Returns:
            Projects that were dropped.
        """
        with self._lock:
            for id in (*(busy & self._kept.keys()), project):
                self._kept.setdefault(id, {})
                self._kept.move_to_end(id)
            surplus = max(0, len(self._kept) - self._keep)
            gone = [id for id in self._kept if id not in busy and id != project][:surplus]
            for id in gone:
                del self._kept[id]
            return gone

    def drop(self, project: str) -> None:
        """Drop what is kept of a project."""
        with self._lock:
            self._kept.pop(project, None)

    def projects(self) -> set[str]:
        """Of which something is kept."""
        with self._lock:
            return set(self._kept)


@st.cache_resource(show_spinner=False)
def registry() -> Registry:
    """Background jobs of this process; opened projects are the results of theirs."""
    return Registry()


@st.cache_resource(show_spinner=False)
def pool() -> Pool:
    """Measurements that pages show, as far as they are there, and what is missing on its way."""
    return Pool(LANES)


def measuring_alone(tell: ProgressFn) -> AbstractContextManager[None]:
    """Held by the one measurement that runs: two at a time would falsify each other's latency."""
    return acquired(_measuring(), tell)


def of_project(project: str, make: Callable[[], T], *key: Hashable) -> T:
    """What is kept of a project by a class and a key; shared by all pages, sessions and threads.

    Args:
        project: Whose it is; it goes when the project is no longer among those used last.
        make: Makes an empty one; a class that can be used from several threads.
        key: What it follows from besides; the last `VARIANTS` keys are kept.
    """
    return _store().get(project, make, key)


def results_of_project(project: str, make: Callable[[], T], *key: Hashable) -> T:
    """As `of_project`, for what holds no model and no samples: it stays for many more projects."""
    return _results().get(project, make, key)


def computed(key: Hashable, compute: Callable[[], T]) -> T:
    """What follows from `key` alone, whatever the project; computed where it is not there."""
    return cast(T, _computed().get_or_make(key, compute))  # a key stands for one computation


def use(project: str) -> None:
    """Note that a project is used; the memory of those used longest ago is given back."""
    busy = registry().working() | pool().wanted()
    for gone in _store().use(project, busy):
        pool().forget(gone)
    _results().use(project, busy)
    registry().retain(_store().projects(), light=_results().projects())


def forget(project: str) -> None:
    """Cancel a project's work and drop all that is kept of it, before it is removed.

    Waits for the work to stop, for a short time: it may write into the project's folder, or read there.
    """
    end = time.monotonic() + FORGETTING
    running = [*registry().drop(project), *pool().forget(project)]
    for job in running:
        job.wait(max(0.0, end - time.monotonic()))
    _store().drop(project)
    _results().drop(project)


def first_time(what: str) -> bool:
    """Whether nobody has asked this of the running server before."""
    with _asked_lock:
        new = what not in _asked()
        _asked().add(what)
        return new


@st.cache_resource(show_spinner=False)
def _asked() -> set[str]:
    return set()


@st.cache_resource(show_spinner=False)
def _store() -> ProjectStore:
    return ProjectStore(PROJECTS)


@st.cache_resource(show_spinner=False)
def _results() -> ProjectStore:
    return ProjectStore(PROJECTS_WITH_RESULTS)


@st.cache_resource(show_spinner=False)
def _computed() -> Recent[object]:
    return Recent(COMPUTED)


@st.cache_resource(show_spinner=False)
def _measuring() -> threading.Lock:
    return threading.Lock()
