"""Chaos actions against the semantics of an API server: preconditions, and what is told back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from chaos.actions import (
    AddEphemeralContainer,
    Create,
    Delete,
    Patch,
    RemovePod,
    Scale,
    SetFinalizer,
)
from rollout.api import crds
from rollout.api.chaos import FINALIZER
from rollout.api.resources import (
    ANALYSIS_RUNS,
    CHAOS_RUNS,
    CRDS,
    DEPLOYMENTS,
    NAMESPACES,
    NETWORK_POLICIES,
    PDBS,
    PODS,
)
from rollout.effects import chaos as effects
from rollout.errors import Conflict, NotFound
from rollout.runtime.clock import LoopClock
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.storage import Storage
from tests import virtual

NS = "prod"


class Stage:
    def __init__(self, clock: LoopClock) -> None:
        self.storage = Storage(clock)
        for crd in crds.crds():
            self.storage.create(CRDS, None, crd)
        self.storage.create(NAMESPACES, None, {"metadata": {"name": NS}})
        self.kube = StorageKube(self.storage, manager="surefoot")
        self.run = self.storage.create(
            CHAOS_RUNS,
            NS,
            {
                "apiVersion": "surefoot.dev/v1alpha1",
                "kind": "ChaosRun",
                "metadata": {"name": "run", "finalizers": ["somebody/else"]},
                "spec": {},
            },
        )
        self.pod = self.storage.create(
            PODS,
            NS,
            {
                "metadata": {"name": "web", "labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web"}]},
            },
        )

    async def do(self, *actions):
        return await effects.apply(actions, self.run, self.kube)

    @property
    def uid(self) -> str:
        return self.pod["metadata"]["uid"]

    def remove(self, **fields):
        return RemovePod(
            **{"namespace": NS, "name": "web", "uid": self.uid, "evict": True, "receipt": "r"} | fields
        )


def play(story: Callable[[Stage], Awaitable[None]]) -> None:
    async def main(clock: LoopClock) -> None:
        await story(Stage(clock))

    virtual.run(main)


def test_a_budget_that_refuses_is_told_back_and_the_next_action_is_done_all_the_same():
    async def story(stage: Stage) -> None:
        selector = {"matchLabels": {"app": "web"}}
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        stage.storage.patch(PODS, NS, "web", {"status": ready}, subresource="status")
        stage.storage.create(
            PDBS, NS, {"metadata": {"name": "web"}, "spec": {"minAvailable": 1, "selector": selector}}
        )
        delete = stage.remove(evict=False, grace_seconds=0)
        _, troubles = await stage.do(stage.remove(), delete)
        assert [(one.action, one.refused) for one in troubles] == [(stage.remove(), True)]
        assert not stage.storage.exists(PODS, NS, "web")

    play(story)


@pytest.mark.parametrize("evict", [True, False])
def test_another_pod_of_the_same_name_is_left_alone(evict):
    async def story(stage: Stage) -> None:
        _, troubles = await stage.do(stage.remove(uid="another", evict=evict))
        assert stage.storage.exists(PODS, NS, "web")
        assert [one.refused for one in troubles] == [False]

    play(story)


def test_a_pod_that_is_gone_already_is_no_trouble():
    async def story(stage: Stage) -> None:
        assert (await stage.do(stage.remove(name="gone")))[1] == ()

    play(story)


def measuring(owner: str):
    return Create(
        resource=ANALYSIS_RUNS,
        object={
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisRun",
            "metadata": {
                "name": "run-start",
                "namespace": NS,
                "ownerReferences": [
                    {"apiVersion": "surefoot.dev/v1alpha1", "kind": "ChaosRun", "name": "run", "uid": owner}
                ],
            },
            "spec": {"metrics": []},
        },
    )


def test_what_was_made_before_a_crash_counts_as_made_and_what_is_anothers_does_not():
    async def story(stage: Stage) -> None:
        mine = measuring(stage.run["metadata"]["uid"])
        assert (await stage.do(mine))[1] == ()
        assert (await stage.do(mine))[1] == ()
        stage.storage.patch(
            ANALYSIS_RUNS, NS, "run-start", {"metadata": {"ownerReferences": None}}, type="merge"
        )
        _, (trouble,) = await stage.do(mine)
        assert "belongs to somebody else" in trouble.message

    play(story)


def test_a_workload_that_somebody_else_has_scaled_is_left_alone():
    async def story(stage: Stage) -> None:
        spec = {
            "replicas": 4,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web"}]},
            },
        }
        made = stage.storage.create(DEPLOYMENTS, NS, {"metadata": {"name": "web"}, "spec": spec})

        def scale(expected: int, uid: str = made["metadata"]["uid"]) -> Scale:
            return Scale(
                resource=DEPLOYMENTS, namespace=NS, name="web", replicas=1, expected=expected, uid=uid
            )

        for wrong in (scale(5), scale(4, "another")):
            _, (trouble,) = await stage.do(wrong)
            assert "somebody else has scaled it" in trouble.message
            assert stage.storage.get(DEPLOYMENTS, NS, "web")["spec"]["replicas"] == 4
        assert (await stage.do(scale(4)))[1] == ()
        assert stage.storage.get(DEPLOYMENTS, NS, "web")["spec"]["replicas"] == 1

    play(story)


def test_the_finalizer_comes_and_goes_beside_those_of_others():
    async def story(stage: Stage) -> None:
        version = stage.run["metadata"]["resourceVersion"]
        after, _ = await stage.do(SetFinalizer(present=True, resource_version=version))
        stage.run = stage.storage.get(CHAOS_RUNS, NS, "run")
        assert stage.run["metadata"]["finalizers"] == ["somebody/else", FINALIZER]
        assert after == stage.run["metadata"]["resourceVersion"]
        with pytest.raises(Conflict):
            await stage.do(SetFinalizer(present=False, resource_version=version))
        await stage.do(SetFinalizer(present=False, resource_version=after))
        assert stage.storage.get(CHAOS_RUNS, NS, "run")["metadata"]["finalizers"] == ["somebody/else"]

    play(story)


def test_only_the_object_that_was_made_is_deleted():
    async def story(stage: Stage) -> None:
        policy = {"metadata": {"name": "out"}, "spec": {"podSelector": {}}}
        made = stage.storage.create(NETWORK_POLICIES, NS, policy)
        await stage.do(Delete(resource=NETWORK_POLICIES, namespace=NS, name="out", uid="another"))
        assert stage.storage.exists(NETWORK_POLICIES, NS, "out")
        uid = made["metadata"]["uid"]
        await stage.do(Delete(resource=NETWORK_POLICIES, namespace=NS, name="out", uid=uid))
        with pytest.raises(NotFound):
            stage.storage.get(NETWORK_POLICIES, NS, "out")
        assert (await stage.do(Delete(resource=NETWORK_POLICIES, namespace=NS, name="out")))[1] == ()

    play(story)


def test_a_patch_that_rests_on_an_old_version_is_told_back():
    async def story(stage: Stage) -> None:
        patch = {"metadata": {"annotations": {"a": "b"}}}
        old = Patch(resource=PODS, namespace=NS, name="web", patch=patch, resource_version="1")
        assert len((await stage.do(old))[1]) == 1
        assert (await stage.do(Patch(resource=PODS, namespace=NS, name="web", patch=patch)))[1] == ()
        assert stage.storage.get(PODS, NS, "web")["metadata"]["annotations"] == {"a": "b"}

    play(story)


def test_an_ephemeral_container_goes_into_the_pod_that_is_meant_only():
    async def story(stage: Stage) -> None:
        container = {"name": "surefoot-1", "image": "injector"}

        def add(uid: str) -> AddEphemeralContainer:
            return AddEphemeralContainer(namespace=NS, name="web", uid=uid, container=container)

        _, (trouble,) = await stage.do(add("another"))
        assert "uid" in trouble.message.lower()
        assert (await stage.do(add(stage.uid)))[1] == ()
        names = [one["name"] for one in stage.storage.get(PODS, NS, "web")["spec"]["ephemeralContainers"]]
        assert names == ["surefoot-1"]

    play(story)
