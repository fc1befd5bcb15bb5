"""A browser session's state and address, for actions that have to be done as a whole.

Streamlit interrupts a run at any access to them once another run is asked for: a second click, a drag. It
raises in callbacks too, so that what a callback had yet to do would be lost. In what is `uninterrupted`,
accesses are made all the same, and the interruption comes at the end.
"""

import functools
import threading
from collections.abc import Callable, MutableMapping
from typing import Any, ParamSpec, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import RerunException, get_script_run_ctx

TRIES = 100  # of one access: a session that ends is interrupted for ever
P = ParamSpec("P")
T = TypeVar("T")


class _Postponed(threading.local):
    depth = 0  # of calls that are not to be interrupted
    interruption: BaseException | None = None


_postponed = _Postponed()


def uninterrupted(act: Callable[P, T]) -> Callable[P, T]:
    """`act`, in which accesses to `memory` and `address` never fail; it is interrupted when it is done."""

    @functools.wraps(act)
    def whole(*args: P.args, **kwargs: P.kwargs) -> T:
        _postponed.depth += 1
        try:
            return act(*args, **kwargs)
        finally:
            _postponed.depth -= 1
            if _postponed.depth == 0 and (interruption := _postponed.interruption) is not None:
                _postponed.interruption = None
                raise interruption

    return whole


def _access(action: Callable[[], T]) -> T:
    for _ in range(TRIES if _postponed.depth else 0):
        try:
            return action()
        except Exception:
            raise
        except BaseException as interruption:  # RerunException or StopException, no part of what is public
            _postponed.interruption = _both(_postponed.interruption, interruption)
    return action()


def _both(earlier: BaseException | None, later: BaseException) -> BaseException | None:
    """One interruption for two; Streamlit makes one run of both where they are asked for again."""
    context = get_script_run_ctx(suppress_warning=True)
    requests = context.script_requests if context is not None else None
    if not isinstance(earlier, RerunException) or not isinstance(later, RerunException) or requests is None:
        return later
    requests.request_rerun(earlier.rerun_data)
    requests.request_rerun(later.rerun_data)
    return None  # the next access is interrupted for both


class Memory:
    """A mapping of Streamlit's that can be used in what is `uninterrupted`."""

    def __init__(self, mapping: Callable[[], MutableMapping[Any, Any]]) -> None:
        self._mapping = mapping

    def __contains__(self, key: str) -> bool:
        return _access(lambda: key in self._mapping())

    def __getitem__(self, key: str) -> Any:
        return _access(lambda: self._mapping()[key])

    def __setitem__(self, key: str, value: Any) -> None:
        def put() -> None:
            self._mapping()[key] = value

        _access(put)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or the default."""
        return _access(lambda: self._mapping().get(key, default))

    def pop(self, key: str, default: Any = None) -> Any:
        """As `get`; the key is not there any more."""
        return _access(lambda: self._mapping().pop(key, default))


memory = Memory(lambda: st.session_state)
address = Memory(lambda: st.query_params)
