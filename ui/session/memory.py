"""A browser session's state and address, for actions that have to be done as a whole.

Streamlit interrupts a run at any access to them once another run is asked for: a second click, a drag. It
raises in callbacks too, so that what a callback had yet to do would be lost. In callbacks, and in what is
`uninterrupted`, accesses are made all the same. The interruption comes at the end of what is uninterrupted,
and for other callbacks at the first access of the run that follows them. No other module touches Streamlit's
mappings; what is kept in them is declared in `keys`.
"""

import functools
import threading
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar, cast

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
    """`act`, in which accesses to keys and to the address never fail; it is interrupted when it is done."""

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


def in_callback() -> bool:
    """Whether the run has not come to the page's script yet: what is done now belongs to a click, say."""
    context = get_script_run_ctx(suppress_warning=True)
    return context is not None and not getattr(context, "has_script_started", True)


def _access(action: Callable[[], T]) -> T:
    whole = _postponed.depth > 0 or in_callback()
    if not whole and (interruption := _postponed.interruption) is not None:
        _postponed.interruption = None
        raise interruption
    for _ in range(TRIES if whole else 0):
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


@dataclass(frozen=True, slots=True)
class Key(Generic[T]):
    """One value of a browser session, kept by Streamlit under a name; `keys` declares them all.

    A widget whose key is that name puts what the user chose there.
    """

    name: str
    default: T  # the value where there is none

    def get(self) -> T:
        """The value."""
        return _access(lambda: cast(T, st.session_state.get(self.name, self.default)))

    def set(self, value: T) -> None:
        """Keep a value."""

        def put() -> None:
            st.session_state[self.name] = value

        _access(put)

    def pop(self) -> T:
        """As `get`; there is no value any more."""
        return _access(lambda: cast(T, st.session_state.pop(self.name, self.default)))

    def there(self) -> bool:
        """Whether there is a value."""
        return _access(lambda: self.name in st.session_state)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One word of the page's address, behind the question mark."""

    name: str

    def get(self) -> str | None:
        """What the address says."""
        return _access(lambda: st.query_params.get(self.name))

    def set(self, value: str) -> None:
        """Let the address say it."""

        def put() -> None:
            st.query_params[self.name] = value

        _access(put)

    def drop(self) -> None:
        """Let the address say nothing of it."""
        _access(lambda: st.query_params.pop(self.name, None))


def parameters() -> dict[str, str]:
    """All that the page's address says, by name."""
    return _access(lambda: dict(st.query_params))


def put_parameters(values: Mapping[str, str], own: Set[str]) -> None:
    """Let the address say `values`, and nothing under other names of `own`."""
    _access(lambda: st.query_params.update(values))
    for name in (own - values.keys()) & parameters().keys():
        Parameter(name).drop()
