"""Releases under GitOps: nothing differs but what the shipped rules ignore, health is told, an apply is undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rollout.api.resources import CHAOS_RUNS, DEPLOYMENTS, ROLLOUTS
from rollout.cli.phase import phase_of
from rollout.cli.summary import rollout_of
from rollout.errors import Conflict
from rollout.runtime.kube import Object
from rollout.sandbox.storage import Options
from tests.stories.objects import (
    HTTP_ROUTE,
    ISTIO_HOSTS,
    ISTIO_SUBSETS,
    canary,
    gateway,
    hosts,
    mesh,
    rollout,
)
from tests.stories.test_bluegreen import blue_green
from tests.stories.test_bluegreen import objects as blue_green_parts
from tests.stories.test_canary_istio import subsets, weights
from tests.stories.test_chaos_runs import PROBES, chaos, chaos_run, completed, kill, ready, stage
from tests.stories.test_workload_ref import deployment, referring
from tests.stories.world import NAMESPACE, World, play
from tests.unit.integrations.gitops import argo_cd_health, compared, flux_status, kstatus

STEPS = ({"setWeight": 20}, {"pause": {}}, {"setWeight": 60})
BY_SUBSETS = canary(*STEPS, trafficRouting=ISTIO_SUBSETS)
BY_HOSTS = canary(*STEPS, trafficRouting=ISTIO_HOSTS, canaryService="web-canary", stableService="web-stable")
BY_ROUTE = canary(*STEPS, trafficRouting=HTTP_ROUTE, canaryService="web-canary", stableService="web-stable")
MANUAL = blue_green(autoPromotionEnabled=False)
WAYS = {
    "subsets": (BY_SUBSETS, mesh),
    "hosts": (BY_HOSTS, hosts),
    "gateway": (BY_ROUTE, gateway),
    "blue-green": (MANUAL, blue_green_parts),
}
MANAGER = "argocd-controller"


class Watched:
    """Every version of the objects that were applied from Git, as the server had them."""

    def __init__(self, world: World, *objects: Object) -> None:
        self._world = world
        self.seen: dict[tuple[str, str], list[Object]] = {}
        self._names = {(one["kind"], one["metadata"]["name"]) for one in objects}
        world.storage.on_write(self._note)

    def _note(self, _type: str, _resource: object, _old: Object | None, new: Object | None) -> None:
        if new is not None and (key := (new["kind"], new["metadata"]["name"])) in self._names:
            self.seen.setdefault(key, []).append(new)

    def differences(self, **rules: Any) -> set[str]:
        """The kinds of which some version differs from the first one, once the rules are applied."""
        first = {key: compared(versions[0], **rules) for key, versions in self.seen.items()}
        return {
            key[0]
            for key, versions in self.seen.items()
            if any(compared(one, **rules) != first[key] for one in versions[1:])
        }


def from_git(world: World, *objects: Object, force: bool = False) -> None:
    """Server-side apply, as Argo CD and Flux send it."""
    for obj in objects:
        resource, name = world.resource(obj), obj["metadata"]["name"]
        options = Options(manager=MANAGER, force=force)
        world.storage.patch(resource, NAMESPACE, name, obj, type="apply", options=options)


@pytest.mark.parametrize("way", WAYS)
def test_a_whole_release_and_an_abort_leave_no_difference_but_what_the_rules_ignore(way: str) -> None:
    strategy, parts = WAYS[way]

    async def story(world: World) -> None:
        objects = parts()
        watched = Watched(world, *objects)
        from_git(world, *objects, rollout(strategy))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        world.promote("web")
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v3")
        await world.phase("web", "Paused")
        world.command("web", {"abort": True})
        await world.phase("web", "Degraded")
        await world.rest(60)
        assert watched.differences() == set()
        touched = {
            "subsets": {"VirtualService", "DestinationRule"},
            "hosts": {"VirtualService", "Service"},
            "gateway": {"HTTPRoute", "Service"},
            "blue-green": {"Service"},
        }
        assert watched.differences(rules=[]) == touched[way]

    play(story)


def test_the_rollout_itself_differs_only_in_what_the_rules_ignore_and_in_what_people_ask_for() -> None:
    async def story(world: World) -> None:
        wanted = rollout(BY_SUBSETS)
        watched = Watched(world, wanted)
        from_git(world, *mesh(), wanted)
        await world.phase("web", "Healthy")
        world.edit("web", {"replicas": 7})  # an HPA
        await world.phase("web", "Healthy")
        assert watched.differences() == set()
        assert watched.differences(rules=[]) == {"Rollout"}
        world.set_image("web", "web:v2")
        assert watched.differences() == {"Rollout"}

    play(story)


def test_a_deployment_that_a_rollout_shrinks_differs_only_in_its_size() -> None:
    async def story(world: World) -> None:
        world.apply(deployment())
        first = world.get(DEPLOYMENTS, "web")
        world.apply(referring("onsuccess"))
        await world.until("it is shrunk", lambda: world.get(DEPLOYMENTS, "web")["spec"]["replicas"] == 0)
        after = world.get(DEPLOYMENTS, "web")
        assert compared(after)["spec"] == compared(first)["spec"]
        assert compared(after, rules=[])["spec"] != compared(first, rules=[])["spec"]
        annotations = after["metadata"].get("annotations") or {}
        assert [one for one in annotations if "surefoot" in one or "argo" in one] == []

    play(story)


# --- applied again in the middle of a canary ----------------------------------------------------------


def test_an_apply_from_git_in_mid_canary_is_a_conflict_and_changes_nothing() -> None:
    async def story(world: World) -> None:
        await paused_at_twenty(world)
        _, route, rule, _ = mesh()
        for one in (route, rule):
            with pytest.raises(Conflict, match='conflict with "surefoot"'):
                from_git(world, one)
        assert weights(world) == [80, 20]

    play(story)


def test_a_forced_apply_in_mid_canary_resets_the_weights_and_the_controller_puts_them_back() -> None:
    async def story(world: World) -> None:
        bound = await paused_at_twenty(world)
        _, route, rule, _ = mesh()
        world.rules.by_hand = True
        from_git(world, route, rule, force=True)
        world.rules.by_hand = False
        assert (weights(world), subsets(world)) == ([100, 0], {"stable": "", "canary": ""})
        await world.until("it is put back", lambda: weights(world) == [80, 20] and subsets(world) == bound)
        assert world.status("web")["phase"] == "Paused"

    play(story)


def test_a_forced_apply_of_services_in_mid_canary_unbinds_them_and_the_controller_binds_them_again() -> None:
    async def story(world: World) -> None:
        stable, preview, _ = blue_green_parts()
        from_git(world, stable, preview, rollout(MANUAL))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        before = selectors(world)
        assert all("rollouts-pod-template-hash" in one for one in before)
        world.rules.by_hand = True
        from_git(world, stable, preview, force=True)
        world.rules.by_hand = False
        assert selectors(world) == [{"app": "web"}, {"app": "web"}]
        await world.until("they are bound again", lambda: selectors(world) == before)

    play(story)


def test_the_same_rollout_applied_again_in_mid_canary_changes_nothing() -> None:
    async def story(world: World) -> None:
        wanted = rollout(BY_SUBSETS)
        from_git(world, *mesh(), wanted)
        await world.phase("web", "Healthy")
        second = rollout(BY_SUBSETS, image="web:v2")
        from_git(world, second)
        await world.phase("web", "Paused")
        await world.rest(60)
        before = world.rollout("web")
        from_git(world, second)
        assert world.rollout("web")["spec"] == before["spec"]
        assert world.status("web") == before["status"]
        assert await world.rest(30) == 0

    play(story)


async def paused_at_twenty(world: World) -> dict[str, str]:
    """Applied from Git and stopped at 20 %; what the subsets are bound to."""
    from_git(world, *mesh(), rollout(BY_SUBSETS))
    await world.phase("web", "Healthy")
    world.set_image("web", "web:v2")
    await world.phase("web", "Paused")
    assert weights(world) == [80, 20]
    return subsets(world)


def selectors(world: World) -> list[Object]:
    services = blue_green_parts()[:2]
    return [world.get(world.resource(one), one["metadata"]["name"])["spec"]["selector"] for one in services]


# --- health -------------------------------------------------------------------------------------------


def told_by(world: World, tell: Callable[[Object], str]) -> list[str]:
    """What a tool says of the Rollout from now on, each change once."""
    said: list[str] = []

    def note(_type: str, resource: object, _old: Object | None, new: Object | None) -> None:
        if resource == ROLLOUTS and new is not None and (word := tell(new)) not in said[-1:]:
            said.append(word)

    world.storage.on_write(note)
    return said


def test_argo_cd_and_flux_follow_a_good_release_a_pause_and_an_abort() -> None:
    async def story(world: World) -> None:
        health = told_by(world, lambda one: argo_cd_health(one)[0])
        flux = told_by(world, flux_status)
        from_git(world, *mesh(), rollout(BY_SUBSETS))
        await world.phase("web", "Healthy")
        assert (health, flux) == (["Progressing", "Healthy"], ["InProgress", "Current"])
        world.set_image("web", "web:v2")
        assert (health[-1], flux[-1]) == ("Progressing", "InProgress"), "before any controller has seen it"
        await world.phase("web", "Paused")
        assert (health[-1], flux[-1]) == ("Suspended", "InProgress")
        world.promote("web")
        await world.phase("web", "Healthy")
        assert health[2:] == ["Progressing", "Suspended", "Progressing", "Healthy"]
        assert flux[2:] == ["InProgress", "Current"]
        world.set_image("web", "web:v3")
        await world.phase("web", "Paused")
        world.command("web", {"abort": True})
        await world.phase("web", "Degraded")
        assert (health[-1], flux[-1]) == ("Degraded", "Failed")
        assert argo_cd_health(world.rollout("web"))[1].startswith("RolloutAborted")

    play(story)


def test_argo_cd_says_healthy_only_where_the_command_line_does() -> None:
    async def story(world: World) -> None:
        wrong: list[Object] = []

        def note(_type: str, resource: object, _old: Object | None, new: Object | None) -> None:
            if resource == ROLLOUTS and new is not None:
                healthy = phase_of(rollout_of(new)).name == "Healthy"
                if healthy != (argo_cd_health(new)[0] == "Healthy"):
                    wrong.append(new)
                if healthy != (flux_status(new) == "Current"):
                    wrong.append(new)

        world.storage.on_write(note)
        from_git(world, *blue_green_parts(), rollout(MANUAL))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        world.promote("web")
        await world.phase("web", "Healthy")
        assert wrong == []

    play(story)


@pytest.mark.parametrize(("answer", "end"), [(1.0, "Current"), (0.0, "Failed")])
def test_flux_waits_for_a_chaos_run_and_takes_its_verdict(answer: float, end: str) -> None:
    async def story(world: World) -> None:
        said: list[str] = []

        def note(_type: str, resource: object, _old: Object | None, new: Object | None) -> None:
            if resource == CHAOS_RUNS and new is not None and (word := flux_status(new)) not in said[-1:]:
                said.append(word)

        stage(world)
        await world.until("four pods are ready", ready(world, 4))
        world.storage.on_write(note)
        world.apply(chaos_run(kill(), probes=PROBES))
        await completed(world)
        assert said == ["InProgress", end]

    chaos(story, answer=lambda _query: [answer])


@pytest.mark.parametrize(("answer", "end"), [(1.0, "Current"), (0.0, "Failed")])
def test_kstatus_follows_a_chaos_run_to_its_verdict(answer: float, end: str) -> None:
    async def story(world: World) -> None:
        said: list[str] = []

        def note(_type: str, resource: object, _old: Object | None, new: Object | None) -> None:
            if resource == CHAOS_RUNS and new is not None and new.get("status"):
                said.extend([word] if (word := kstatus(new)) not in said[-1:] else [])

        stage(world)
        await world.until("four pods are ready", ready(world, 4))
        world.storage.on_write(note)
        world.apply(chaos_run(kill(), probes=PROBES))
        await completed(world)
        assert said == ["InProgress", end]

    chaos(story, answer=lambda _query: [answer])
