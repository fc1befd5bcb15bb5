"""Measurements in the background, by key: subscribers that want the same result share one run.

A subscriber shows its interest by polling: it calls `request` again and again, or `waits` in between. It
waits for one result at a time, so that its next request ends its interest in the one before. A request that
no subscriber wants any more is dropped before it begins. A run that has begun is told to stop only where no
subscriber wants its result and another request waits in its lane; otherwise it runs to its end and its result
is kept. A subscriber that stops polling loses only requests that have not begun.
"""

import itertools
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from quantscope.core.memo import Recent
from quantscope.ui.session.jobs import Job, State, Work, launch

# Seconds without polling after which a tab is taken to be closed; a hidden tab polls once a minute.
LAPSE = 150.0
AGAIN = 5.0  # seconds for which a failure is the answer; a later request has it tried again
SESSIONS = 256  # whose last turn is remembered
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement(Generic[T_co]):
    """A kind of measurement, whose results are of type `T_co`."""

    name: str
    lane: str  # measurements of a lane share its threads
    keep: int = 48  # results of a project, so that undo shows them at once


@dataclass(frozen=True, slots=True)
class ResultKey(Generic[T_co]):
    """What is measured, and all that the result depends on."""

    project: str
    kind: Measurement[T_co]
    token: Hashable


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Somebody who waits for a result: a browser session, and the place in it."""

    session: str
    place: str


@dataclass(slots=True, eq=False)
class _Request:
    key: ResultKey[object]
    title: str
    work: Work[object]
    number: int
    job: Job[object] | None = None  # while it is in work
    session: str = ""  # for whom that was begun
    stopping: bool = False  # the pool told it to stop
    forgotten: bool = False  # its project is gone; the result is of no use


@dataclass(frozen=True, slots=True)
class _Result:
    job: Job[object]
    at: float  # when it was there


@dataclass(slots=True)
class _Interest:
    key: ResultKey[object]
    polled: float  # when the subscriber polled last


class Pool:
    """Results by key, and the threads that measure what is missing.

    The sessions of a lane take turns, and none has two runs in it at the same time.
    """

    def __init__(self, lanes: Mapping[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        """Start with no results.

        Args:
            lanes: Threads of each, at most.
            clock: Seconds; what `LAPSE` and `AGAIN` are measured by.
        """
        self._lanes, self._clock = dict(lanes), clock
        self._results: dict[str, dict[Measurement[object], Recent[_Result]]] = {}  # by project
        self._requests: dict[ResultKey[object], _Request] = {}  # that wait or are in work
        self._interests: dict[Subscriber, _Interest] = {}
        self._turns: Recent[int] = Recent(SESSIONS)  # when a session was served last, counted in runs
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()  # with the lock of all the above

    def request(self, who: Subscriber, key: ResultKey[T], title: str, work: Work[T]) -> Job[T] | None:
        """The job of `key` once it is done or has failed; None while it waits or runs (it is started).

        One that failed more than `AGAIN` seconds ago is tried again: the disk may be back, or memory free.
        """
        with self._changed:
            self._interests.pop(who, None)
            self._drop_old_failure(key)
            known = self._result(key)
            if known is None:
                self._interests[who] = _Interest(key, self._clock())
                request = self._requests.get(key)
                if request is None:
                    request = self._requests[key] = _Request(key, title, work, next(self._numbers))
                request.work = work
            self._arrange()
            return known or self._result(key)  # it fails at once where there is no thread

    def waits(self, who: Subscriber) -> bool:
        """Whether what `who` asked for is on its way; to be asked now and then, which shows interest."""
        with self._changed:
            interest = self._interests.get(who)
            if interest is None or interest.key not in self._requests:
                self._interests.pop(who, None)
                return False
            interest.polled = self._clock()
            self._arrange()
            return True

    def peek(self, key: ResultKey[T]) -> Job[T] | None:
        """The job of `key` once it is done or has failed, without asking for it."""
        with self._changed:
            return self._result(key)

    def wait(self, key: ResultKey[T], seconds: float) -> Job[T] | None:
        """As `peek`, after at most `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: key not in self._requests, seconds)
            return self._result(key)

    def asked(self, key: ResultKey[object]) -> bool:
        """Whether a result is waited for, or in work."""
        with self._changed:
            return key in self._requests

    def wanted(self) -> set[str]:
        """Projects that somebody waits for."""
        with self._changed:
            return {key.project for _, key in self._interested() if key in self._requests}

    def forget(self, project: str) -> list[Job[object]]:
        """Drop a project's results and requests; what still runs is cancelled and returned."""
        with self._changed:
            self._results.pop(project, None)
            self._interests = {w: i for w, i in self._interests.items() if i.key.project != project}
            running = []
            for key, request in list(self._requests.items()):
                if key.project != project:
                    continue
                if request.job is None:
                    del self._requests[key]
                else:
                    request.forgotten = True
                    self._stop(request)
                    running.append(request.job)
            self._arrange()
            return running

    def _result(self, key: ResultKey[T]) -> Job[T] | None:
        kept = self._results.get(key.project, {}).get(key.kind)
        found = kept.get(key.token) if kept is not None else None
        return cast("Job[T]", found.job) if found is not None else None  # a key stands for one type

    def _drop_old_failure(self, key: ResultKey[object]) -> None:
        kept = self._results.get(key.project, {}).get(key.kind)
        found = kept.get(key.token) if kept is not None else None
        if kept is None or found is None or found.job.state is not State.FAILED:
            return
        if self._clock() - found.at > AGAIN:
            kept.drop(key.token)

    def _interested(self) -> Iterator[tuple[Subscriber, ResultKey[object]]]:
        """Subscribers and what they wait for; those that lapsed count only for what has begun."""
        now = self._clock()
        for who, interest in list(self._interests.items()):
            request = self._requests.get(interest.key)
            if now - interest.polled <= LAPSE or (request is not None and request.job is not None):
                yield who, interest.key

    def _arrange(self) -> None:
        """Begin what can be begun, drop what no subscriber wants, and stop such runs where others wait."""
        wanted = {key for _, key in self._interested()}
        for key, request in list(self._requests.items()):
            if request.job is None and key not in wanted:
                del self._requests[key]
        self._interests = {w: i for w, i in self._interests.items() if i.key in self._requests}
        for lane, threads in self._lanes.items():
            while self._running(lane) < threads and (found := self._next(lane)) is not None:
                self._begin(*found)
        waiting = {key.kind.lane for key, request in self._requests.items() if request.job is None}
        for key, request in self._requests.items():
            if request.job is not None and key not in wanted and key.kind.lane in waiting:
                self._stop(request)
        self._changed.notify_all()

    def _running(self, lane: str) -> int:
        return sum(r.job is not None and r.key.kind.lane == lane for r in self._requests.values())

    def _next(self, lane: str) -> tuple[_Request, str] | None:
        """What is to be begun, and for which session: the one whose last turn is longest ago."""
        busy = {r.session for r in self._requests.values() if r.job is not None and r.key.kind.lane == lane}
        found: list[tuple[int, int, str, _Request]] = []
        for who, key in self._interested():
            request = self._requests.get(key)
            if request is None or request.job is not None or key.kind.lane != lane or who.session in busy:
                continue
            found.append((self._turns.get(who.session) or 0, request.number, who.session, request))
        if not found:
            return None
        _, _, session, request = min(found, key=lambda entry: entry[:2])
        return request, session

    def _begin(self, request: _Request, session: str) -> None:
        job: Job[object] = Job(f"{request.key.project}:{request.key.kind.name}", request.title)
        request.job, request.session, request.stopping = job, session, False
        self._turns.put(session, next(self._numbers))
        name = f"pool {request.title}"
        if not launch(job, request.work, name=name, after=lambda: self._ended(request, job)):
            self._settle(request, job)

    def _stop(self, request: _Request) -> None:
        assert request.job is not None
        request.stopping = True
        request.job.cancel()

    def _ended(self, request: _Request, job: Job[object]) -> None:
        with self._changed:
            self._settle(request, job)
            self._arrange()

    def _settle(self, request: _Request, job: Job[object]) -> None:
        """Keep the result of a run; one that was stopped and is wanted again waits for another run."""
        key, useless = request.key, request.forgotten or job.state is State.CANCELLED
        request.job, request.forgotten = None, False
        if useless and request.stopping and any(key == other for _, other in self._interested()):
            return
        del self._requests[key]
        if not useless:
            kinds = self._results.setdefault(key.project, {})
            kinds.setdefault(key.kind, Recent(key.kind.keep)).put(key.token, _Result(job, self._clock()))
