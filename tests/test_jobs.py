"""Background work: found again by id, cancelled at the next report, errors in words, newest request first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from core.errors import DataError
from core.progress import Progress, ProgressFn
from ui.jobs import Job, Newest, Registry, State, stop_all


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


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


def test_only_the_newest_results_are_kept() -> None:
    registry, go = Registry(), threading.Event()
    for id in "abc":
        registry.submit(id, "x", lambda _tell: None)
        until(lambda id=id: not registry.get(id).active)  # type: ignore[misc, union-attr]
    registry.submit("running", "x", lambda _tell: go.wait(5))
    registry.trim(1)
    assert [registry.get(id) is not None for id in ("a", "b", "c", "running")] == [False, False, True, True]
    go.set()


@pytest.mark.parametrize(
    ("error", "words"),
    [(DataError("no samples: give some"), "no samples: give some"), (KeyError("x"), "unexpected KeyError"),
     (MemoryError(), "not enough memory")],
)  # fmt: skip
def test_what_goes_wrong_is_said(error: Exception, words: str, caplog: pytest.LogCaptureFixture) -> None:
    def work(_tell: ProgressFn) -> None:
        raise error

    job = Registry().submit("p", "x", work)
    until(lambda: not job.active)
    assert job.state is State.FAILED
    assert words in job.error
    assert "Traceback" not in job.error


def test_time_left_shrinks_with_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("ui.jobs.time.monotonic", lambda: now[0])
    job = Job("p", "x")
    job.report(Progress(done=0, total=10, label="run"))
    assert job.seconds_left is None
    now[0] += 4
    job.report(Progress(done=2, total=10, label="run"))
    assert job.seconds_left == pytest.approx(16)
    job.report(Progress(done=0, total=5, label="next phase"))
    assert job.seconds_left is None


def test_only_the_newest_request_counts() -> None:
    newest, go, ran = Newest(), threading.Event(), []

    def work(name: str, wait: bool = False) -> Callable[[ProgressFn], str]:
        def run(tell: ProgressFn) -> str:
            ran.append(name)
            if wait:
                go.wait(5)
                tell(Progress(done=0, total=0))  # told to stop here
            return name

        return run

    assert newest.request("a", "t", work("a", wait=True)) is None
    until(lambda: ran == ["a"])
    assert newest.request("b", "t", work("b")) is None
    assert newest.request("c", "t", work("c")) is None
    go.set()
    done = newest.wait("c", 5)
    assert done is not None
    assert done.result == "c"
    assert ran == ["a", "c"]  # b was never started, a gave up
    assert newest.peek("a") is None
    assert newest.request("c", "t", work("c")) is done  # kept: undo shows it at once
    until(lambda: not newest.busy)


def test_a_failed_request_is_an_answer_too() -> None:
    def work(_tell: ProgressFn) -> None:
        raise DataError("broken")

    newest = Newest()
    newest.request("a", "t", work)
    done = newest.wait("a", 5)
    assert done is not None
    assert done.error == "broken"


def test_old_results_make_room() -> None:
    newest = Newest(keep=2)
    for token in "abc":
        newest.request(token, "t", lambda _tell: 1)
        newest.wait(token, 5)
    assert newest.peek("a") is None
    assert newest.peek("c") is not None


def test_all_are_stopped_and_waited_for() -> None:
    registry, newest = Registry(), Newest()

    def work(tell: ProgressFn) -> None:
        while True:
            tell(Progress(done=0, total=0))
            time.sleep(0.005)

    jobs = [registry.submit(name, name, work) for name in "ab"]
    newest.request("c", "c", work)
    newest.request("d", "d", work)  # waits for its turn
    assert stop_all(10)
    assert [job.state for job in jobs] == [State.CANCELLED] * 2
    assert not newest.busy
    assert not [t for t in threading.enumerate() if t.name.startswith(("job ", "newest "))]


def test_what_does_not_stop_is_said() -> None:
    go = threading.Event()
    job = Registry().submit("p", "stubborn", lambda tell: go.wait(10))
    until(lambda: job.active)
    assert not stop_all(0.2)
    go.set()
    assert stop_all(10)
    assert job.state is State.DONE
