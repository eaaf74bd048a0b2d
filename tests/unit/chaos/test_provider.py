"""The provider `chaos` against our API server in memory, and what it says of runs."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.judge import Verdict, judge
from analysis.providers.base import Progress, Task
from analysis.providers.chaos import CHAOS_RUN, UNCLAIMED_SECONDS, Chaos, run_name
from chaos.plan.words import progress_of, result_of
from rollout.api import crds
from rollout.api.analysis import Metric
from rollout.api.chaos import (
    ChaosRun,
    ChaosRunSpec,
    ChaosRunStatus,
    ChaosStep,
    Fault,
    PodDelete,
    ProbeResult,
    Receipt,
    Recovery,
)
from rollout.api.meta import Key, ObjectMeta
from rollout.api.resources import ANALYSIS_RUNS, CHAOS_RUNS, CHAOS_TEMPLATES, CRDS, NAMESPACES, ROLLOUTS
from rollout.core.validate_providers.chaos import check_chaos
from rollout.errors import ProviderError
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.storage import Storage
from tests import virtual

SPEC = {"steps": [{"faults": [{"name": "kill", "podDelete": {}}]}], "target": {"percent": 25}}
WEB = {"target": {"selector": {"matchLabels": {"app": "web"}}}, "steps": SPEC["steps"]}


class World:
    """An AnalysisRun of a Rollout, and the provider."""

    def __init__(self, clock):
        self.clock = clock
        self.storage = Storage(clock)
        for crd in crds.crds():
            self.storage.create(CRDS, None, crd)
        self.storage.create(NAMESPACES, None, {"metadata": {"name": "shop"}})
        self.provider = Chaos(StorageKube(self.storage, manager="test"))
        self.uid = ""

    def rollout(self, strategy):
        spec = {
            "replicas": 4,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "a", "image": "b"}]},
            },
            "strategy": strategy,
        }
        body = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "metadata": {"name": "web"},
            "spec": spec,
        }
        return self.storage.create(ROLLOUTS, "shop", body)

    def analysis(self, owner=None):
        meta = {"name": "web-7d-2"}
        if owner is not None:
            meta["ownerReferences"] = [
                {
                    "apiVersion": "argoproj.io/v1alpha1",
                    "kind": "Rollout",
                    "name": "web",
                    "uid": owner["metadata"]["uid"],
                    "controller": True,
                }
            ]
        body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": meta}
        made = self.storage.create(ANALYSIS_RUNS, "shop", body | {"spec": {"metrics": []}})
        self.uid = made["metadata"]["uid"]

    def task(self, number=1, metric="kill"):
        return Task(
            run=Key("shop", "web-7d-2"),
            run_uid=self.uid,
            metric=metric,
            number=number,
            start_at=self.clock.now() + timedelta(seconds=3),
        )

    async def begin(self, body, task=None):
        return await self.provider.begin(metric(body), {}, task or self.task())

    async def look(self, after=0.0):
        task = self.task()
        now = task.start_at + timedelta(seconds=after)
        return await self.provider.look(metric({}), {}, task, {}, now)

    def run(self, name="web-7d-2-kill-1"):
        return self.storage.get(CHAOS_RUNS, "shop", name)

    def status(self, **status):
        self.storage.patch(CHAOS_RUNS, "shop", "web-7d-2-kill-1", {"status": status}, subresource="status")


def metric(body):
    return Metric(name="kill", provider={"chaos": body})


def story(test):
    virtual.run(lambda clock: test(World(clock)))


# --- begin --------------------------------------------------------------------------------------------


def test_the_run_is_owned_starts_with_its_group_and_harms_the_canary():
    async def go(world):
        world.analysis(world.rollout({"canary": {}}))
        task = world.task()
        assert await world.begin({"spec": SPEC}, task) == {CHAOS_RUN: "web-7d-2-kill-1"}
        run = world.run()
        (owner,) = run["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("AnalysisRun", world.uid, True)
        assert run["spec"]["target"] == {
            "percent": 25,
            "workloadRef": {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Rollout",
                "name": "web",
                "role": "canary",
            },
        }
        assert run["spec"]["startAt"].startswith(task.start_at.isoformat()[:19])

    story(go)


def test_of_a_blue_green_release_the_preview_is_meant():
    async def go(world):
        world.analysis(world.rollout({"blueGreen": {"activeService": "web"}}))
        await world.begin({"spec": SPEC})
        assert world.run()["spec"]["target"]["workloadRef"]["role"] == "preview"

    story(go)


def test_a_target_that_is_written_stays():
    async def go(world):
        world.analysis(world.rollout({"canary": {}}))
        await world.begin({"spec": WEB})
        assert world.run()["spec"]["target"] == WEB["target"]

    story(go)


def test_a_target_that_names_nobody_is_refused_without_a_rollout():
    async def go(world):
        world.analysis()
        with pytest.raises(ProviderError, match="names nobody"):
            await world.begin({"spec": SPEC})
        assert world.storage.list(CHAOS_RUNS).items == []

    story(go)


def test_a_template_with_arguments_is_filled():
    async def go(world):
        world.analysis(world.rollout({"canary": {}}))
        spec = SPEC | {"args": [{"name": "p"}], "target": {"percent": "{{args.p}}"}}
        body = {"apiVersion": "surefoot.dev/v1alpha1", "kind": "ChaosTemplate", "metadata": {"name": "t"}}
        world.storage.create(CHAOS_TEMPLATES, "shop", body | {"spec": spec})
        await world.begin({"templateName": "t", "args": [{"name": "p", "value": "50"}]})
        assert world.run()["spec"]["target"]["percent"] == 50
        with pytest.raises(ProviderError, match="there is no ChaosTemplate"):
            await world.begin({"templateName": "missing"})
        with pytest.raises(ProviderError, match='"p" has no value'):
            await world.begin({"templateName": "t"})

    story(go)


def test_begun_again_it_is_the_same_run_and_a_stranger_of_its_name_is_refused():
    async def go(world):
        world.analysis(world.rollout({"canary": {}}))
        await world.begin({"spec": SPEC})
        uid = world.run()["metadata"]["uid"]
        assert await world.begin({"spec": SPEC}) == {CHAOS_RUN: "web-7d-2-kill-1"}
        assert world.run()["metadata"]["uid"] == uid
        world.uid = "another-analysis-run"
        with pytest.raises(ProviderError, match="belongs to somebody else"):
            await world.begin({"spec": SPEC})

    story(go)


# --- look and end -------------------------------------------------------------------------------------


def begun(test):
    async def go(world):
        world.analysis(world.rollout({"canary": {}}))
        await world.begin({"spec": SPEC})
        await test(world)

    story(go)


def test_a_run_at_work_is_progress_in_words():
    async def test(world):
        world.status(phase="Injecting", probes=[{"name": "health", "ratio": 0.9857}])
        found = await world.look()
        assert isinstance(found, Progress)
        assert found.message == "Injecting, step 1 of 1, probe health 98.6 %"

    begun(test)


@pytest.mark.parametrize("verdict", ["Successful", "Failed"])
def test_the_verdict_is_the_phase_where_there_are_no_conditions(verdict):
    async def test(world):
        world.status(phase="Completed", verdict=verdict, message="as seen")
        found = await world.look()
        assert (found.phase, found.message) == (verdict, "ChaosRun web-7d-2-kill-1: as seen")
        assert found.value["verdict"] == verdict

    begun(test)


def test_inconclusive_never_passes_whatever_the_conditions_say():
    async def test(world):
        world.status(phase="Completed", verdict="Inconclusive", message="stopped")
        found = await world.look()
        lenient = Metric(name="kill", success_condition="true")
        said = Verdict(found.phase, found.message, found.inconclusive)
        assert judge(lenient, found.value, world.clock.now(), verdict=said)[0] == "Inconclusive"

    begun(test)


@pytest.mark.parametrize("verdict", ["Error", ""])
def test_an_error_or_no_verdict_at_all_is_an_error(verdict):
    async def test(world):
        world.status(phase="Completed", verdict=verdict, message="no proof")
        with pytest.raises(ProviderError, match="no proof"):
            await world.look()

    begun(test)


def test_a_run_that_nobody_takes_up_is_an_error_in_the_end():
    async def test(world):
        assert isinstance(await world.look(UNCLAIMED_SECONDS), Progress)
        with pytest.raises(ProviderError, match="nobody has taken"):
            await world.look(UNCLAIMED_SECONDS + 1)

    begun(test)


def test_a_run_that_was_deleted_is_an_error():
    async def test(world):
        world.storage.delete(CHAOS_RUNS, "shop", "web-7d-2-kill-1")
        with pytest.raises(ProviderError, match="somebody deleted it"):
            await world.look()
        await world.provider.end(metric({}), world.task(), {})

    begun(test)


def test_the_end_aborts_what_is_at_work_and_deletes_nothing():
    async def test(world):
        await world.provider.end(metric({}), world.task(), {})
        assert world.run()["spec"]["abort"] is True
        version = world.run()["metadata"]["resourceVersion"]
        await world.provider.end(metric({}), world.task(), {})
        assert world.run()["metadata"]["resourceVersion"] == version

    begun(test)


def test_the_end_leaves_a_completed_run_as_it_is():
    async def test(world):
        world.status(phase="Completed", verdict="Successful")
        await world.provider.end(metric({}), world.task(), {})
        assert "abort" not in world.run()["spec"]

    begun(test)


def test_the_end_does_not_touch_somebody_elses_run():
    async def test(world):
        world.uid = "another-analysis-run"
        await world.provider.end(metric({}), world.task(), {})
        assert "abort" not in world.run()["spec"]

    begun(test)


# --- names, words, validation -------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=80), st.integers(1, 999))
def test_any_metric_gives_a_valid_name_of_its_own(name, number):
    task = Task(
        run=Key("shop", "web-7d.x-2"), run_uid="u", metric=name, number=number, start_at=virtual.START
    )
    made = run_name(task)
    assert len(made) <= 63
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", made)
    other = Task(run=task.run, run_uid="u", metric=f"{name} ", number=number, start_at=virtual.START)
    assert run_name(other) != made


def example(phase, **status):
    step = ChaosStep(faults=(Fault(name="kill", pod_delete=PodDelete()),))
    receipts = tuple(
        Receipt(
            id=f"r{n}",
            fault="kill",
            kind="podDelete",
            injected_at="x" if n < 2 else None,
            proof="y" if n < 1 else "",
        )
        for n in range(4)
    )
    return ChaosRun(
        metadata=ObjectMeta(name="r"),
        spec=ChaosRunSpec(steps=(step, step)),
        status=ChaosRunStatus(phase=phase, receipts=receipts, **status),
    )


def test_progress_counts_the_victims_of_the_step_and_tells_the_probes():
    run = example("Injecting", probes=(ProbeResult(name="health", ratio=0.98571), ProbeResult(name="late")))
    assert progress_of(run) == "Injecting, step 1 of 2, kill 2 of 4, probe health 98.6 %"
    assert (
        progress_of(example("Pending", message="waiting for shop/other")) == "Pending, waiting for shop/other"
    )
    assert progress_of(example("Reverting", stopping="Aborted: by hand")) == (
        "Reverting, stopping (Aborted: by hand), kill 2 of 4"
    )
    assert progress_of(ChaosRun(metadata=ObjectMeta())) == "not begun"


def test_the_result_counts_what_was_done_proved_and_undone():
    run = example(
        "Completed",
        verdict="Failed",
        recovery=Recovery(seconds=4.5),
        probes=(
            ProbeResult(
                name="health", mode="During", phase="Failed", good=3, bad=1, ratio=0.75, worst_streak=1
            ),
        ),
    )
    result = result_of(run)
    assert result["faults"][0] == {
        "name": "kill",
        "kind": "podDelete",
        "injected": 2,
        "proved": 1,
        "gone": 0,
        "refused": 0,
    }
    assert result["faults"][1]["injected"] == 0
    assert (result["verdict"], result["recoverySeconds"], result["probes"][0]["ratio"]) == (
        "Failed",
        4.5,
        0.75,
    )


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "p"),
        ({"templateName": "a", "spec": {}}, "p"),
        ({"spec": []}, "p.spec"),
        ({"templateName": 3}, "p.templateName"),
        ({"templateName": "a", "duration": "3s"}, "p.duration"),
        ({"templateName": "a", "args": {}}, "p.args"),
        ({"templateName": "a", "args": [{"name": "x", "value": 3}]}, "p.args[0]"),
        ({"templateName": "a", "args": [{"name": "x"}]}, "p.args[0]"),
        (
            {"templateName": "a", "args": [{"name": "x", "value": "1"}, {"name": "x", "value": "2"}]},
            "p.args[1].name",
        ),
    ],
)
def test_a_wrong_body_is_named(body, path):
    (problem,) = check_chaos(body, "p")
    assert problem.path == path


def test_a_right_body_is_right():
    assert list(check_chaos({"templateName": "a", "args": [{"name": "x", "value": "1"}]}, "p")) == []
    assert list(check_chaos({"spec": {}}, "p")) == []
