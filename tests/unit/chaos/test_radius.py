"""The blast radius: whatever runs, targets and faults come together, what goes away stays within every declared bound.

The world is played after the choices: pods that are chosen go, a scaleDown takes the worst pods it could.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chaos.faults.base import Plain
from chaos.observed import Observed, World
from chaos.plan.admission import admit
from chaos.plan.choose import choose_all, merged
from rollout.api.chaos import ChaosRun, ChaosSwitch, Victim
from rollout.api.codec import view
from rollout.api.meta import Object, key_of
from rollout.api.resources import DEPLOYMENTS, NAMESPACES, PODS, REPLICA_SETS
from tests.unit.chaos.faults.cluster import NOW

NAMES = ("web", "shop")
"""Two Deployments; the pods of each are of one or two versions."""


def owned(kind: str, name: str) -> dict[str, Any]:
    return {"ownerReferences": [{"kind": kind, "name": name, "uid": f"uid-{name}", "controller": True}]}


def cluster(sizes: dict[str, tuple[int, int]], unready: int) -> World:
    objects: dict[Any, dict[Any, Object]] = {PODS: {}, REPLICA_SETS: {}, DEPLOYMENTS: {}, NAMESPACES: {}}

    def put(resource: Any, obj: Object) -> None:
        objects[resource][key_of(obj)] = obj

    put(NAMESPACES, {"metadata": {"name": "prod", "labels": {"surefoot.dev/chaos": "enabled"}}})
    left = unready
    for name, versions in sizes.items():
        meta = {"namespace": "prod", "name": name, "uid": f"uid-{name}"}
        spec = {"replicas": sum(versions), "selector": {"matchLabels": {"app": name}}}
        put(
            DEPLOYMENTS,
            {"kind": "Deployment", "metadata": meta, "spec": spec, "status": {"readyReplicas": 9}},
        )
        for at, size in enumerate(versions):
            of = f"{name}-{at}"
            meta = {"namespace": "prod", "name": of, "uid": f"uid-{of}", **owned("Deployment", name)}
            put(REPLICA_SETS, {"kind": "ReplicaSet", "metadata": meta, "spec": {"replicas": size}})
            for number in range(size):
                left -= 1
                pod = f"{of}-{number}"
                conditions = [{"type": "Ready", "status": "False" if left >= 0 else "True"}]
                meta = {"namespace": "prod", "name": pod, "uid": f"uid-{pod}", "labels": {"app": name}}
                meta |= owned("ReplicaSet", of)
                put(PODS, {"metadata": meta, "spec": {}, "status": {"conditions": conditions}})
    return World(now=NOW, objects=objects)


faults = st.lists(
    st.tuples(
        st.sampled_from(["podDelete", "containerKill", "scaleDown", "httpAbort"]),
        st.sampled_from(NAMES),
        st.sampled_from(["ref", "labels"]),
        st.one_of(st.integers(1, 6), st.just(50), st.just(100)),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)
limits = st.fixed_dictionaries(
    {
        "maxPercent": st.sampled_from([25, 50, 100]),
        "minReady": st.integers(1, 3),
        "allowTotal": st.booleans(),
    },
    optional={"maxPods": st.integers(1, 5)},
)


def fault(at: int, kind: str, name: str, by: str, number: int, *, serial: bool) -> dict[str, Any]:
    ref = {"workloadRef": {"kind": "Deployment", "name": name}}
    target = ref if by == "ref" or kind == "scaleDown" else {"selector": {"matchLabels": {"app": name}}}
    how: dict[str, Any] = {"sequence": "serial"} if kind == "podDelete" and serial else {}
    if kind == "scaleDown":
        how = {"percent": number} if number >= 50 else {"replicas": number - 1}
    else:
        target |= {"percent": number} if number >= 50 else {"count": number}
    return {"name": f"f{at}", "target": target, kind: how}


def run_of(name: str, drawn: list[Any], bounds: dict[str, Any], phase: str = "") -> ChaosRun:
    made = [fault(at, *one[:4], serial=one[4]) for at, one in enumerate(drawn)]
    return view(
        {
            "metadata": {"name": name, "namespace": "prod", "uid": f"uid-{name}"},
            "spec": {"limits": bounds, "steps": [{"faults": made}]},
            "status": {"phase": phase},
        },
        ChaosRun,
    )


def taken(run: ChaosRun, victims: tuple[Victim, ...], seen: World) -> tuple[set[str], dict[str, int]]:
    """The pods that go by name, and how many more go of each Deployment."""
    by_name, more = set(), dict.fromkeys(NAMES, 0)
    for one in run.spec.steps[0].faults:
        mine = [victim for victim in victims if one.name in victim.faults]
        if one.scale_down is not None:
            assert one.target is not None
            assert one.target.workload_ref is not None
            name = one.target.workload_ref.name
            was = sum(key_of(pod).name.startswith(name) for pod in seen.of(PODS))
            percent = one.scale_down.percent
            stays = one.scale_down.replicas if percent is None else was - max(1, was * percent // 100)
            more[name] += max(0, was - (stays or 0))
        elif one.http_abort is None:
            serial = one.pod_delete is not None and one.pod_delete.sequence == "serial"
            by_name |= {victim.name for victim in (mine[:1] if serial else mine)}
    return by_name, more


def ready_pods(seen: World, name: str) -> set[str]:
    pods = [pod for pod in seen.of(PODS) if key_of(pod).name.startswith(name)]
    return {key_of(pod).name for pod in pods if pod["status"]["conditions"][0]["status"] == "True"}


sizes = st.fixed_dictionaries({name: st.tuples(st.integers(1, 5), st.integers(0, 4)) for name in NAMES})


@settings(max_examples=200, deadline=None)
@given(sizes, st.integers(0, 3), faults, limits, st.integers(0, 99))
def test_no_step_takes_more_than_its_run_declares(
    sizes: Any, unready: int, drawn: Any, bounds: dict[str, Any], seed: int
) -> None:
    seen, run = cluster(sizes, unready), run_of("run", drawn, bounds)
    choices, problem = choose_all(run.spec.steps[0].faults, run, seen, seed)
    if problem:
        return
    gone, more = taken(run, merged((), choices), seen)
    harmed = {victim.name for choice in choices for victim in choice.victims if not choice.fault.scale_down}
    if run.spec.limits.max_pods is not None:
        assert len(harmed) + sum(more.values()) <= run.spec.limits.max_pods
    touched = [name for name in NAMES if more[name] or any(pod.startswith(name) for pod in harmed)]
    there = sum(len(ready_pods(seen, name)) for name in touched)
    away = sum(len(gone & ready_pods(seen, name)) + min(more[name], there) for name in touched)
    assert away * 100 <= run.spec.limits.max_percent * there
    for name in NAMES:
        left = len(ready_pods(seen, name) - gone) - more[name]
        if left < len(ready_pods(seen, name)) and not bounds["allowTotal"]:
            assert left >= bounds["minReady"], (sizes, name, left)


TWICE = ("scaleDown", "shop", "ref", 50, False)
"""One pod goes for each of the two, whichever they are: one victim stands for both."""


@settings(max_examples=150, deadline=None)
@example(
    {"web": (1, 0), "shop": (1, 2)},
    [("podDelete", "web", "ref", 50, False)],
    [TWICE, TWICE],
    {"maxPercent": 100, "minReady": 1, "allowTotal": False},
    100,
    1,
)
@given(sizes, faults, faults, limits, st.integers(10, 100), st.integers(1, 6))
def test_two_runs_side_by_side_stay_within_the_caps_and_never_share_a_workload(
    sizes: Any, first: Any, second: Any, bounds: dict[str, Any], percent: int, pods: int
) -> None:
    class Allowed(Plain):
        def obstacles(self, *_: Any) -> tuple[()]:
            return ()

    kinds: Any = dict.fromkeys(("podDelete", "containerKill", "scaleDown", "httpAbort"), Allowed())
    seen = cluster(sizes, 0)
    cap = {"percentPerNamespace": percent, "podsPerNamespace": pods, "runsPerNamespace": 9}
    switch = view({"metadata": {"name": "default"}, "spec": {"caps": cap}}, ChaosSwitch)
    begun: list[ChaosRun] = []
    for name, drawn in (("a", first), ("b", second)):
        run = run_of(name, drawn, bounds)
        observed = Observed(world=seen, run=run, raw={}, others=tuple(begun), switches=(switch,))
        said = admit(observed, kinds, seed=1)
        if said.missing or said.waiting:
            continue
        status = view({"phase": "Injecting"}, type(run.status))
        begun.append(
            msgspec.structs.replace(run, status=msgspec.structs.replace(status, victims=said.victims))
        )
    struck: set[str] = set()
    more, taking = 0, []
    for run in begun:
        by_name, scaled = taken(run, run.status.victims, seen)
        plain = {one.name for one in run.spec.steps[0].faults if one.scale_down is None}
        struck |= {one.name for one in run.status.victims if plain & set(one.faults)}
        more += sum(scaled.values())
        taking.append(
            {name for name in NAMES if scaled[name] or any(one.startswith(name) for one in by_name)}
        )
    total = sum(len(ready_pods(seen, name)) for name in NAMES)
    assert len(struck) + more <= pods
    assert (len(struck) + more) * 100 <= percent * total
    if len(taking) == 2:
        assert not taking[0] & taking[1]
