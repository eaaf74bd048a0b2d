"""Chaos on a schedule, for weeks: the example that stands for manifests/chaos-schedule.yaml, restarts, missed times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rollout.api.resources import CHAOS_RUNS, CHAOS_SCHEDULES, CHAOS_SWITCHES, CHAOS_TEMPLATES
from rollout.errors import ProviderError
from rollout.sandbox.workloads.podmodel import Behaviour
from tests.stories.faults import Faults, Kind
from tests.stories.schedule_world import NAMESPACE, ScheduleWorld, play

POD_DELETE, LATENCY = "pod-delete-chaos", "network-latency-chaos"
HEALTH, API, TRAFFIC = (
    "http://myapp-service:80/health",
    "http://myapp-service:80/api/health",
    "http_requests_total",
)
MINUTE = timedelta(minutes=1)


def utc(*parts: int) -> datetime:
    return datetime(2026, *parts, tzinfo=UTC)


def name(schedule: str, at: datetime) -> str:
    return f"{schedule}-{int(at.timestamp()) // 60}"


def stage(world: ScheduleWorld) -> None:
    world.images["*"] = Behaviour(ready_in=2.0)
    world.answers = {TRAFFIC: [400.0], "myapp-service": {"status": 200, "latencyMs": 12.0}}
    world.example("chaos-schedule-parts.yaml")
    world.example("chaos-schedule.yaml")


def asked(world: ScheduleWorld, since: datetime) -> set[str]:
    return {question for at, question in world.asked if since <= at < since + 10 * MINUTE}


async def completed(world: ScheduleWorld, schedule: str, at: datetime) -> str:
    """Let the time come and its run end; the verdict."""
    await world.skip_until(at - 20 * MINUTE)
    await world.sleep_until(at + timedelta(seconds=1))
    run = name(schedule, at)
    await world.until(f"{run} is made", lambda: run in world.made, within=30)
    await world.until(f"{run} ends", lambda: world.run_status(run).get("phase") == "Completed", within=500)
    await world.until("its end is told", lambda: world.schedule(schedule).get("active", "") == "", within=30)
    return world.schedule(schedule)["lastVerdict"]


def test_four_weeks_of_the_example_over_a_change_of_clocks_a_restart_and_a_missed_time():
    async def story(world: ScheduleWorld) -> None:
        stage(world)

        # Summer time: 14:00 in Berlin is 12:00 UTC.
        assert await completed(world, POD_DELETE, utc(10, 13, 12)) == "Successful"
        assert {HEALTH, API, "sum(rate(http_requests_total[5m]))"} <= asked(world, utc(10, 13, 12))
        assert await completed(world, LATENCY, utc(10, 15, 13)) == "Successful"
        assert asked(world, utc(10, 15, 13)) == {HEALTH, API}

        # Our controllers are killed while the fault is at work, and come back.
        await world.skip_until(utc(10, 20, 11, 50))
        await world.sleep_until(utc(10, 20, 12) + timedelta(seconds=10))
        world.crash()
        assert await completed(world, POD_DELETE, utc(10, 20, 12)) == "Successful"

        # Winter time: 13:00 UTC. Nobody knows how high the traffic is, so nobody is harmed.
        world.answers[TRAFFIC] = ProviderError("no answer")
        pods = {one["metadata"]["uid"] for one in world.list_pods()}
        assert await completed(world, POD_DELETE, utc(10, 27, 13)) == "Error"
        assert {one["metadata"]["uid"] for one in world.list_pods()} == pods
        assert "injectedAt" not in world.run_status(name(POD_DELETE, utc(10, 27, 13)))
        assert await completed(world, LATENCY, utc(10, 29, 14)) == "Successful"

        # Away for longer than startingDeadlineSeconds.
        await world.skip_until(utc(11, 3, 12, 55))
        world.off = True
        world.crash()
        await world.sleep_until(utc(11, 3, 13, 20))
        world.off = False
        await world.skip_until(utc(11, 9))
        await world.clock.sleep(1000)
        status = world.schedule(POD_DELETE)
        (skipped,) = status["skipped"]
        assert (skipped["at"], skipped["what"]) == ("2026-11-03T13:00:00Z", "Missed")
        assert status["nextTimes"][0] == "2026-11-10T13:00:00Z"
        assert world.schedule(LATENCY)["nextTimes"][0] == "2026-11-12T14:00:00Z"
        assert status["lastSuccessfulTime"].startswith("2026-10-20T12:0")

    world = play(story, start=utc(10, 12, 9))
    assert world.made == [
        name(POD_DELETE, utc(10, 13, 12)),
        name(LATENCY, utc(10, 15, 13)),
        name(POD_DELETE, utc(10, 20, 12)),
        name(POD_DELETE, utc(10, 27, 13)),
        name(LATENCY, utc(10, 29, 14)),
    ]


# --- people and other schedules -----------------------------------------------------------------------


def hourly(world: ScheduleWorld, **spec: object) -> None:
    """The example's application, and one schedule that strikes on every tenth minute for some minutes."""
    stage(world)
    for one in (POD_DELETE, LATENCY):
        world.storage.delete(CHAOS_SCHEDULES, NAMESPACE, one)
    run = {"templateName": "latency", "args": [{"name": "app", "value": "myapp"}]}
    world.apply(
        {
            "apiVersion": "surefoot.dev/v1alpha1",
            "kind": "ChaosSchedule",
            "metadata": {"name": "often", "namespace": NAMESPACE},
            "spec": {"schedule": "*/10 * * * *", "run": run, **spec},
        }
    )


def longer(world: ScheduleWorld, duration: str) -> None:
    world.patch(CHAOS_TEMPLATES, "latency", {"spec": {"duration": duration}}, namespace=NAMESPACE)


def test_replace_undoes_the_run_in_the_way_before_the_next_one_begins():
    async def story(world: ScheduleWorld) -> None:
        hourly(world, concurrencyPolicy="Replace")
        longer(world, "9m30s")
        first, second = name("often", utc(10, 12, 9, 10)), name("often", utc(10, 12, 9, 20))
        world.patch(CHAOS_TEMPLATES, "latency", {"spec": {"ramp": "2m"}}, namespace=NAMESPACE)
        await world.sleep_until(utc(10, 12, 9, 19, 59))
        assert world.run_status(first)["phase"] == "Injecting"
        await world.until("the second is made", lambda: second in world.made, within=200)
        status = world.run_status(first)
        assert (status["phase"], status["verdict"]) == ("Completed", "Inconclusive")
        assert {one["state"] for one in status["receipts"]} == {"Reverted"}
        assert [reason for reason in world.reasons() if reason == "ChaosRunReplaced"] == ["ChaosRunReplaced"]

    play(story, start=utc(10, 12, 9, 1))


def test_forbid_skips_the_time_and_says_whose_fault_it_is():
    async def story(world: ScheduleWorld) -> None:
        hourly(world)
        longer(world, "9m30s")
        world.patch(CHAOS_TEMPLATES, "latency", {"spec": {"ramp": "2m"}}, namespace=NAMESPACE)
        await world.sleep_until(utc(10, 12, 9, 20, 5))
        first = name("often", utc(10, 12, 9, 10))
        assert world.made == [first]
        assert world.run_status(first)["phase"] == "Injecting"
        (skipped,) = world.schedule("often")["skipped"]
        assert (skipped["what"], skipped["at"]) == ("StillRunning", "2026-10-12T09:20:00Z")

    play(story, start=utc(10, 12, 9, 1))


def test_an_engaged_switch_ends_the_run_and_skips_times_until_it_is_released():
    async def story(world: ScheduleWorld) -> None:
        hourly(world)
        first = name("often", utc(10, 12, 9, 10))
        await world.until(
            "it injects", lambda: first in world.made and world.run_status(first).get("phase") == "Injecting"
        )
        await world.clock.sleep(2)
        assert world.switch()["runsActive"] == 1
        world.patch(CHAOS_SWITCHES, "default", {"spec": {"engaged": True, "reason": "INC-7"}}, namespace="")
        await world.until("it is over", lambda: world.run_status(first).get("phase") == "Completed")
        assert world.run_status(first)["verdict"] == "Inconclusive"
        await world.clock.sleep(2)
        assert world.switch()["message"] == "halted; no run is at work"
        await world.sleep_until(utc(10, 12, 9, 25))
        (skipped,) = world.schedule("often")["skipped"]
        assert (skipped["what"], skipped["message"]) == ("Halted", "ChaosSwitch default is engaged: INC-7")
        world.patch(CHAOS_SWITCHES, "default", {"spec": {"engaged": False}}, namespace="")
        await world.sleep_until(utc(10, 12, 9, 31))
        assert world.made == [first, name("often", utc(10, 12, 9, 30))]

    play(story, start=utc(10, 12, 9, 1))


def test_a_template_that_is_missing_is_told_at_once_and_used_when_it_comes():
    async def story(world: ScheduleWorld) -> None:
        hourly(world)
        template = world.get(CHAOS_TEMPLATES, "latency", NAMESPACE)
        world.storage.delete(CHAOS_TEMPLATES, NAMESPACE, "latency")
        await world.until(
            "it is told", lambda: "no ChaosTemplate" in world.schedule("often").get("message", "")
        )
        world.apply({**template, "metadata": {"name": "latency", "namespace": NAMESPACE}})
        await world.until("all is well", lambda: "next at" in world.schedule("often").get("message", ""))
        await world.sleep_until(utc(10, 12, 9, 11))
        assert world.made == [name("often", utc(10, 12, 9, 10))]

    play(story, start=utc(10, 12, 9, 1))


def test_a_run_of_that_name_that_is_somebody_elses_is_left_alone_and_told():
    async def story(world: ScheduleWorld) -> None:
        hourly(world)
        taken = name("often", utc(10, 12, 9, 10))
        step = {"faults": [{"name": "kill", "podDelete": {}}]}
        world.apply(
            {
                "apiVersion": "surefoot.dev/v1alpha1",
                "kind": "ChaosRun",
                "metadata": {"name": taken, "namespace": NAMESPACE},
                "spec": {"target": {"selector": {"matchLabels": {"app": "other"}}}, "steps": [step]},
            }
        )
        await world.sleep_until(utc(10, 12, 9, 21))
        assert world.made == [taken, name("often", utc(10, 12, 9, 20))]
        assert "belongs to somebody else" in dict(world.events.told)["ChaosRunNotMade"]
        (skipped,) = world.schedule("often")["skipped"]
        assert (skipped["at"], skipped["what"]) == ("2026-10-12T09:10:00Z", "NotMade")

    play(story, start=utc(10, 12, 9, 1), only_schedules=True)


# --- crashes ------------------------------------------------------------------------------------------

KINDS: list[Kind] = ["crash-before", "crash-after", "conflict", "lost-reply", "unavailable", "throttled"]


@pytest.mark.parametrize("write", range(1, 7))
@pytest.mark.parametrize("kind", KINDS)
def test_no_time_is_run_twice_whatever_goes_wrong_at_a_write(kind: Kind, write: int):
    """The schedule's controller alone: two times, and a run that somebody deletes in between."""

    async def story(world: ScheduleWorld) -> None:
        hourly(world)
        first, second = (name("often", utc(10, 12, 9, minute)) for minute in (10, 20))
        await world.sleep_until(utc(10, 12, 9, 15))
        if first in world.made:
            world.storage.delete(CHAOS_RUNS, NAMESPACE, first)
        await world.sleep_until(utc(10, 12, 9, 25))
        assert world.made in ([first, second], [second], [first])
        told = {(one["at"], one["what"]) for one in world.schedule("often").get("skipped") or ()}
        for at, run in (("2026-10-12T09:10:00Z", first), ("2026-10-12T09:20:00Z", second)):
            assert (run in world.made) != ((at, "NotMade") in told)
        if kind in ("conflict", "unavailable", "throttled", "lost-reply"):
            assert world.made == [first, second]

    world = play(story, start=utc(10, 12, 9, 1), faults=Faults({write: kind}), only_schedules=True)
    assert world.faults.count >= write


def test_two_controllers_side_by_side_run_each_time_once():
    async def story(world: ScheduleWorld) -> None:
        hourly(world)
        await world.sleep_until(utc(10, 12, 10, 5))

    for seed in range(3):
        world = play(story, start=utc(10, 12, 9, 1), seed=seed, only_schedules=True, controllers=2)
        assert world.made == [name("often", utc(10, 12, 9, 10))]
        assert [reason for reason in world.reasons() if reason == "ChaosRunStarted"] == ["ChaosRunStarted"]
