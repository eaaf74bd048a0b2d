"""The runner: one key at a time, errors by the table, a shutdown that lets work finish."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from rollout import errors
from rollout.runtime.clock import LoopClock
from rollout.runtime.runner import After, Retry, Runner, policy
from tests import virtual


@asynccontextmanager
async def running(runner: Runner[str]):
    task = asyncio.create_task(runner.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Script:
    """A reconciler that answers from a list, then with None; it notes when it was called for what."""

    def __init__(self, clock: LoopClock, *outcomes: Any) -> None:
        self.clock = clock
        self.outcomes = list(outcomes)
        self.calls: list[tuple[str, float]] = []
        self.start = clock.monotonic()

    async def __call__(self, key: str) -> After | None:
        self.calls.append((key, self.clock.monotonic() - self.start))
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    @property
    def times(self) -> list[float]:
        return [at for _, at in self.calls]


def test_a_key_is_reconciled_once_however_often_it_was_added() -> None:
    async def main(clock: LoopClock) -> None:
        script = Script(clock)
        runner: Runner[str] = Runner("test", script, clock=clock)
        for _ in range(10):
            runner.add("a")
        async with running(runner):
            await clock.sleep(1)
        assert [key for key, _ in script.calls] == ["a"]

    virtual.run(main)


def test_after_comes_back_at_its_time() -> None:
    async def main(clock: LoopClock) -> None:
        script = Script(clock, After(30), After(7))
        runner: Runner[str] = Runner("test", script, clock=clock)
        runner.add("a")
        async with running(runner):
            await clock.sleep(100)
        assert script.times == pytest.approx([0, 30, 37])

    virtual.run(main)


def test_no_key_runs_twice_at_once_while_others_run_beside_it() -> None:
    async def main(clock: LoopClock) -> None:
        now: Counter[str] = Counter()
        most = 0

        async def reconcile(key: str) -> None:
            nonlocal most
            now[key] += 1
            most = max(most, now.total())
            assert now[key] == 1
            runner.add(key)
            await clock.sleep(1)
            now[key] -= 1

        runner: Runner[str] = Runner("test", reconcile, clock=clock, workers=3)
        for key in "abcde":
            runner.add(key)
        async with running(runner):
            await clock.sleep(10)
        assert most == 3

    for seed in range(5):
        virtual.run(main, seed=seed)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.Conflict("x"), Retry(0, "debug")),
        (errors.NotFound("x"), Retry(0, "debug")),
        (errors.AlreadyExists("x"), Retry(0, "debug")),
        (errors.Expired("x"), Retry(0, "debug")),
        (errors.Throttled("x", after=7), Retry(7, "info")),
        (errors.Throttled("x"), Retry(0, "info")),
        (errors.Unavailable("x"), Retry(0, "warning")),
        (errors.Timeout("x"), Retry(0, "warning")),
        (errors.Forbidden("x"), Retry(60, "error")),
        (errors.Unauthorized("x"), Retry(60, "error")),
        (errors.Invalid("x"), Retry(5, "error")),
        (errors.MethodNotAllowed("x"), Retry(5, "warning")),
        (errors.InvalidSpec("x"), Retry(None, "info")),
        (errors.InvariantBroken("x"), Retry(None, "error", traceback=True)),
        (ZeroDivisionError(), Retry(0, "error", traceback=True)),
    ],
)
def test_errors_are_answered_by_the_table(error: Exception, expected: Retry) -> None:
    assert policy(error) == expected


def test_a_failing_key_backs_off_further_and_further_and_starts_anew_after_a_success() -> None:
    async def main(clock: LoopClock) -> None:
        script = Script(clock, *[errors.Unavailable("down")] * 12)
        runner: Runner[str] = Runner("test", script, clock=clock)
        runner.add("a")
        async with running(runner):
            await clock.sleep(60)
        gaps = [b - a for a, b in zip(script.times, script.times[1:], strict=False)]
        assert len(gaps) == 12
        assert all(0.005 * 2**n <= gap <= 0.0061 * 2**n for n, gap in enumerate(gaps))
        assert runner.queue.failures("a") == 0

    virtual.run(main)


def test_a_permanent_error_costs_at_most_12_reconciles_a_minute_in_the_long_run() -> None:
    async def main(clock: LoopClock) -> None:
        script = Script(clock, *[ZeroDivisionError()] * 10_000)
        runner: Runner[str] = Runner("test", script, clock=clock)
        runner.add("a")
        async with running(runner):
            await clock.sleep(60)
            before = len(script.calls)
            await clock.sleep(600)
            assert len(script.calls) - before <= 120

    virtual.run(main)


def test_a_forbidden_key_is_retried_slowly() -> None:
    async def main(clock: LoopClock) -> None:
        script = Script(clock, *[errors.Forbidden("no")] * 100)
        runner: Runner[str] = Runner("test", script, clock=clock)
        runner.add("a")
        async with running(runner):
            await clock.sleep(599)
        assert len(script.calls) <= 10

    virtual.run(main)


def test_an_invalid_spec_waits_for_a_change() -> None:
    async def main(clock: LoopClock) -> None:
        script = Script(clock, errors.InvalidSpec("spec.x: is wrong"))
        runner: Runner[str] = Runner("test", script, clock=clock)
        runner.add("a")
        async with running(runner):
            await clock.sleep(3600)
            assert len(script.calls) == 1
            runner.add("a")
            await clock.sleep(1)
            assert len(script.calls) == 2

    virtual.run(main)


@pytest.fixture
def all_levels():
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("all_levels")
def test_the_same_complaint_is_logged_loudly_once_with_controller_and_key() -> None:
    async def main(clock: LoopClock) -> None:
        script = Script(clock, *[ZeroDivisionError("boom")] * 3, errors.Forbidden("no"))
        runner: Runner[str] = Runner("test", script, clock=clock)
        runner.add("ns/a")
        async with running(runner):
            await clock.sleep(10)

    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        virtual.run(main)
    assert [(line["log_level"], line["error"]) for line in lines] == [
        ("error", "ZeroDivisionError: boom"),
        ("debug", "ZeroDivisionError: boom"),
        ("debug", "ZeroDivisionError: boom"),
        ("error", "Forbidden: no"),
    ]
    assert {(line["controller"], line["key"]) for line in lines} == {("test", "ns/a")}
    assert isinstance(lines[0]["exc_info"], ZeroDivisionError)
    assert lines[1]["exc_info"] is None


def test_the_barrier_holds_a_key_back_until_it_is_ready() -> None:
    async def main(clock: LoopClock) -> None:
        script = Script(clock)
        opens = clock.monotonic() + 10
        held: list[str] = []
        runner: Runner[str] = Runner(
            "test",
            script,
            clock=clock,
            ready=lambda key: clock.monotonic() >= opens,
            on_reconcile=lambda result, seconds: held.append(result),
        )
        runner.add("a")
        async with running(runner):
            await clock.sleep(20)
        assert len(script.calls) == 1
        assert 10 <= script.times[0] <= 11.3
        assert held[-1] == "success"
        assert 8 <= held.count("held") <= 30

    virtual.run(main)


def test_a_reconcile_that_hangs_is_cut_off_and_tried_again() -> None:
    async def main(clock: LoopClock) -> None:
        times: list[float] = []
        start = clock.monotonic()

        async def reconcile(key: str) -> None:
            times.append(clock.monotonic() - start)
            if len(times) == 1:
                await asyncio.Event().wait()

        runner: Runner[str] = Runner("test", reconcile, clock=clock, deadline=300)
        runner.add("a")
        async with running(runner):
            await clock.sleep(400)
        assert times == pytest.approx([0, 300.005], abs=0.01)

    virtual.run(main)


def test_resync_comes_by_every_key_without_a_wave() -> None:
    async def main(clock: LoopClock) -> None:
        script = Script(clock)
        keys = [f"k{n}" for n in range(50)]
        runner: Runner[str] = Runner("test", script, clock=clock, keys=lambda: keys, resync=900)
        async with running(runner):
            await clock.sleep(1100)
        assert sorted({key for key, _ in script.calls}) == sorted(keys)
        assert max(script.times) - min(script.times) > 40

    virtual.run(main)


def test_stop_lets_running_work_finish_and_takes_nothing_more() -> None:
    async def main(clock: LoopClock) -> None:
        finished: list[str] = []

        async def reconcile(key: str) -> None:
            await clock.sleep(5)
            finished.append(key)

        runner: Runner[str] = Runner("test", reconcile, clock=clock, workers=2)
        for key in "abcd":
            runner.add(key)
        async with running(runner) as task:
            await clock.sleep(1)
            runner.stop()
            before = clock.monotonic()
            await task
            assert clock.monotonic() - before == pytest.approx(4)
        assert sorted(finished) == ["a", "b"]

    virtual.run(main)


def test_stop_is_bounded() -> None:
    async def main(clock: LoopClock) -> None:
        cancelled: list[str] = []

        async def reconcile(key: str) -> None:
            try:
                await clock.sleep(1000)
            except asyncio.CancelledError:
                cancelled.append(key)
                raise

        runner: Runner[str] = Runner("test", reconcile, clock=clock, drain=20)
        runner.add("a")
        async with running(runner) as task:
            await clock.sleep(1)
            runner.stop()
            before = clock.monotonic()
            await task
            assert clock.monotonic() - before == pytest.approx(20)
        assert cancelled == ["a"]

    virtual.run(main)


def test_more_workers_begin_at_once_and_fewer_let_running_work_end() -> None:
    async def main(clock: LoopClock) -> None:
        running_now, most, done = 0, 0, []

        async def reconcile(key: str) -> None:
            nonlocal running_now, most
            running_now += 1
            most = max(most, running_now)
            await clock.sleep(10)
            running_now -= 1
            done.append(key)

        runner: Runner[str] = Runner("test", reconcile, clock=clock, workers=1)
        for number in range(12):
            runner.add(f"k{number}")
        async with running(runner):
            await clock.sleep(1)
            assert running_now == 1
            runner.resize(4)
            await clock.sleep(1)
            assert running_now == 4
            runner.resize(2)
            await clock.sleep(20)
            assert running_now == 2
            runner.resize(3)
            await clock.sleep(1)
            assert running_now == 3
            await clock.sleep(200)
            assert sorted(done) == sorted(f"k{number}" for number in range(12))
            assert most == 4

    virtual.run(main)


def test_a_runner_whose_workers_were_changed_stops_as_any_other() -> None:
    async def main(clock: LoopClock) -> None:
        done = []

        async def reconcile(key: str) -> None:
            await clock.sleep(5)
            done.append(key)

        runner: Runner[str] = Runner("test", reconcile, clock=clock, workers=3)
        runner.resize(2)
        task = asyncio.create_task(runner.run())
        for key in "abcd":
            runner.add(key)
        await clock.sleep(1)
        runner.resize(1)
        runner.stop()
        await task
        assert len(done) == 2

    virtual.run(main)
