"""The rules bite: the peers' bugs (study/reliability.md 5), made in our code by patch, are each caught.

The plan's own check of invariants is switched off here: what is tested are the rules on the server's state.
"""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from rollout.controller import journal
from rollout.core.actions import PatchReplicaSet
from rollout.core.observed import hash_label
from rollout.plan import bluegreen, canary, decide, diff, draft, plan, sets, steps
from rollout.traffic import gateway
from tests.simulation.run import simulate
from tests.simulation.scenario import Command, Scenario
from tests.stories.objects import HTTP_ROUTE, ISTIO_SUBSETS, analysis
from tests.stories.objects import canary as canary_strategy

UPDATE = Command(10.0, "image", "web:v2")


def release(*commands: Command, steps_: tuple[Any, ...] = (), **more: Any) -> Scenario:
    strategy = canary_strategy(
        *(steps_ or ({"setWeight": 40}, {"analysis": analysis()}, {"setWeight": 80})),
        trafficRouting=ISTIO_SUBSETS,
        abortScaleDownDelaySeconds=5,
        scaleDownDelaySeconds=5,
    )
    pods = {"web:v2": {"ready_in": 3.0}}
    return Scenario(
        seed=3,
        style="subsets",
        strategy=strategy,
        replicas=5,
        pods=pods,
        commands=(UPDATE, *commands),
        **more,
    )


def beside(*commands: Command, **fields: Any) -> Scenario:
    strategy = {"blueGreen": {"activeService": "web-active", "previewService": "web-preview", **fields}}
    pods = {"web:v2": {"ready_in": 3.0}}
    return Scenario(
        seed=3, style="blue-green", strategy=strategy, replicas=3, pods=pods, commands=(UPDATE, *commands)
    )


def by_route(*commands: Command) -> Scenario:
    """A release by an HTTPRoute whose Gateway takes its time."""
    strategy = canary_strategy(
        {"setWeight": 40},
        {"pause": {}},
        trafficRouting=HTTP_ROUTE,
        canaryService="web-canary",
        stableService="web-stable",
        abortScaleDownDelaySeconds=5,
    )
    return Scenario(
        seed=3, style="route", strategy=strategy, replicas=5, commands=(UPDATE, *commands), gateway=20.0
    )


@pytest.fixture(autouse=True)
def _unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "check", lambda *_: None)


def caught(scenario: Scenario, rule: str) -> bool:
    return any(one.startswith(rule) for one in simulate(scenario))


def test_without_mutants_nothing_is_caught() -> None:
    assert simulate(release()) == []
    assert simulate(beside(prePromotionAnalysis=analysis())) == []
    assert simulate(release(Command(30.0, "abort"), steps_=({"setWeight": 40}, {"pause": {}}))) == []
    assert simulate(by_route(Command(90.0, "abort"))) == []
    assert simulate(by_route(Command(90.0, "promote-full"))) == []


def test_a_weight_that_counts_before_the_gateway_serves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "unserved", lambda route: "")
    assert caught(by_route(), "I4")


def test_shrinking_stable_before_the_traffic_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = canary._Canary._at_step

    def early(self: Any, ctx: Any) -> Any:
        desired = wanted(self, ctx)
        stable = self._draft.status.stable_rs
        return msgspec.structs.replace(desired, replicas={**desired.replicas, stable: 1})

    monkeypatch.setattr(canary._Canary, "_at_step", early)
    monkeypatch.setattr(diff, "_may_shrink", lambda *_: True)
    assert caught(release(), "I2")


def test_raising_the_weight_before_the_pods_are_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(self: Any, weight: int) -> int:
        return weight if self._live.canary_hash == self._sets.hash else 0

    monkeypatch.setattr(canary._Canary, "_safe_weight", at_once)
    monkeypatch.setattr(canary._Canary, "_has_pods", lambda self, one: True)
    assert caught(release(), "I2")


@pytest.mark.slow  # the two writers undo each other until the end
def test_emptying_a_set_that_a_subset_still_names(monkeypatch: pytest.MonkeyPatch) -> None:
    real = diff._shrink

    def at_once(desired: Any, seen: Any, live: Any) -> Any:
        yield from real(desired, seen, live)
        for one in seen.sets.all:
            named = live is not None and live.canary_hash == hash_label(one)
            if named and seen.rollout.status.abort and one.spec.replicas:
                meta = one.metadata
                yield PatchReplicaSet(name=meta.name, resource_version=meta.resource_version, replicas=0)

    monkeypatch.setattr(diff, "_shrink", at_once)
    paused = ({"setWeight": 40}, {"pause": {}})
    assert caught(release(Command(30.0, "abort"), steps_=paused), "I4")


def test_promoting_on_an_inconclusive_analysis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "overruled", lambda draft: True)
    assert caught(release(Command(5.0, "verdict", "Inconclusive")), "I7")


def test_promoting_without_asking_the_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps.Analysis, "done", lambda self, ctx: True)
    assert caught(release(), "I7")


def test_a_blue_green_switch_without_its_analysis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bluegreen._BlueGreen, "_passed", lambda self, role, analysis: True)
    assert caught(beside(prePromotionAnalysis=analysis()), "I7")


def test_a_verdict_that_is_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps.Analysis, "done", lambda self, ctx: False)
    assert caught(release(), "I18")


def test_a_canary_that_leaves_at_once_after_an_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sets.retire_older

    def at_once(draft_: Any, candidates: Any, *, delay: int, keep: Any = None) -> Any:
        return real(draft_, candidates, delay=0, keep=keep)

    monkeypatch.setattr(canary, "retire_older", at_once)
    paused = ({"setWeight": 40}, {"pause": {}})
    assert caught(release(Command(30.0, "abort"), steps_=paused), "I6")


def test_a_pause_that_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "pause_seconds", lambda value: 2.0)
    assert caught(release(steps_=({"setWeight": 20}, {"pause": {"duration": 9}})), "I9")


def test_a_pause_that_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft.Draft, "resumed_by_hand", lambda self: True)
    assert caught(release(steps_=({"setWeight": 20}, {"pause": {}})), "I9")


def test_a_switch_that_status_does_not_know_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        bluegreen._BlueGreen, "_able", lambda self, one: self._sets.hash if self._sets.new else ""
    )
    assert caught(beside(autoPromotionEnabled=False), "I")


def test_a_status_that_is_written_at_every_look(monkeypatch: pytest.MonkeyPatch) -> None:
    real, counter = decide.finish, itertools.count()

    def restless(one: Any, *, creating: bool) -> None:
        real(one, creating=creating)
        one.set(selector=str(next(counter)))

    monkeypatch.setattr(decide, "finish", restless)
    assert caught(release(), "I15") or caught(release(), "I18")


def test_a_decision_that_is_recorded_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    real = journal.decision_of
    monkeypatch.setattr(journal, "decision_of", lambda outcome, last: real(outcome, None))
    again = release(faults=dict.fromkeys(range(8, 30, 3), "crash-after"))
    assert caught(again, "I16")


def test_a_decision_that_is_recorded_after_its_act(monkeypatch: pytest.MonkeyPatch) -> None:
    real = journal.Journal.note
    waiting: list[Any] = []

    async def late(self: Any, seen: Any, outcome: Any) -> None:
        waiting.append((seen, outcome))
        if len(waiting) > 1:
            await real(self, *waiting.pop(0))

    monkeypatch.setattr(journal.Journal, "note", late)
    assert caught(release(), "I16")


def test_a_decision_that_rests_on_what_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    real = journal.inputs_of

    def less(*args: Any, **more: Any) -> Any:
        return msgspec.structs.replace(real(*args, **more), runs=())

    monkeypatch.setattr(journal, "inputs_of", less)
    assert caught(release(), "I16")
