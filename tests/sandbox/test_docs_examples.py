"""The examples of docs/chaos.md, chaos-schedule.md and load.md in one sandbox: each ends as its comment says.

They run in lanes side by side, each lane in a namespace with parts of its own, one after the other in it. The faults
by themselves (examples/chaos) are run by test_chaos_examples.py.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress

import pytest
import yaml

from rollout.api.resources import CHAOS_RUNS, CHAOS_SCHEDULES, CHAOS_SWITCHES, DEPLOYMENTS, ENVOY_FILTERS
from rollout.errors import AlreadyExists
from rollout.runtime.client import HttpKube
from rollout.runtime.config import load
from rollout.runtime.kube import Object
from tests.pages import ROOT, SPACE, Example, commands, examples
from tests.sandbox.release_support import Ground, Said, command, resource_of

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]
LANES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "docs-a": (
        ("chaos.md", ""),
        ("chaos.md", "The verdict"),
        ("chaos.md", "Targets"),
        ("chaos.md", "Steps and time"),
        ("chaos.md", "Limits"),
    ),
    "docs-b": (("chaos.md", "Consent"), ("chaos.md", "Probes")),
    "docs-c": (
        ("load.md", ""),
        ("chaos.md", "Stop conditions"),
        ("chaos.md", "Templates"),
        ("chaos.md", "As a gate of a release"),
    ),
    "docs-d": (("chaos-schedule.md", ""),),
}
"""Namespace -> (page, heading) of the blocks that run there."""
LAST = ("chaos.md", "Ending a run, and the switch")
"""It halts the whole cluster, so it comes when all others are done."""
PATIENCE = 120.0
THEN = {"kill-some": "--template kill-some", "shop": "set image shop"}
"""Objects after which a command of the page is run."""
PLACES = [place for lane in LANES.values() for place in lane] + [LAST]
PAGES = ("chaos.md", "chaos-schedule.md", "load.md")

Ends = dict[str, Object]
"""Name of an object -> its status at the end, or what a command said."""


class Lane:
    """One namespace with the examples' parts."""

    def __init__(self, kube: HttpKube, kubeconfig: str, namespace: str, ends: Ends) -> None:
        self._kube, self._kubeconfig, self._namespace, self._ends = kube, kubeconfig, namespace, ends

    async def run(self, places: tuple[tuple[str, str], ...]) -> None:
        text = (ROOT / "examples" / "chaos" / "parts.yaml").read_text().replace(SPACE, self._namespace)
        for obj in yaml.safe_load_all(text):
            await self._apply(obj)
        for page, heading in places:
            for one in examples(page, self._namespace):
                if one.heading == heading:
                    await self._whole()
                    await self._example(one)

    async def _example(self, one: Example) -> None:
        await self._apply(one.object)
        if one.comment:
            self._ends[one.name] = await self._end(one)
        if one.name in THEN and one.object["kind"] in {"ChaosTemplate", "Rollout"}:
            await self._settled(one)
            (line,) = commands("chaos.md", THEN[one.name], self._namespace)
            said = await command(*shlex.split(line)[1:], KUBECONFIG=self._kubeconfig)
            self._ends[THEN[one.name]] = said_as_status(said)

    async def _end(self, one: Example) -> Object:
        match one.object["kind"]:
            case "ChaosRun":
                return await self._status(one.object, lambda status: status.get("phase") == "Completed")
            case "AnalysisRun":
                return await self._status(one.object, lambda status: bool(status.get("completedAt")))
            case "ChaosSchedule" if one.promise is None:
                return await self._status(one.object, lambda status: bool(status.get("nextTimes")))
            case "ChaosSchedule":
                status = await self._status(one.object, lambda status: bool(status.get("lastVerdict")))
                await self._kube.patch(
                    CHAOS_SCHEDULES, self._namespace, one.name, {"spec": {"suspend": True}}
                )
                return status
        raise AssertionError(f"{one.name}: nobody knows how a {one.object['kind']} ends")

    async def _settled(self, one: Example) -> None:
        if one.object["kind"] == "Rollout":
            await self._status(one.object, lambda status: status.get("phase") == "Healthy")

    async def _status(self, obj: Object, holds: Callable[[Object], bool]) -> Object:
        """The object's status once it is as it should be, or as it is when patience ends."""
        resource, meta = resource_of(obj), obj["metadata"]
        status: Object = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not holds(status):
                    found = await self._kube.get(resource, meta.get("namespace"), meta["name"])
                    status = found.get("status") or {}
                    await asyncio.sleep(0.2)
        return status

    async def _whole(self) -> None:
        """Every Deployment of the lane has all its pods ready, so that no example feels the one before it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = (await self._kube.list(DEPLOYMENTS, self._namespace)).items
                if all(
                    (one.get("status") or {}).get("readyReplicas") == one["spec"]["replicas"] for one in found
                ):
                    return
                await asyncio.sleep(0.2)

    async def _apply(self, obj: Object) -> None:
        """As `kubectl apply` does the first time: created, or merged with what is there."""
        resource, meta = resource_of(obj), obj["metadata"]
        try:
            await self._kube.create(resource, meta.get("namespace"), obj)
        except AlreadyExists:
            await self._kube.patch(resource, meta.get("namespace"), meta["name"], obj)


def said_as_status(said: Said) -> Object:
    return {"code": said.code, "out": said.out, "err": said.err}


async def play(kubeconfig: str, ends: Ends) -> None:
    """All examples, and in the end what is left in the cluster."""
    kube = HttpKube(load(kubeconfig=kubeconfig))
    try:
        async with asyncio.TaskGroup() as group:
            for namespace, places in LANES.items():
                group.create_task(Lane(kube, kubeconfig, namespace, ends).run(places))
        await Lane(kube, kubeconfig, "docs-d", ends).run((LAST,))
        await kube.delete(CHAOS_SWITCHES, None, "incident-4711")
        ends["left"] = await left(kube)
    finally:
        await kube.close()


async def left(kube: HttpKube) -> Object:
    """Names of what no run may leave behind."""
    runs = (await kube.list(CHAOS_RUNS)).items
    return {
        "filters": [one["metadata"]["name"] for one in (await kube.list(ENVOY_FILTERS)).items],
        "finalizers": [one["metadata"]["name"] for one in runs if one["metadata"].get("finalizers")],
        "unfinished": [one["metadata"]["name"] for one in runs if one["status"]["phase"] != "Completed"],
    }


def wrong(example: Example, status: Object) -> str:
    """How an object's end is not the one that is promised; "" where it is."""
    promise, said = example.promise, f"{example.name}: {yaml.safe_dump(status)}"
    if promise is None:
        return "" if status.get("nextTimes") else said
    verdict = status.get("verdict") or status.get("lastVerdict") or status.get("phase")
    counted = promise.count is None or len(status.get(promise.of) or ()) == promise.count
    kept = verdict == promise.verdict and promise.words in str(status.get("message")) and counted
    return "" if kept else f"promised {promise}, found {said}"


def test_every_block_of_the_pages_is_run() -> None:
    told = {(one.page, one.heading) for page in PAGES for one in examples(page)}
    assert told == set(PLACES)


async def test_every_example_ends_as_it_says_every_command_succeeds_and_nothing_is_left(
    ground: Ground,
) -> None:
    """One test, so that workers side by side do not run all of it twice."""
    ends: Ends = {}
    await play(ground.sandbox.kubeconfig, ends)
    promised = [one for page in PAGES for one in examples(page) if one.comment]
    assert [said for one in promised if (said := wrong(one, ends[one.name]))] == []
    assert [ends[line] for line in THEN.values() if ends[line]["code"]] == []
    assert ends["left"] == {"filters": [], "finalizers": [], "unfinished": []}
