"""Measurements by key: shared by who waits for them, never taken from one who does, bounded when kept."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import pytest

from quantscope.core.errors import DataError
from quantscope.core.progress import Progress, ProgressFn
from quantscope.ui.session.jobs import NO_THREAD, Job, State, stop_all
from quantscope.ui.session.pool import AGAIN, LAPSE, Measurement, Pool, ResultKey, Subscriber
from tests.support import until

KIND: Measurement[str] = Measurement(name="effect", lane="one", keep=3)
OTHER: Measurement[str] = Measurement(name="whole", lane="one")
TAB, TAB_2 = Subscriber("first", "effect"), Subscriber("second", "effect")
TITLE = "measuring"


class Bench:
    """Work that is held until it is let go, by token; says what was begun."""

    def __init__(self, **lanes: int) -> None:
        self.now = 0.0
        self.begun: list[str] = []
        self.gates: dict[str, threading.Event] = {}
        self.pool = Pool(lanes or {"one": 1}, clock=lambda: self.now)

    def gate(self, token: str) -> threading.Event:
        return self.gates.setdefault(token, threading.Event())

    def ask(
        self, who: Subscriber, token: str, kind: Measurement[str] = KIND, project: str = "p"
    ) -> Job[str] | None:
        """Ask for a token, as a page does when it is drawn."""

        def work(tell: ProgressFn) -> str:
            self.begun.append(token)
            assert self.gate(token).wait(20)
            tell(Progress(done=0, total=0))  # where it is told to stop
            return f"result of {token}"

        return self.pool.request(who, ResultKey(project, kind, token), TITLE, work)

    def let_go(self, *tokens: str) -> None:
        for token in tokens:
            self.gate(token).set()

    def result(self, token: str, kind: Measurement[str] = KIND, project: str = "p") -> str | None:
        """What is there in the end."""
        job = self.pool.wait(ResultKey(project, kind, token), 10)
        return job.result if job is not None else None

    def began(self, *tokens: str) -> None:
        until(lambda: tuple(self.begun) == tokens)


@pytest.fixture
def bench() -> Any:
    bench = Bench()
    yield bench
    for gate in bench.gates.values():
        gate.set()
    assert stop_all(20)


def test_two_tabs_at_different_steps_both_get_their_figures(bench: Bench) -> None:
    """Each polls for its own step; neither takes the other's work away."""
    bench.ask(TAB, "a")
    bench.began("a")
    for _ in range(20):
        assert bench.ask(TAB_2, "b") is None
        assert bench.ask(TAB, "a") is None
    bench.let_go("a", "b")
    assert bench.result("a") == "result of a"
    assert bench.result("b") == "result of b"
    assert bench.begun == ["a", "b"]
    assert bench.ask(TAB, "a") is not None  # kept: undo shows it at once


def test_tabs_that_poll_by_themselves_make_progress() -> None:
    """As above with real pages' habits: polls while the work reports its progress."""
    pool, begun = Pool({"one": 1}), Counter[str]()

    def tab(who: Subscriber, tokens: str) -> None:
        def work(tell: ProgressFn) -> str:
            begun[token] += 1
            for step in range(20):
                tell(Progress(done=step, total=20))
                time.sleep(0.002)
            return token

        for token in tokens:
            while (job := pool.request(who, ResultKey("p", KIND, token), TITLE, work)) is None:
                time.sleep(0.005)
            found.append(str(job.result))

    found: list[str] = []
    tabs = [threading.Thread(target=tab, args=entry) for entry in ((TAB, "abc"), (TAB_2, "xyz"))]
    for thread in tabs:
        thread.start()
    for thread in tabs:
        thread.join(30)
    assert sorted(found) == list("abcxyz")
    assert set(begun.values()) == {1}
    assert stop_all(20)


def test_undo_during_a_measurement_measures_the_first_step_after_all(bench: Bench) -> None:
    bench.ask(TAB, "a")
    bench.began("a")
    bench.ask(TAB, "b")  # an edit: nobody wants the step before any more
    bench.ask(TAB, "a")  # undo, while that is still on its way to its end
    assert bench.pool.waits(TAB)
    bench.let_go("a", "b")
    assert bench.result("a") == "result of a"  # without another word from the page
    assert bench.begun == ["a", "a"]


def test_what_ended_before_it_could_be_stopped_is_not_run_again(bench: Bench) -> None:
    def work(_tell: ProgressFn) -> str:
        bench.begun.append("deaf")
        bench.gate("deaf").wait(20)
        return "done"

    key = ResultKey("p", KIND, "deaf")
    bench.pool.request(TAB, key, TITLE, work)
    bench.began("deaf")
    bench.ask(TAB, "b")
    bench.pool.request(TAB, key, TITLE, work)
    bench.let_go("deaf")
    assert bench.result("deaf") == "done"
    assert bench.begun == ["deaf"]


def test_an_edit_ends_the_work_for_the_step_before(bench: Bench) -> None:
    bench.ask(TAB, "a")
    bench.began("a")
    bench.ask(TAB, "b")
    bench.ask(TAB, "c")
    bench.let_go("a", "b", "c")
    assert bench.result("c") == "result of c"
    assert bench.result("a") is None
    assert bench.begun == ["a", "c"]  # b was never begun


def test_one_run_serves_all_who_ask_and_stays_for_who_is_left(bench: Bench) -> None:
    bench.ask(TAB, "a")
    bench.began("a")
    bench.ask(TAB_2, "a")
    bench.ask(TAB, "b")  # the first moves on; the second still wants it
    bench.let_go("a", "b")
    assert bench.result("a") == "result of a"
    assert bench.result("b") == "result of b"
    assert bench.begun == ["a", "b"]


def test_a_tab_that_was_closed_makes_room(bench: Bench) -> None:
    bench.ask(TAB, "a")
    bench.began("a")
    bench.ask(Subscriber("first", "whole"), "never", OTHER)
    bench.now += LAPSE + 1
    bench.ask(TAB_2, "b")
    assert bench.pool.wanted() == {"p"}
    bench.let_go("a", "b", "never")
    assert bench.result("b") == "result of b"
    assert bench.result("a") == "result of a"  # what has begun is finished
    assert bench.begun == ["a", "b"]
    assert not bench.pool.waits(TAB)


def test_tabs_that_are_hidden_both_get_their_figures() -> None:
    """Browsers let hidden tabs poll once a minute only; each run takes longer than that."""
    bench, minute = Bench(), 60.0
    tabs = {TAB: "a", TAB_2: "b"}
    bench.ask(TAB, "a")
    bench.began("a")
    for turn in range(4):
        bench.now = turn * minute
        for who, token in tabs.items():
            if turn == 0 or not bench.pool.waits(who):  # the page is drawn again
                bench.ask(who, token)
            bench.now += minute / 2
    assert bench.begun == ["a"]
    bench.let_go("a")
    assert bench.result("a") == "result of a"
    bench.began("a", "b")
    bench.let_go("b")
    assert bench.result("b") == "result of b"
    assert bench.begun == ["a", "b"]
    assert stop_all(20)


def test_a_tab_that_polls_is_not_taken_to_be_closed(bench: Bench) -> None:
    bench.ask(TAB, "a")
    bench.began("a")
    bench.ask(Subscriber("first", "whole"), "w", OTHER)
    for _ in range(5):
        bench.now += LAPSE * 0.9
        assert bench.pool.waits(TAB)
        assert bench.pool.waits(Subscriber("first", "whole"))
        bench.ask(TAB_2, "b")
    bench.let_go("a", "b", "w")
    assert (bench.result("a"), bench.result("b")) == ("result of a", "result of b")
    assert bench.result("w", OTHER) == "result of w"


def test_work_that_nobody_waits_for_ends_where_nothing_else_does() -> None:
    """Somebody who looks at another page for a minute does not lose what was begun."""
    bench = Bench(one=1, two=1)
    bench.ask(TAB, "a")
    bench.began("a")
    bench.now += 10 * LAPSE
    assert bench.pool.wanted() == {"p"}  # what it needs stays in memory meanwhile
    bench.let_go("x")
    bench.ask(TAB_2, "x", Measurement(name="live", lane="two"))  # does not need the thread
    bench.let_go("a")
    assert bench.result("a") == "result of a"
    assert stop_all(20)


def test_who_goes_back_to_what_is_there_holds_nobody_up(bench: Bench) -> None:
    bench.let_go("there")
    bench.ask(TAB, "there")
    assert bench.result("there") is not None
    bench.ask(TAB, "a")
    bench.began("there", "a")
    assert bench.ask(TAB, "there") is not None  # undo
    bench.ask(TAB_2, "b")
    bench.let_go("a", "b")
    assert bench.result("b") == "result of b"
    assert bench.result("a") is None  # it was stopped


def test_tabs_take_turns(bench: Bench) -> None:
    places = [Subscriber("first", str(n)) for n in range(3)]
    for n, place in enumerate(places):
        bench.ask(place, f"first {n}")
    bench.began("first 0")
    bench.ask(TAB_2, "second")
    bench.let_go("first 0", "first 1", "first 2", "second")
    assert bench.result("first 2") is not None
    assert bench.begun == ["first 0", "second", "first 1", "first 2"]


def test_a_session_has_one_run_at_a_time_while_others_use_the_free_threads() -> None:
    bench = Bench(one=2)
    bench.ask(TAB, "a")
    bench.began("a")
    bench.ask(TAB, "b")  # a thread is free; but the work for the step before is not over yet
    bench.ask(TAB_2, "x")
    bench.began("a", "x")
    bench.let_go("a")
    bench.began("a", "x", "b")
    bench.let_go("b", "x")
    assert (bench.result("b"), bench.result("x")) == ("result of b", "result of x")
    assert stop_all(20)


def test_lanes_do_not_wait_for_each_other() -> None:
    bench = Bench(one=1, two=1)
    bench.ask(TAB, "slow")
    apart: Measurement[str] = Measurement(name="live", lane="two")
    bench.let_go("a")
    bench.ask(TAB_2, "a", apart)
    assert bench.result("a", apart) == "result of a"
    bench.let_go("slow")
    assert stop_all(20)


def test_a_failure_is_an_answer_too(bench: Bench) -> None:
    def work(_tell: ProgressFn) -> str:
        raise DataError("broken")

    key = ResultKey("p", KIND, "a")
    bench.pool.request(TAB, key, TITLE, work)
    done = bench.pool.wait(key, 10)
    assert done is not None
    assert (done.state, done.error) == (State.FAILED, "broken")
    assert bench.pool.request(TAB, key, TITLE, work) is done


def test_a_failure_is_tried_again_after_a_while(bench: Bench) -> None:
    runs: list[float] = []

    def work(_tell: ProgressFn) -> str:
        runs.append(bench.now)
        if len(runs) < 3:
            raise DataError("the disk is not there")
        return "there"

    def ask() -> Job[str] | None:
        return bench.pool.request(TAB, key, TITLE, work) or bench.pool.wait(key, 10)

    key = ResultKey("p", KIND, "a")
    for turn in range(3):
        found = [ask() for _ in range(4)]  # the page is drawn again: no loop
        assert found[0] is not None
        assert all(job is found[0] for job in found)
        assert len(runs) == turn + 1
        bench.now += AGAIN + 1
        assert bench.pool.peek(key) is found[0]
    assert found[0].result == "there"
    assert ask() is found[0]  # what was measured stays
    assert len(runs) == 3


def test_without_a_thread_the_failure_is_there_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        job = bench.ask(TAB, "a")
    assert job is not None
    assert job.error == NO_THREAD
    bench.let_go("b")
    bench.ask(TAB, "b")
    assert bench.result("b") == "result of b"  # the thread's place is free


def test_old_results_make_room(bench: Bench) -> None:
    for token in "abcd":
        bench.let_go(token)
        bench.ask(TAB, token)
        assert bench.result(token) is not None
    there = [bench.pool.peek(ResultKey("p", KIND, token)) is not None for token in "abcd"]
    assert there == [False, True, True, True]


def test_a_forgotten_project_leaves_nothing(bench: Bench) -> None:
    bench.let_go("kept")
    bench.ask(TAB, "kept")
    assert bench.result("kept") is not None
    bench.ask(TAB, "running")
    bench.began("kept", "running")
    bench.ask(Subscriber("first", "whole"), "waiting", OTHER)
    bench.ask(TAB_2, "of another", project="q")
    assert bench.pool.wanted() == {"p", "q"}
    (stopped,) = bench.pool.forget("p")
    assert bench.pool.wanted() == {"q"}
    bench.let_go("running", "of another")
    assert bench.result("of another", project="q") == "result of of another"
    assert stopped.state is State.CANCELLED
    assert [bench.result(token) for token in ("kept", "running", "waiting")] == [None] * 3
    assert bench.begun == ["kept", "running", "of another"]


def test_a_run_that_outlives_its_project_is_no_answer_for_the_next_of_that_name(bench: Bench) -> None:
    def work(_tell: ProgressFn) -> str:
        bench.begun.append("old")
        bench.gate("old").wait(20)
        return "of the old project"

    key = ResultKey("p", KIND, "same token")
    bench.pool.request(TAB, key, TITLE, work)
    bench.began("old")
    bench.pool.forget("p")
    bench.pool.request(TAB, key, TITLE, lambda _tell: "of the new project")
    bench.let_go("old")
    assert bench.result("same token") == "of the new project"


def test_what_is_stopped_with_the_server_is_not_begun_again() -> None:
    bench, begun = Bench(), []

    def work(tell: ProgressFn) -> str:
        begun.append(1)
        while True:
            tell(Progress(done=0, total=0))
            time.sleep(0.002)

    bench.pool.request(TAB, ResultKey("p", KIND, "a"), TITLE, work)
    bench.pool.request(TAB_2, ResultKey("p", KIND, "b"), TITLE, work)  # waits for its turn
    until(lambda: begun == [1])
    assert stop_all(20)
    assert len(begun) <= 2  # what waited may have been begun, and was stopped too
    assert not bench.pool.waits(TAB)
    assert not bench.pool.waits(TAB_2)
    assert not [t for t in threading.enumerate() if t.name.startswith("pool ")]
