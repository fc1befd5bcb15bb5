"""Background work: found again by id, cancelled at the next report, errors in words, always with an end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from quantscope.core.errors import DataError
from quantscope.core.progress import Cancelled, Progress, ProgressFn
from quantscope.ui.session.jobs import ENDED, NO_THREAD, Job, Registry, State, acquired, stop_all
from tests.support import until


def test_a_job_is_found_again_and_starts_once() -> None:
    registry, go, started = Registry(), threading.Event(), []

    def work(tell: ProgressFn) -> str:
        started.append(1)
        tell(Progress(done=1, total=4, label="half"))
        go.wait(5)
        return "result"

    job = registry.submit("p", "Calibrating", work)
    until(lambda: job.progress.done == 1)
    assert registry.submit("p", "again", work) is job
    assert registry.get("p") is job
    assert job.share == 0.25
    registry.forget("p")  # an active job is not forgotten
    assert registry.get("p") is job
    go.set()
    until(lambda: not job.active)
    assert (job.state, job.result, started) == (State.DONE, "result", [1])
    registry.forget("p")
    assert registry.get("p") is None


def test_cancel_ends_it_at_the_next_report() -> None:
    steps = []

    def work(tell: ProgressFn) -> None:
        for step in range(1000):
            steps.append(step)
            tell(Progress(done=step, total=1000))
            time.sleep(0.01)

    job = Registry().submit("p", "x", work)
    until(lambda: len(steps) > 2)
    job.cancel()
    until(lambda: not job.active)
    assert job.state is State.CANCELLED
    assert len(steps) < 900
    assert not job.error


def test_what_is_wanted_again_while_it_stops_is_started_again() -> None:
    registry, go = Registry(), threading.Event()

    def work(tell: ProgressFn) -> str:
        go.wait(10)
        tell(Progress(done=0, total=0))
        return "result"

    first = registry.restart("p", "x", work)
    first.cancel()
    second = registry.restart("p", "x", work)
    assert second is not first
    assert registry.restart("p", "x", work) is second
    go.set()
    assert first.wait(10)
    assert second.wait(10)
    assert (first.state, second.result) == (State.CANCELLED, "result")
    assert registry.get("p") is second


def test_what_was_superseded_is_waited_for_until_it_is_over() -> None:
    """It may still write into the folder of a project that is being removed."""
    registry, go = Registry(), threading.Event()
    first = registry.submit("p:tune", "x", lambda _tell: go.wait(10))
    first.cancel()
    other = registry.submit("q:tune", "x", lambda _tell: go.wait(10))
    other.cancel()
    for id in ("p:tune", "q:tune"):
        assert registry.submit(id, "x", lambda _tell: None).wait(10)
    assert registry.working() == {"p", "q"}
    assert registry.drop("p") == [first]
    assert registry.working() == {"q"}
    go.set()
    assert other.wait(10)
    assert registry.working() == set()
    assert registry.drop("q") == []


def ended(registry: Registry, id: str) -> Job[None]:
    """A job of that id that has done nothing."""
    job = registry.submit(id, "x", lambda _tell: None)
    assert job.wait(5)
    return job


def test_what_ended_is_kept_for_the_projects_in_use() -> None:
    registry, go = Registry(), threading.Event()
    for id in ("a", "a:tune", "b", "b:tune"):
        ended(registry, id)
    running = registry.submit("b:sweep", "x", lambda _tell: go.wait(5))
    assert registry.working() == {"b"}
    registry.retain({"a"})
    known = [registry.get(id) is not None for id in ("a", "a:tune", "b", "b:tune", "b:sweep")]
    assert known == [True, True, False, False, True]  # what runs is never dropped
    go.set()
    assert running.wait(5)


def test_what_is_light_is_kept_for_more_projects() -> None:
    registry = Registry()
    for project in ("a", "b", "c"):
        for id, heavy in ((project, True), (f"{project}:fixes:1", True), (f"{project}:tune", False)):
            assert registry.submit(id, "x", lambda _tell: None, heavy=heavy).wait(5)
    registry.retain({"a"}, light={"a", "b"})
    known = {id for p in "abc" for id in (p, f"{p}:fixes:1", f"{p}:tune") if registry.get(id) is not None}
    assert known == {"a", "a:fixes:1", "a:tune", "b:tune"}


def test_of_one_project_the_jobs_that_ended_last_are_kept() -> None:
    registry = Registry()
    ended(registry, "a")
    for n in range(ENDED + 2):
        ended(registry, f"a:layer {n}")
    registry.retain({"a"})
    assert [registry.get(f"a:layer {n}") is None for n in range(4)] == [True, True, False, False]
    assert registry.get("a") is not None  # the project itself, though it ended first


def test_a_removed_projects_jobs_are_cancelled_and_not_found_any_more() -> None:
    registry = Registry()

    def work(tell: ProgressFn) -> None:
        while True:
            tell(Progress(done=0, total=0))
            time.sleep(0.005)

    jobs = [registry.submit(id, "x", work) for id in ("a", "a:tune", "ab", "b")]
    ended(registry, "a:trials")
    assert registry.drop("a") == jobs[:2]
    assert all(job.wait(5) and job.state is State.CANCELLED for job in jobs[:2])
    assert [registry.get(id) for id in ("a", "a:tune", "a:trials")] == [None] * 3
    assert [job.active for job in jobs[2:]] == [True, True]
    assert stop_all(10)


@pytest.mark.parametrize(
    ("error", "words"),
    [(DataError("no samples: give some"), "no samples: give some"), (KeyError("x"), "unexpected KeyError"),
     (MemoryError(), "not enough memory"), (SystemExit(3), "unexpected SystemExit"),
     (RuntimeError("cannot schedule new futures after shutdown"), "unexpected RuntimeError")],
)  # fmt: skip
def test_what_goes_wrong_is_said(error: BaseException, words: str, caplog: pytest.LogCaptureFixture) -> None:
    def work(_tell: ProgressFn) -> None:
        raise error

    job = Registry().submit("p", "x", work)
    assert job.wait(5)
    assert job.state is State.FAILED
    assert words in job.error
    assert "Traceback" not in job.error


def test_a_job_without_a_thread_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        job = Registry().submit("p", "x", lambda _tell: None)
    assert job.over.is_set()
    assert (job.state, job.error) == (State.FAILED, NO_THREAD)
    assert stop_all(0)  # nothing is left behind


AT_THE_END = """
import concurrent.futures, threading, time
from quantscope.ui.session.jobs import Registry

def work(tell):
    while True:  # until the interpreter refuses
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(int)
        time.sleep(0.01)

def say():
    print(job.wait(60), job.state.value, job.error)

job = Registry().submit("p", "x", work)
threading.Thread(target=say).start()
"""


def test_a_job_ends_with_the_interpreter(repo_root: Path) -> None:
    command = [sys.executable, "-c", AT_THE_END]
    done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["True", "cancelled"]
    assert "Traceback" not in done.stderr


def test_a_wait_for_a_lock_can_be_cancelled() -> None:
    lock, got = threading.Lock(), []

    def work(tell: ProgressFn) -> None:
        with acquired(lock, tell, "waiting for its turn"):
            got.append(lock.locked())

    with lock:
        job = Registry().submit("p", "x", work)
        until(lambda: job.progress.label == "waiting for its turn")
        job.cancel()
        assert job.wait(5)
    assert (job.state, got) == (State.CANCELLED, [])
    assert Registry().submit("p", "x", work).wait(5)
    assert got == [True]
    assert not lock.locked()


def test_a_lock_that_comes_free_too_late_is_given_back() -> None:
    lock, job = threading.Lock(), Job[None]("p", "x")
    job.cancel()
    with pytest.raises(Cancelled), acquired(lock, job.report):
        raise AssertionError("held by what was cancelled")
    assert not lock.locked()


def test_time_left_shrinks_with_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("quantscope.ui.session.jobs.time.monotonic", lambda: now[0])
    job = Job("p", "x")
    job.report(Progress(done=0, total=10, label="run"))
    assert job.seconds_left is None
    now[0] += 4
    job.report(Progress(done=2, total=10, label="run"))
    assert job.seconds_left == pytest.approx(16)
    job.report(Progress(done=0, total=5, label="next phase"))
    assert job.seconds_left is None


def test_all_are_stopped_and_waited_for() -> None:
    registry = Registry()

    def work(tell: ProgressFn) -> None:
        while True:
            tell(Progress(done=0, total=0))
            time.sleep(0.005)

    jobs = [registry.submit(name, name, work) for name in "ab"]
    assert stop_all(10)
    assert [job.state for job in jobs] == [State.CANCELLED] * 2
    assert not [t for t in threading.enumerate() if t.name.startswith("job ")]


def test_what_does_not_stop_is_said() -> None:
    go = threading.Event()
    job = Registry().submit("p", "stubborn", lambda tell: go.wait(10))
    until(lambda: job.active)
    assert not stop_all(0.2)
    go.set()
    assert stop_all(10)
    assert job.state is State.DONE
