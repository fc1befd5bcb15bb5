"""Work in the background: plain threads without a page, found again by id after a reload."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar, cast

from quantscope.core.errors import QuantScopeError
from quantscope.core.progress import Cancelled, Progress, ProgressFn, report

log = logging.getLogger("quantscope")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Work = Callable[[ProgressFn], T]

ENDED = 64  # jobs of a project that have ended and are kept, beside the one that opened it
LOOK = 0.1  # seconds between two looks at whether a wait was cancelled
NO_THREAD = "this machine gives no further threads; close other programs, or start QuantScope again"
_at_work: dict[threading.Thread, "Job[object]"] = {}
_at_work_lock = threading.Lock()


class State(StrEnum):
    """Where a job stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobId(str, Generic[T_co]):
    """Names work whose result is of type `T_co`: a project's id, or that, a colon and what is done."""

    __slots__ = ()


@dataclass(slots=True)
class Job(Generic[T_co]):
    """One piece of work; written by its thread, read by pages."""

    id: str
    title: str
    state: State = State.RUNNING
    progress: Progress = field(default_factory=lambda: Progress(done=0, total=0))
    phase_started: float = field(default_factory=time.monotonic)
    phase_done: int = 0  # of the steps, when it started
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    result: T_co | None = None
    error: str = ""  # for the user
    heavy: bool = False  # its result holds a model or samples
    stop: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def active(self) -> bool:
        """True until it has ended, however it ends."""
        return self.state is State.RUNNING

    @property
    def share(self) -> float:
        """Part of the present phase that is done, 0 to 1."""
        return min(1.0, self.progress.done / self.progress.total) if self.progress.total else 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the start, or that it took."""
        return (self.ended or time.monotonic()) - self.started

    @property
    def seconds_left(self) -> float | None:
        """Estimate at the pace of the present phase; None while there is nothing to estimate from."""
        gone, p = time.monotonic() - self.phase_started, self.progress
        stepped = p.done - self.phase_done
        if not p.total or stepped <= 0.02 * (p.total - self.phase_done) or gone <= 0.5:
            return None
        return gone * max(p.total - p.done, 0) / stepped

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, after at most `seconds`."""
        return self.over.wait(seconds)

    def cancel(self) -> None:
        """Ask it to stop at its next progress report; what is finished is kept."""
        self.stop.set()

    def report(self, progress: Progress) -> None:
        """The progress callback of its work."""
        if self.stop.is_set():
            raise Cancelled
        if progress.label != self.progress.label or progress.total != self.progress.total:
            self.phase_started = time.monotonic()
            self.phase_done = progress.done
        self.progress = progress


class Registry:
    """Jobs by id; one of an id at a time."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job[object]] = {}
        self._superseded: list[Job[object]] = []  # told to stop, and no longer found by their id
        self._lock = threading.Lock()

    def get(self, id: JobId[T]) -> Job[T] | None:
        """The newest job of that id."""
        with self._lock:
            return cast("Job[T] | None", self._jobs.get(id))  # an id stands for one type

    def submit(self, id: JobId[T], title: str, work: Work[T], *, heavy: bool = False) -> Job[T]:
        """Start `work` in a thread; if a job of that id is running, that one is returned instead.

        A job that was told to stop is not returned: the new one takes its id, and the old one ends by itself.

        Args:
            id: Of the job.
            title: For people.
            work: Is given the job's progress callback.
            heavy: Its result holds a model or samples.
        """
        with self._lock:
            known = self._jobs.get(id)
            if known is not None and known.active:
                if not known.stop.is_set():
                    return cast("Job[T]", known)
                self._superseded.append(known)
            job: Job[T] = Job(id, title, heavy=heavy)
            self._jobs[id] = job
        launch(job, work, name=f"job {id}")
        return job

    def restart(self, id: JobId[T], title: str, work: Work[T]) -> Job[T]:
        """As `submit`, and also where a job of that id has ended; its result is dropped."""
        self.forget(id)
        return self.submit(id, title, work)

    def forget(self, id: str) -> bool:
        """Drop a job that has ended, with its result; whether there is none of that id any more."""
        with self._lock:
            job = self._jobs.get(id)
            if job is not None and job.active:
                return False
            self._jobs.pop(id, None)
            return True

    def working(self) -> set[str]:
        """Projects with a job that runs."""
        with self._lock:
            self._superseded = [job for job in self._superseded if job.active]
            return {_project(job.id) for job in (*self._jobs.values(), *self._superseded) if job.active}

    def retain(self, projects: Collection[str], light: Collection[str] = ()) -> None:
        """Drop what has ended, as far as it is not to be kept, and what ended long ago.

        Args:
            projects: Whose jobs are kept.
            light: Projects of which those jobs are kept whose results hold no model and no samples.
        """
        with self._lock:
            ended: dict[str, list[Job[object]]] = {}
            for job in sorted(self._jobs.values(), key=lambda job: job.ended or 0.0):
                if not job.active:
                    ended.setdefault(_project(job.id), []).append(job)
            for project, jobs in ended.items():
                others = [job for job in jobs if job.id != project]
                old = {job.id for job in others[: max(0, len(others) - ENDED)]}
                for job in jobs:
                    kept = project in projects or (project in light and not job.heavy)
                    if not kept or job.id in old:
                        del self._jobs[job.id]

    def drop(self, project: str) -> list[Job[object]]:
        """Cancel what runs for a project and drop all its jobs; those that still run are returned."""
        with self._lock:
            gone = [job for job in (*self._jobs.values(), *self._superseded) if _project(job.id) == project]
            self._jobs = {id: job for id, job in self._jobs.items() if _project(id) != project}
            self._superseded = [job for job in self._superseded if _project(job.id) != project]
        running = [job for job in gone if job.active]
        for job in running:
            job.cancel()
        return running


def _project(id: str) -> str:
    return id.partition(":")[0]


@contextmanager
def acquired(
    lock: threading.Lock, tell: ProgressFn | None, label: str = "waiting for another measurement"
) -> Iterator[None]:
    """Hold a lock that others may hold for minutes; the wait for it can be cancelled.

    Args:
        lock: Is released at the end.
        tell: Told again and again what is waited for; may raise `Cancelled`.
        label: What is waited for.
    """
    while not lock.acquire(timeout=LOOK):
        report(tell, 0, 0, label)
    try:
        report(tell, 0, 0)  # it may have been cancelled during the last of the wait
        yield
    finally:
        lock.release()


def stop_all(seconds: float) -> bool:
    """Cancel all jobs of this process and wait for them, `seconds` at most; whether all have ended.

    A process that ends while its daemon threads compute in native code is aborted by the C++ runtime.
    """
    end = time.monotonic() + seconds
    told: set[threading.Thread] = set()
    while (left := _working()) and time.monotonic() < end:  # where one ends, one that waited may begin
        for thread, job in left.items():
            told.add(thread)
            job.cancel()
        next(iter(left.values())).wait(min(LOOK, max(0.0, end - time.monotonic())))
    for thread in told - _working().keys():
        thread.join(max(0.0, end - time.monotonic()))
    return not _working()


def _working() -> dict[threading.Thread, Job[object]]:
    with _at_work_lock:
        return dict(_at_work)


def launch(job: Job[T], work: Work[T], *, name: str, after: Callable[[], None] = lambda: None) -> bool:
    """Do the work of a job in a thread of its own.

    Args:
        job: Ends in a final state, whatever happens.
        work: Is given the job's progress callback.
        name: Of the thread.
        after: Called in the thread when the job has ended. What it launches is known to `stop_all` before
            this job is out of its sight.

    Returns:
        Whether there is a thread; without one, the job has failed and `after` is not called.
    """

    def body() -> None:
        try:
            _run(job, work)
            after()
        finally:
            with _at_work_lock:
                del _at_work[threading.current_thread()]

    thread = threading.Thread(target=body, name=name, daemon=True)
    with _at_work_lock:
        _at_work[thread] = job
    try:
        thread.start()
    except RuntimeError:  # none is to be had, or the interpreter ends
        with _at_work_lock:
            del _at_work[thread]
        _end(job, State.FAILED, NO_THREAD)
        return False
    return True


def _run(job: Job[T], work: Work[T]) -> None:
    state, error = State.FAILED, ""
    try:
        job.result = work(job.report)
        state = State.DONE
    except Cancelled:
        state = State.CANCELLED
    except BaseException as failure:  # SystemExit too: a thread that ends must not leave a job that runs
        if not isinstance(failure, QuantScopeError | MemoryError) and _interpreter_ends():
            state = State.CANCELLED  # it failed since the server is being stopped
        else:
            error = reason(failure, job.id)
    finally:
        _end(job, state, error)


def reason(failure: BaseException, id: str) -> str:
    """Why a job failed, for the user; what nobody expected goes into the log too."""
    if isinstance(failure, QuantScopeError):
        return str(failure)
    if isinstance(failure, MemoryError):
        return "this machine has not enough memory for it; use fewer samples or a smaller model"
    log.error("job %s failed", id, exc_info=failure)
    return f"unexpected {type(failure).__name__}: {failure} (the server's log has the details)"


def _end(job: Job[object], state: State, error: str) -> None:
    job.error = error
    job.ended = time.monotonic()
    job.state = state  # last of what pages look at
    job.over.set()


def _interpreter_ends() -> bool:
    """Whether the interpreter is being shut down; it then refuses work to every executor."""
    try:
        with ThreadPoolExecutor(1) as probe:
            probe.submit(int)
    except RuntimeError:
        return True
    return False
