"""Plays a scenario and tells what was wrong with it: [] when it was safe and came to the right end.

While the noise lasts (commands, faults, failing pods) only the safety rules count. Then everything is mended, a
patient person promotes what waits for a person, and within ten virtual minutes the release must be where it would
be without any noise, and stay there with nobody writing (reliability.md 8.2: I1-I9, I15, I16, I18).
"""

from __future__ import annotations

import traceback
from typing import Any

from structlog.testing import capture_logs

from rollout.api.meta import metadata, timestamp
from rollout.api.resources import (
    ANALYSIS_TEMPLATES,
    DESTINATION_RULES,
    HTTP_ROUTES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    VIRTUAL_SERVICES,
)
from rollout.api.rollout import HASH_LABEL
from rollout.runtime.kube import Object
from rollout.sandbox.workloads.podmodel import GOOD, Behaviour
from tests.simulation.scenario import NOISE_SECONDS, Command, Scenario
from tests.stories.faults import DELAY_SECONDS, Faults
from tests.stories.world import NAMESPACE, World, play

SETTLE_SECONDS = 600.0
REST_SECONDS = 600.0


def simulate(scenario: Scenario) -> list[str]:
    """What was wrong in this run."""
    wrong: list[str] = []
    worlds: list[World] = []

    async def story(world: World) -> None:
        worlds.append(world)
        if "delay" in scenario.watch.values():
            world.rules.lag = DELAY_SECONDS + 1.0
        await _Noise(world, scenario).play()
        wrong.extend(await _settled(world, scenario))

    with capture_logs() as logs:
        try:
            play(
                story,
                seed=scenario.seed,
                faults=Faults(scenario.faults, watch=scenario.watch),
                controllers=scenario.controllers,
                strict=False,
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            wrong.append(f"{error!r}\n" + "".join(traceback.format_exception(error))[-3000:])
    for world in worlds:
        wrong = [*world.rules.broken, *wrong]
    wrong += [
        f"logged as an error: {entry['event']}: {entry.get('error', '')}"
        for entry in logs
        if entry["log_level"] in ("error", "critical")
    ]
    return wrong


class _Noise:
    """The time of trouble."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        self._world = world
        self._scenario = scenario
        self._lost: dict[int, Object] = {}

    async def play(self) -> None:
        world, scenario = self._world, self._scenario
        for image, behaviour in scenario.pods.items():
            world.images[image] = Behaviour(**behaviour)
        world.gateway.seconds = scenario.gateway
        world.apply(*scenario.objects())
        world.apply(scenario.rollout())
        start = world.clock.monotonic()
        for command in scenario.commands:
            await world.clock.sleep(max(0.0, start + command.at - world.clock.monotonic()))
            world.rules.by_hand = command.verb in ("weights", "lose", "find", "delete-set")
            self._do(command)
            world.rules.by_hand = False
        await world.clock.sleep(min(10.0, max(0.0, start + NOISE_SECONDS - world.clock.monotonic())))
        await self._mend()

    def _do(self, command: Command) -> None:
        world = self._world
        match command.verb:
            case "image":
                world.set_image("web", command.value)
            case "replicas":
                world.edit("web", {"replicas": command.value})
            case "abort":
                world.command("web", {"abort": True})
            case "retry":
                world.command("web", {"abort": False})
            case "promote":
                world.promote("web")
            case "promote-full":
                world.promote("web", full=True)
            case "pause":
                world.edit("web", {"paused": True})
            case "unpause":
                world.edit("web", {"paused": False})
            case "restart":
                world.edit("web", {"restartAt": timestamp(world.clock.now())})
            case "crash":
                world.crash()
            case "verdict":
                world.judge.verdicts["web-"] = command.value
            case "weights":
                set_weights(world, command.value)
            case "lose":
                self._lose(command.value)
            case "find":
                self._find(command.value)
            case "delete-set":
                self._delete_set(command.value)
            case "steps":
                if "canary" in self._scenario.strategy:
                    world.edit("web", {"strategy": {"canary": {"steps": [{"setWeight": command.value}] * 3}}})
            case "kill-pods":
                for pod in world.list(PODS)[:2]:
                    world.storage.delete(PODS, NAMESPACE, metadata(pod)["name"])
            case other:
                raise AssertionError(f"unknown command {other}")

    def _lose(self, which: int) -> None:
        objects = self._scenario.objects()
        obj = objects[which % len(objects)]
        resource = self._world.resource(obj)
        name = metadata(obj)["name"]
        may_go = resource in (ANALYSIS_TEMPLATES, SERVICES, HTTP_ROUTES)
        if may_go and self._world.storage.exists(resource, NAMESPACE, name):
            self._lost[which % len(objects)] = self._world.get(resource, name)
            self._world.storage.delete(resource, NAMESPACE, name)

    def _find(self, which: int) -> None:
        """Apply the manifest again: what the controller had written into the object is gone."""
        lost = self._lost.pop(which % len(self._scenario.objects()), None)
        if lost is not None:
            name = metadata(lost)["name"]
            obj = next(
                one
                for one in self._scenario.objects()
                if metadata(one)["name"] == name and one["kind"] == lost["kind"]
            )
            self._world.apply(obj)

    def _delete_set(self, which: str) -> None:
        status = self._world.status("web")
        named = {"stable": status.get("stableRS"), "new": status.get("currentPodHash")}
        for one in self._world.list(REPLICA_SETS):
            pod_hash = metadata(one)["labels"][HASH_LABEL]
            if pod_hash == named.get(which) or (which == "old" and pod_hash not in named.values()):
                self._world.storage.delete(REPLICA_SETS, NAMESPACE, metadata(one)["name"])
                return

    async def _mend(self) -> None:
        """Everything works again: pods, verdicts, the API, the objects that were lost."""
        world = self._world
        world.faults.stop()
        world.judge.verdicts.clear()
        bad = {image for image, how in world.images.items() if how != GOOD}
        world.images.clear()
        for pod in world.list(PODS):
            if pod["spec"]["containers"][0]["image"] in bad:
                world.storage.delete(PODS, NAMESPACE, metadata(pod)["name"])
        if self._lost:
            # With what was lost a release goes on: not in the moment in which nobody knows yet that pods are gone.
            await world.clock.sleep(world.rules.lag)
        world.rules.by_hand = True
        for which in list(self._lost):
            self._find(which)
        world.rules.by_hand = False
        world.edit("web", {"paused": False})


def set_weights(world: World, canary: int) -> None:
    """Somebody edits the route by hand."""
    if world.storage.exists(HTTP_ROUTES, NAMESPACE, "web"):
        rules: Any = world.get(HTTP_ROUTES, "web")["spec"]["rules"]
        stable, ours = rules[1]["backendRefs"]
        edited = [{**stable, "weight": 100 - canary}, {**ours, "weight": canary}]
        world.patch(HTTP_ROUTES, "web", {"spec": {"rules": [rules[0], {**rules[1], "backendRefs": edited}]}})
        return
    if not world.storage.exists(VIRTUAL_SERVICES, NAMESPACE, "web-vs"):
        return  # lost
    spec: Any = world.get(VIRTUAL_SERVICES, "web-vs")["spec"]
    (route,) = spec["http"]
    old = route["route"]
    new = [{**old[0], "weight": 100 - canary}, {**old[1], "weight": canary}]
    world.patch(VIRTUAL_SERVICES, "web-vs", {"spec": {"http": [{**route, "route": new}]}})


async def _settled(world: World, scenario: Scenario) -> list[str]:
    """Wait for the end, promoting what waits for a person; what is not right there."""
    end = world.clock.monotonic() + SETTLE_SECONDS
    missing = ["not looked"]
    while world.clock.monotonic() < end:
        await world.clock.sleep(2.0)
        missing = _missing(world, scenario)
        if not missing:
            break
        if world.status("web").get("phase") == "Paused":
            world.promote("web")
    if missing:
        return [f"I18: after {SETTLE_SECONDS:.0f} quiet seconds: {'; '.join(missing)}\n{world.describe()}"]
    await world.clock.sleep(30.0)
    version = world.storage.resource_version
    writes = await world.rest(REST_SECONDS)
    if writes:
        changed = world.storage.resource_version
        return [f"I15: {writes} writes at rest (versions {version} to {changed})\n{world.describe()}"]
    if missing := _missing(world, scenario):
        return [f"I18: reached its end and left it: {'; '.join(missing)}\n{world.describe()}"]
    return []


def _missing(world: World, scenario: Scenario) -> list[str]:
    """What is not as it would be in a world without faults."""
    rollout = world.rollout("web")
    status, replicas = rollout.get("status") or {}, rollout["spec"]["replicas"]
    if status.get("observedGeneration") != str(rollout["metadata"]["generation"]):
        return ["the spec is not observed"]
    stable, current = status.get("stableRS"), status.get("currentPodHash")
    aborted = status.get("abort", False)
    found = []
    if aborted and stable not in {metadata(one)["labels"][HASH_LABEL] for one in world.list(REPLICA_SETS)}:
        return []  # nothing is left to go back to: it stays as it is until a person decides
    wanted = stable if aborted else current
    if status.get("phase") != ("Degraded" if aborted else "Healthy"):
        found.append(f"phase is {status.get('phase')}: {status.get('message')}")
    if not stable or (not aborted and stable != current):
        found.append(f"stable is {stable}, current {current}")
    for one in world.list(REPLICA_SETS):
        pod_hash, asked = metadata(one)["labels"][HASH_LABEL], one["spec"]["replicas"]
        if pod_hash == wanted:
            have = (one.get("status") or {}).get("availableReplicas", 0)
            if (asked, have) != (replicas, replicas):
                found.append(f"{pod_hash} has {have} of {asked} pods, {replicas} are wanted")
        elif asked and not (aborted and pod_hash == current and _kept_after_abort(scenario)):
            found.append(f"{pod_hash} still has {asked} pods")
    if wanted not in {metadata(one)["labels"][HASH_LABEL] for one in world.list(REPLICA_SETS)}:
        found.append(f"the ReplicaSet {wanted} is gone")
    found += _traffic_missing(world, scenario, wanted)
    for name, phase in world.runs().items():
        if phase not in ("Successful", "Failed", "Error", "Inconclusive"):
            found.append(f"{name} still runs")
    return found


def _kept_after_abort(scenario: Scenario) -> bool:
    strategy = next(iter(scenario.strategy.values()))
    return strategy.get("abortScaleDownDelaySeconds") == 0


def _traffic_missing(world: World, scenario: Scenario, wanted: str | None) -> list[str]:
    found = []
    if scenario.style in ("subsets", "hosts"):
        routes = world.get(VIRTUAL_SERVICES, "web-vs")["spec"]["http"][0]["route"]
        weights = [route["weight"] for route in routes]
        if weights != [100, 0]:
            found.append(f"weights are {weights}")
    if scenario.style == "route":
        shares = [one["weight"] for one in world.get(HTTP_ROUTES, "web")["spec"]["rules"][1]["backendRefs"]]
        if shares != [100, 0]:
            found.append(f"weights are {shares}")
    bound: dict[str, str] = {}
    if scenario.style == "subsets":
        for one in world.get(DESTINATION_RULES, "web-dr")["spec"]["subsets"]:
            bound[f"subset {one['name']}"] = one["labels"].get(HASH_LABEL, "")
    for name in ("web-stable", "web-canary", "web-active", "web-preview"):
        if name not in str(scenario.strategy) or not world.storage.exists(SERVICES, NAMESPACE, name):
            continue
        bound[f"Service {name}"] = world.get(SERVICES, name)["spec"]["selector"].get(HASH_LABEL, "")
    kept = {"subset canary", "Service web-canary", "Service web-preview"}
    aborted_beside = world.status("web").get("abort") and _kept_after_abort(scenario)
    for name, pod_hash in bound.items():
        if pod_hash != wanted and not (aborted_beside and name in kept):
            found.append(f"{name} selects {pod_hash or 'nothing'}, not {wanted}")
    return found
