"""Work in the background: plain threads without a page, found again by id after a reload."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.errors import QuantScopeError
from core.progress import Cancelled, Progress, ProgressFn

log = logging.getLogger("quantscope")
_at_work: dict[threading.Thread, "Job"] = {}

Work = Callable[[ProgressFn], Any]


class State(StrEnum):
    """Where a job stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class Job:
    """One piece of work; written by its thread, read by pages."""

    id: str
    title: str
    state: State = State.RUNNING
    progress: Progress = field(default_factory=lambda: Progress(done=0, total=0))
    phase_started: float = field(default_factory=time.monotonic)
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    result: Any = None
    error: str = ""  # for the user
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
        """Estimate for the present phase; None while there is nothing to estimate from."""
        gone = time.monotonic() - self.phase_started
        return gone * (1 - self.share) / self.share if self.share > 0.02 and gone > 0.5 else None

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
        self.progress = progress


class Registry:
    """Jobs by id; one of an id at a time."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def get(self, id: str) -> Job | None:
        """The newest job of that id."""
        return self._jobs.get(id)

    def submit(self, id: str, title: str, work: Work) -> Job:
        """Start `work` in a thread; if a job of that id is running, that one is returned instead."""
        with self._lock:
            known = self._jobs.get(id)
            if known is not None and known.active:
                return known
            job = self._jobs[id] = Job(id, title)
        threading.Thread(target=run, args=(job, work), name=f"job {id}", daemon=True).start()
        return job

    def restart(self, id: str, title: str, work: Work) -> Job:
        """As `submit`, and also where a job of that id has ended; its result is dropped."""
        self.forget(id)
        return self.submit(id, title, work)

    def trim(self, keep: int) -> None:
        """Drop the results of all but the `keep` jobs that ended last; they are made again when asked for."""
        with self._lock:
            ended = sorted((j.ended, j.id) for j in self._jobs.values() if j.ended is not None)
            for _, id in ended[: max(0, len(ended) - keep)]:
                del self._jobs[id]

    def forget(self, id: str) -> None:
        """Drop a job that has ended, with its result."""
        with self._lock:
            job = self._jobs.get(id)
            if job is not None and not job.active:
                del self._jobs[id]


def stop_all(seconds: float) -> bool:
    """Cancel all jobs of this process and wait for them, `seconds` at most; whether all have ended.

    A process that ends while its daemon threads compute in native code is aborted by the C++ runtime.
    """
    end = time.monotonic() + seconds
    while (left := list(_at_work.items())) and time.monotonic() < end:
        for thread, job in left:
            job.cancel()
            thread.join(0.1)  # a worker may go on to what waits
    return not _at_work


def run(job: Job, work: Work) -> None:
    """Do the work of a job and write down how it ended."""
    _at_work[threading.current_thread()] = job
    try:
        _run(job, work)
    finally:
        del _at_work[threading.current_thread()]


def _run(job: Job, work: Work) -> None:
    try:
        job.result = work(job.report)
        state = State.DONE
    except Cancelled:
        state = State.CANCELLED
    except QuantScopeError as error:
        job.error, state = str(error), State.FAILED
    except MemoryError:
        job.error = "this machine has not enough memory for it; use fewer samples or a smaller model"
        state = State.FAILED
    except Exception as error:
        if "new futures after" in str(error):
            return  # the server is being stopped
        log.exception("job %s failed", job.id)
        job.error = f"unexpected {type(error).__name__}: {error} (the server's log has the details)"
        state = State.FAILED
    job.ended = time.monotonic()
    job.state = state  # last: pages look at it first
    job.over.set()


class Newest:
    """One background worker for requests of which only the newest matters, as while somebody drags.

    A request in work is told to stop when a newer one waits. Results are kept by token, so that undo
    shows figures at once.
    """

    def __init__(self, keep: int = 48) -> None:
        self._keep = keep
        self._results: OrderedDict[Hashable, Job] = OrderedDict()
        self._waiting: tuple[Hashable, str, Work] | None = None
        self._current: tuple[Hashable, Job] | None = None
        self._lock = threading.Lock()
        self._finished = threading.Condition(self._lock)

    def wait(self, token: Hashable, seconds: float) -> Job | None:
        """The finished job of `token`, waited for no longer than `seconds`."""
        with self._finished:
            self._finished.wait_for(lambda: token in self._results, seconds)
            return self._results.get(token)

    def request(self, token: Hashable, title: str, work: Work) -> Job | None:
        """The finished job of `token`; None while it waits or runs (it is started as needed)."""
        with self._lock:
            if (known := self._results.get(token)) is not None:
                self._results.move_to_end(token)
                return known
            if self._current is not None and self._current[0] == token:
                self._waiting = None
                return None
            self._waiting = (token, title, work)
            if self._current is None:
                self._current = (None, Job("", ""))
                threading.Thread(target=self._serve, name=f"newest {title}", daemon=True).start()
            else:
                self._current[1].cancel()
            return None

    def peek(self, token: Hashable) -> Job | None:
        """The finished job of `token`, without asking for it."""
        return self._results.get(token)

    @property
    def busy(self) -> bool:
        """True while a request waits or is in work."""
        return self._current is not None

    def _serve(self) -> None:
        while True:
            with self._lock:
                if self._waiting is None:
                    self._current = None
                    return
                token, title, work = self._waiting
                self._waiting = None
                job = Job(str(token), title)
                self._current = (token, job)
            run(job, work)
            with self._lock:
                if job.state is not State.CANCELLED:
                    self._results[token] = job
                    while len(self._results) > self._keep:
                        self._results.popitem(last=False)
                    self._finished.notify_all()
