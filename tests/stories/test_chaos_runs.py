"""The life of a ChaosRun, from the happy path to everything that can come in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from chaos.faults.kinds import KINDS
from chaos.faults.pod_delete import PodDeletion
from rollout.api.chaos import FINALIZER, OPT_IN, OPT_IN_FROM
from rollout.api.meta import timestamp
from rollout.api.resources import ANALYSIS_RUNS, CHAOS_RUNS, NAMESPACES, PODS
from rollout.runtime.kube import Object
from rollout.sandbox.workloads.podmodel import Behaviour
from tests.stories.chaos_objects import budget, chaos_run, deployment, kill, opted_in, probe
from tests.stories.world import NAMESPACE, World, play

GOOD = Behaviour(ready_in=2.0)


def stage(world: World, *, replicas: int = 4, behaviour: Behaviour = GOOD) -> None:
    world.images["*"] = behaviour
    world.apply(opted_in(), deployment(replicas=replicas))


def pods(world: World) -> list[Object]:
    return [one for one in world.list(PODS) if not one["metadata"].get("deletionTimestamp")]


def ready(world: World, count: int) -> Callable[[], bool]:
    def holds() -> bool:
        conditions = [one.get("status", {}).get("conditions") or () for one in pods(world)]
        return (
            sum(any(c["type"] == "Ready" and c["status"] == "True" for c in some) for some in conditions)
            == count
        )

    return holds


def status(world: World, name: str = "run") -> Object:
    return world.get(CHAOS_RUNS, name).get("status") or {}


def phase(world: World, *phases: str, name: str = "run") -> Callable[[], bool]:
    return lambda: status(world, name).get("phase") in phases


async def completed(world: World, name: str = "run", *, within: float = 400.0) -> Object:
    await world.until("completed", phase(world, "Completed", name=name), within=within)
    await world.until(
        "its finalizer is off",
        lambda: FINALIZER not in (world.get(CHAOS_RUNS, name)["metadata"].get("finalizers") or ()),
        within=10,
    )
    world.chaos_rules.assert_clean()
    return status(world, name)


def chaos(
    story: Callable[[World], Awaitable[None]], answer: Callable[[str], Any] = lambda _: [1.0], **more: Any
):
    return play(story, answer=answer, chaos=True, **more)


# --- the happy path -----------------------------------------------------------------------------------

PROBES = [
    probe("up", "Edge", attempts=3),
    probe("serving", "Continuous", interval="1s"),
    probe("errors", "During", interval="1s", tolerance={"ratio": 0.9}),
]


def test_pods_are_evicted_and_every_probe_holds_so_the_run_is_successful():
    async def story(world: World) -> None:
        stage(world)
        await world.until("four pods are ready", ready(world, 4))
        before = {one["metadata"]["uid"] for one in pods(world)}
        world.apply(
            chaos_run(
                kill(),
                target={"workloadRef": {"kind": "Deployment", "name": "web"}, "percent": 50},
                probes=PROBES,
            )
        )

        end = await completed(world)

        after = {one["metadata"]["uid"] for one in pods(world)}
        assert (end["verdict"], len(before & after)) == ("Successful", 2), end["message"]
        assert [one["state"] for one in end["receipts"]] == ["Reverted", "Reverted"]
        assert all(one["proof"] and one["gone"] for one in end["receipts"])
        assert {one["victim"]["uid"] for one in end["receipts"]} == before - after
        assert {(one["name"], one["mode"]): one["phase"] for one in end["probes"]} == {
            ("up", "Start"): "Successful",
            ("serving", "Continuous"): "Successful",
            ("errors", "During"): "Successful",
            ("up", "End"): "Successful",
        }
        assert end["recovery"]["seconds"] >= 0
        assert end["requestedBy"] == "unknown" or end["requestedBy"]
        whats = [one["what"] for one in end["journal"]]
        assert whats.index("FaultPlanned") < whats.index("FaultProved") < whats.index("FaultReverted")
        runs = {one["metadata"]["name"]: one["status"]["phase"] for one in world.list(ANALYSIS_RUNS)}
        assert set(runs) == {"run-start", "run-continuous", "run-during", "run-end"}
        assert "Running" not in runs.values()

    chaos(story)


def test_the_same_seed_takes_the_same_pods():
    taken = []

    async def story(world: World) -> None:
        stage(world, replicas=8)
        await world.until("pods are ready", ready(world, 8))
        names = sorted(one["metadata"]["name"] for one in pods(world))
        world.apply(chaos_run(seed=7, dryRun="Targets", target={**TARGET, "count": 3}))
        await completed(world)
        taken.append([names.index(one["name"]) for one in status(world)["victims"]])
        assert status(world)["seed"] == 7

    chaos(story)
    chaos(story)
    assert taken[0] == taken[1]
    assert len(set(taken[0])) == 3


TARGET = {"workloadRef": {"kind": "Deployment", "name": "web"}}


def test_rounds_take_replacements_when_they_may():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        target = {**TARGET, "retarget": "Replaced"}
        world.apply(chaos_run(kill(interval="5s"), duration="20s", target=target, probes=PROBES))
        end = await completed(world)

        assert [one.get("round", 0) for one in end["receipts"]] == [0, 1, 2, 3]
        assert end["verdict"] == "Successful", end["message"]

    chaos(story)


def test_serial_means_the_next_pod_goes_when_the_last_one_was_replaced():
    gone: list[float] = []

    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(
            chaos_run(kill(sequence="serial"), duration="30s", target={**TARGET, "count": 2}, probes=PROBES)
        )
        await world.until("the first is harmed", lambda: len(world.chaos_rules.harmed) == 1)
        gone.append(world.clock.monotonic())
        await world.until("the second is harmed", lambda: len(world.chaos_rules.harmed) == 2)
        gone.append(world.clock.monotonic())
        assert (await completed(world))["verdict"] == "Successful"

    chaos(story)
    assert gone[1] - gone[0] >= 2.0


def test_steps_follow_each_other_with_a_pause():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        steps = [{"faults": [kill("first")], "pause": "5s"}, {"faults": [kill("second")]}]
        world.apply(chaos_run(steps=steps, duration="5s", probes=PROBES))
        end = await completed(world)

        assert [(one["fault"], one.get("step", 0)) for one in end["receipts"]] == [
            ("first", 0),
            ("second", 1),
        ]
        assert end["verdict"] == "Successful", end["message"]

    chaos(story)


# --- verdicts -----------------------------------------------------------------------------------------


def test_a_run_without_probes_is_never_successful():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run())
        end = await completed(world)
        assert (end["verdict"], "no probes" in end["message"]) == ("Inconclusive", True)
        assert end["receipts"][0]["state"] == "Reverted"

    chaos(story)


def test_a_failing_start_probe_means_no_injection():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(probes=[probe("well", "Start")]))
        end = await completed(world)
        assert (end["verdict"], end.get("receipts")) == ("Failed", None)
        assert "before any fault" in end["message"]
        assert world.chaos_rules.harmed == []

    chaos(story, lambda _: [0.5])


def test_a_probe_that_cannot_be_measured_is_an_error():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(probes=[probe("well", "During", interval="1s")]))
        assert (await completed(world))["verdict"] == "Error"

    chaos(story, lambda _: [])


def test_a_probe_below_its_ratio_fails_the_run_after_the_fault_is_undone():
    answers = [0.5, 0.5, 0.5]

    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(probes=[probe("well", "During", interval="1s", tolerance={"ratio": 0.9})]))
        end = await completed(world)
        assert end["verdict"] == "Failed"
        assert end["probes"][0]["worstStreak"] == 3
        assert "tolerance.ratio" in end["probes"][0]["message"]

    chaos(story, lambda _: [answers.pop() if answers else 1.0])


def test_a_streak_that_is_too_long_fails_even_a_generous_ratio():
    samples: list[int] = []

    def answer(_: str) -> list[float]:
        samples.append(1)
        return [0.0 if 3 <= len(samples) <= 5 else 1.0]

    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        tolerance = {"ratio": 0.1, "streak": 2}
        world.apply(
            chaos_run(duration="20s", probes=[probe("well", "During", interval="1s", tolerance=tolerance)])
        )
        end = await completed(world)
        assert (end["verdict"], "3 samples in a row" in end["message"]) == ("Failed", True)

    chaos(story, answer)


def test_a_fatal_probe_ends_the_run_at_once():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        fatal = probe("well", "During", interval="1s", failurePolicy="Abort")
        world.apply(chaos_run(duration="10m", probes=[fatal]))
        end = await completed(world, within=60)
        assert (end["verdict"], end["stopping"].split(":")[0]) == ("Failed", "ProbeFailed")

    chaos(story, lambda _: [0.0])


def test_a_stop_condition_ends_the_run_and_fails_it():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        metric = {name: one for name, one in probe("slo", "During", "slo").items() if name != "mode"}
        world.apply(chaos_run(duration="10m", stopConditions=[metric], probes=PROBES))
        await world.until("a fault is at work", phase(world, "Injecting"))
        answers["slo"] = [0.1]
        end = await completed(world, within=60)
        assert (end["verdict"], end["stopping"].split(":")[0]) == ("Failed", "StopCondition")
        assert "does not hold for" in end["message"], "a person has to see what was measured"

    answers: dict[str, list[float]] = {}
    chaos(story, lambda query: answers.get(query, [1.0]))


def test_pods_that_do_not_come_back_in_time_fail_the_run():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.images["*"] = Behaviour(ready_in=None)
        world.apply(chaos_run(recoveryTimeout="20s", probes=[probe("up", "Start")]))
        end = await completed(world)
        assert (end["verdict"], "not whole again" in end["message"]) == ("Failed", True)
        assert "3 of 4" in end["recovery"]["waitingFor"]

    chaos(story)


def test_a_pod_that_does_not_go_is_said_loudly_and_the_run_ends_all_the_same():
    async def story(world: World) -> None:
        stage(world, behaviour=Behaviour(stops_in=1000.0))
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(revertTimeout="10s", probes=[probe("up", "Start")]))
        end = await completed(world)
        assert end["verdict"] == "Error"
        assert end["receipts"][0]["state"] == "Unverified"
        assert "RevertUnverified" in world.reasons()
        assert {one["type"] for one in end["conditions"]} == {"RevertUnverified", "Stalled"}

    chaos(story)


class Broken(PodDeletion):
    """A kind with a defect: it cannot say whether its pod is gone."""

    def gone(self, receipt: Any, world: Any) -> str:
        raise KeyError("defect")


def test_a_kind_with_a_defect_holds_no_run_up():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(revertTimeout="10s", probes=[probe("up", "Start")]))
        end = await completed(world, within=60)
        assert (end["verdict"], end["receipts"][0]["state"]) == ("Error", "Unverified")

    chaos(story, kinds={**KINDS, "podDelete": Broken()})


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "replicas", "target", "words"),
    [
        ({}, 1, {"count": 1}, "last ready pod"),
        ({"maxPercent": 100}, 2, {"percent": 100}, "last ready pod"),
        ({"minReady": 3, "maxPercent": 100}, 4, {"count": 2}, "limits.minReady is 3"),
        ({"maxPods": 1}, 4, {"count": 2}, "limits.maxPods is 1"),
        ({}, 4, {"count": 3}, "limits.maxPercent is 50"),
        ({}, 2, {"count": 5}, "only 2 ready ones"),
    ],
)
def test_more_than_the_limits_allow_is_refused_before_any_damage(limits, replicas, target, words):
    async def story(world: World) -> None:
        stage(world, replicas=replicas)
        await world.until("ready", ready(world, replicas))
        world.apply(chaos_run(limits=limits, target={**TARGET, **target}, probes=PROBES))
        end = await completed(world)
        assert (end["verdict"], words in end["message"]) == ("Error", True), end["message"]
        assert world.chaos_rules.harmed == []

    chaos(story)


def test_the_last_pod_is_taken_when_that_is_allowed():
    async def story(world: World) -> None:
        stage(world, replicas=1)
        await world.until("ready", ready(world, 1))
        limits = {"allowTotal": True, "maxPercent": 100}
        world.apply(chaos_run(limits=limits, probes=[probe("up", "Edge")]))
        world.apply(
            {
                "apiVersion": "surefoot.dev/v1alpha1",
                "kind": "ChaosSwitch",
                "metadata": {"name": "default"},
                "spec": {"caps": {"percentPerNamespace": 100}},
            }
        )
        assert (await completed(world))["verdict"] == "Successful"

    chaos(story)


def test_a_disruption_budget_that_allows_nothing_is_found_before_any_damage():
    async def story(world: World) -> None:
        stage(world)
        world.apply(budget(4))
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(probes=PROBES))
        end = await completed(world)
        assert (end["verdict"], "PodDisruptionBudget" in end["message"]) == ("Error", True)
        assert world.chaos_rules.harmed == []

    chaos(story)


def test_a_budget_that_closes_in_the_middle_refuses_the_eviction_and_that_is_no_proof():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(ramp="5s", probes=[probe("up", "Start")]))
        await world.until("admitted", phase(world, "Checking"))
        world.apply(budget(4))
        end = await completed(world)
        assert end["verdict"] == "Error"
        assert end["receipts"][0]["state"] == "Refused"
        assert "disruption budget" in end["receipts"][0]["message"]
        assert len([one for one in end["journal"] if one["what"] == "NotNow"]) == 1

    chaos(story)


def test_a_namespace_that_has_not_opted_in_is_not_touched():
    async def story(world: World) -> None:
        stage(world)
        world.patch(NAMESPACES, NAMESPACE, {"metadata": {"labels": {OPT_IN: None}}})
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(probes=PROBES))
        end = await completed(world)
        assert (end["verdict"], "has not opted in" in end["message"]) == ("Error", True)

    chaos(story)


@pytest.mark.parametrize("welcome", [True, False])
def test_runs_of_another_namespace_need_its_word(welcome):
    async def story(world: World) -> None:
        stage(world)
        if welcome:
            note = {"metadata": {"annotations": {OPT_IN_FROM: "other, team"}}}
            world.patch(NAMESPACES, NAMESPACE, note)
        await world.until("ready", ready(world, 4))
        run = chaos_run(target={**TARGET, "namespace": NAMESPACE}, probes=PROBES)
        run["metadata"]["namespace"] = "team"
        world.apply(run)

        def over() -> bool:
            return (world.get(CHAOS_RUNS, "run", "team").get("status") or {}).get("phase") == "Completed"

        await world.until("completed", over, within=120)
        end = world.get(CHAOS_RUNS, "run", "team")["status"]
        assert end["verdict"] == ("Successful" if welcome else "Error"), end["message"]
        assert bool(world.chaos_rules.harmed) is welcome

    chaos(story)


def test_a_dry_run_of_the_targets_says_whom_and_touches_nobody():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(dryRun="Targets", target={**TARGET, "count": 2}, probes=PROBES))
        end = await completed(world)
        assert (end["verdict"], len(end["victims"])) == ("Inconclusive", 2)
        assert (world.chaos_rules.harmed, world.list(ANALYSIS_RUNS)) == ([], [])

    chaos(story)


def test_a_dry_run_of_the_probes_measures_and_harms_nobody():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(dryRun="Probes", probes=PROBES))
        end = await completed(world)
        assert end["verdict"] == "Inconclusive"
        assert {one["phase"] for one in end["probes"]} == {"Successful"}
        assert world.chaos_rules.harmed == []

    chaos(story)


def test_an_invalid_spec_is_an_error_at_once():
    async def story(world: World) -> None:
        stage(world)
        world.apply(chaos_run(target={}, probes=PROBES))
        end = await completed(world, within=5)
        assert (end["verdict"], "workloadRef, selector or podNames" in end["message"]) == ("Error", True)

    chaos(story)


# --- somebody's word ----------------------------------------------------------------------------------


def test_an_abort_in_the_middle_undoes_and_is_inconclusive():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(duration="10m", probes=PROBES))
        await world.until("at work", lambda: bool(status(world).get("injectedAt")))
        world.patch(CHAOS_RUNS, "run", {"spec": {"abort": True}})
        end = await completed(world, within=30)
        assert (end["verdict"], end["message"]) == ("Inconclusive", "Stopped: spec.abort was set")

    chaos(story)


def switch(*, engaged: bool = True, **spec: Any) -> Object:
    return {
        "apiVersion": "surefoot.dev/v1alpha1",
        "kind": "ChaosSwitch",
        "metadata": {"name": "default"},
        "spec": {"engaged": engaged, "reason": "freeze", **spec},
    }


def test_the_switch_ends_what_runs_and_lets_nothing_begin():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(duration="10m", probes=PROBES))
        await world.until("at work", lambda: bool(status(world).get("injectedAt")))
        world.apply(switch())
        end = await completed(world, within=30)
        assert (end["verdict"], "freeze" in end["message"]) == ("Inconclusive", True)
        harmed = list(world.chaos_rules.harmed)

        world.apply(chaos_run(name="later", probes=PROBES))
        assert (await completed(world, "later", within=10))["verdict"] == "Inconclusive"
        assert world.chaos_rules.harmed == harmed

    chaos(story)


def test_a_run_that_is_deleted_in_the_middle_goes_and_leaves_nothing():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(duration="10m", probes=PROBES))
        await world.until("at work", lambda: bool(status(world).get("injectedAt")))
        world.storage.delete(CHAOS_RUNS, NAMESPACE, "run")
        await world.until("gone", lambda: not world.list(CHAOS_RUNS), within=60)
        await world.until("its AnalysisRuns are gone", lambda: not world.list(ANALYSIS_RUNS), within=10)
        world.chaos_rules.assert_clean()

    chaos(story)


def test_a_deleted_run_whose_fault_does_not_end_lets_go_in_time():
    async def story(world: World) -> None:
        stage(world, behaviour=Behaviour(stops_in=1000.0))
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(duration="10m", revertTimeout="20s", probes=[probe("up", "Start")]))
        await world.until("at work", lambda: bool(status(world).get("injectedAt")))
        world.storage.delete(CHAOS_RUNS, NAMESPACE, "run")
        await world.until("gone", lambda: not world.list(CHAOS_RUNS), within=80)
        assert "RevertUnverified" in world.reasons()

    chaos(story)


def test_no_fault_begins_before_its_time():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        begin = world.clock.now() + timedelta(seconds=100)
        world.apply(chaos_run(startAt=timestamp(begin), probes=PROBES))
        await world.clock.sleep(30)
        assert phase(world, "Pending")()
        end = await completed(world)
        assert end["verdict"] == "Successful", end["message"]
        assert timestamp(begin) <= end["injectedAt"] <= timestamp(begin + timedelta(seconds=3))

    chaos(story)


def stop_on(query: str) -> Object:
    return {name: one for name, one in probe("slo", "During", query).items() if name != "mode"}


@pytest.mark.parametrize(("role", "cause"), [("stop", "Unmeasured"), ("during", "")])
def test_a_measurement_that_somebody_deletes_is_no_pass(role, cause):
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(duration="20s", stopConditions=[stop_on("up")], probes=PROBES))
        await world.until("at work", lambda: bool(status(world).get("injectedAt")))
        await world.clock.sleep(4)
        world.storage.delete(ANALYSIS_RUNS, NAMESPACE, f"run-{role}")
        end = await completed(world)
        assert (end["verdict"], end.get("stopping", "").partition(":")[0]) == ("Error", cause)

    chaos(story)


def test_stop_conditions_that_are_not_measured_any_more_end_the_run():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(duration="10m", stopConditions=[stop_on("slo")], probes=[probe("up", "Start")]))
        await world.until("at work", lambda: bool(status(world).get("injectedAt")))
        world.stall["slo"] = True
        end = await completed(world, within=90)
        assert (end["verdict"], "was not measured for" in end["message"]) == ("Error", True), end["message"]

    chaos(story)


# --- beside each other --------------------------------------------------------------------------------


def test_runs_of_one_namespace_wait_for_each_other():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(name="one", probes=PROBES), chaos_run(name="two", probes=PROBES))
        together = 0
        while not all(phase(world, "Completed", name=name)() for name in ("one", "two")):
            world.chaos_rules.assert_kept()
            active = [
                name
                for name in ("one", "two")
                if not phase(world, "", None, "Pending", "Completed", name=name)()
            ]
            together = max(together, len(active))
            await world.clock.sleep(0.2)
        assert together == 1
        assert {status(world, name)["verdict"] for name in ("one", "two")} == {"Successful"}

    chaos(story)


def test_a_run_that_never_gets_its_turn_ends_at_its_start_deadline():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(name="long", duration="5m", probes=PROBES))
        await world.until("at work", lambda: bool(status(world, "long").get("injectedAt")))
        world.apply(chaos_run(name="late", startDeadline="30s", probes=PROBES))
        end = await completed(world, "late", within=40)
        assert (end["verdict"], "prod/long" in end["message"]) == ("Error", True)
        world.patch(CHAOS_RUNS, "long", {"spec": {"abort": True}})
        await completed(world, "long")

    chaos(story)


def test_two_runs_never_take_pods_of_one_workload_at_one_time():
    async def story(world: World) -> None:
        stage(world, replicas=8)
        world.apply(switch(engaged=False, caps={"runsPerNamespace": 5}))
        await world.until("ready", ready(world, 8))
        world.apply(chaos_run(name="one", probes=PROBES), chaos_run(name="two", probes=PROBES))
        await world.until(
            "both done", lambda: all(phase(world, "Completed", name=one)() for one in ("one", "two"))
        )
        waits = [entry["message"] for name in ("one", "two") for entry in status(world, name)["journal"]]
        assert any("is under a fault of the family 'pods'" in said for said in waits)

    chaos(story)


def test_a_run_whose_time_to_live_is_over_is_deleted():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(ttlSecondsAfterFinished=30))
        await completed(world)
        await world.until("deleted", lambda: not world.list(CHAOS_RUNS), within=40)

    chaos(story)


def test_nothing_is_written_while_a_completed_run_rests():
    async def story(world: World) -> None:
        stage(world)
        await world.until("ready", ready(world, 4))
        world.apply(chaos_run(probes=PROBES))
        await completed(world)
        await world.clock.sleep(5)
        assert await world.rest(600) == 0

    chaos(story)
