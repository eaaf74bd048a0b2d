"""`chaos preflight` as values: what stands in a run's way, and how it is told."""

from __future__ import annotations

from typing import Any

from chaos.observed import Observed, World
from rollout.api.chaos import OPT_IN, ChaosRun, ChaosSwitch
from rollout.api.codec import view
from rollout.api.meta import Key
from rollout.api.resources import NAMESPACES, PDBS, PODS, ROLLOUTS, Resource
from rollout.cli.chaos.acts import analyses, label_of
from rollout.cli.chaos.preflight import Preflight, judged
from tests.unit.cli.chaos import sample

Json = dict[str, Any]


def pod(name: str) -> Json:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "set", "controller": True}
    meta = {"name": name, "namespace": "shop", "labels": {"app": "web"}, "uid": name}
    return {
        "metadata": {**meta, "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "web"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def world(*, pods: int = 4, consent: bool = True) -> dict[Resource, dict[Key, Json]]:
    labels = {OPT_IN: "enabled"} if consent else {}
    found = [pod(f"web-{number}") for number in range(pods)]
    return {
        NAMESPACES: {Key("", "shop"): {"metadata": {"name": "shop", "labels": labels}}},
        PODS: {Key("shop", one["metadata"]["name"]): one for one in found},
        PDBS: {},
        ROLLOUTS: {},
    }


def run(fault: Json | None = None, **spec: Any) -> ChaosRun:
    body = {
        "target": {"selector": {"matchLabels": {"app": "web"}}, "percent": 25},
        "duration": "5s",
        "steps": [{"name": "one", "faults": [{"name": "kill", **(fault or {"podDelete": {}})}]}],
    }
    return view({"metadata": {"name": "preflight", "namespace": "shop"}, "spec": body | spec}, ChaosRun)


def asked(run_: ChaosRun, *switches: ChaosSwitch, others: tuple[ChaosRun, ...] = (), **of: Any) -> Preflight:
    seen = World(now=sample.NOW, objects=world(**of))
    return judged(Observed(world=seen, run=run_, raw={}, others=others, switches=switches))


def switch(**spec: Any) -> ChaosSwitch:
    return view({"metadata": {"name": "default"}, "spec": spec}, ChaosSwitch)


def test_a_run_that_nothing_stands_against_is_possible():
    found = asked(run())
    assert found.possible
    assert found.lines() == ["✔ kill (podDelete): its target means 4 pods"]


def test_without_consent_it_is_not_and_the_label_to_set_is_said():
    found = asked(run(), consent=False)
    assert not found.possible
    assert "kubectl label namespace shop surefoot.dev/chaos=enabled" in found.missing


def test_a_target_that_means_nobody_is_not():
    found = asked(run(), pods=0)
    assert not found.possible
    assert found.lines()[0] == "✖ kill (podDelete): its target means 0 pods"
    assert found.lines()[1].startswith("✖ it would not begin: fault kill: ")


def test_a_fault_that_the_cluster_does_not_allow_is_told_with_its_alternative():
    every = {"selector": {"matchLabels": {"app": "web"}}, "percent": 100}
    found = asked(run({"httpLatency": {"delay": "1s"}}, target=every, limits={"maxPercent": 100}))
    assert [one.fault for one in found.obstacles] == ["kill"]
    assert found.missing == "", "the obstacle is told once"
    assert not found.possible
    assert [line for line in found.lines() if line.startswith("    instead: ")]


def test_an_engaged_switch_is_told_beside_everything_else():
    found = asked(run(), switch(engaged=True, reason="incident"))
    assert found.missing == "ChaosSwitch default is engaged: incident"
    assert not found.possible
    both = asked(run(), switch(engaged=True), consent=False)
    assert "is engaged" in both.missing
    assert "opted in" in both.missing


def test_a_run_that_would_only_wait_for_another_is_possible():
    other = view(
        sample.raw(phase="Injecting", verdict="", completedAt=None)
        | {"metadata": {"name": "b", "namespace": "shop", "uid": "b"}},
        ChaosRun,
    )
    found = asked(run(), others=(other,))
    assert found.possible
    assert found.lines()[-1].startswith("◌ it would wait: shop/b is at work already")


def test_more_than_the_caps_allow_is_not_possible_however_long_one_waits():
    found = asked(run(), switch(caps={"podsPerNamespace": 0}))
    assert not found.possible


def test_analyses_that_cannot_be_read_have_nothing_to_show():
    good = {"metadata": {"name": "a", "namespace": "shop"}, "spec": {}}
    assert [one.metadata.name for one in analyses([{"metadata": {"name": "b"}, "spec": 7}, good])] == ["a"]


def test_the_label_of_a_run_is_never_longer_than_a_label_may_be():
    assert label_of("kill") == "kill"
    assert len(label_of("k" * 100)) <= 63
    assert label_of("k" * 100) != label_of("k" * 101)
