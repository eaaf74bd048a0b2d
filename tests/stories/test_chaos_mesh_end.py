"""The end of a fault of the mesh: with the mesh's own word wherever there is one, and by its lease where there is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rollout.api.chaos import FINALIZER
from rollout.api.resources import CHAOS_RUNS, ENVOY_FILTERS
from rollout.runtime.kube import Object
from rollout.runtime.wrap import Change
from tests.stories.chaos_mesh import Mesh
from tests.stories.faults import Faults, Kind
from tests.stories.test_chaos_crashes import chaos, mesh_run, staged
from tests.stories.world import NAMESPACE, World

WORD = "the mesh says so"


def receipt(world: World) -> Object:
    found = (world.get(CHAOS_RUNS, "run").get("status") or {}).get("receipts") or [{}]
    return found[0]


def proved(world: World) -> Callable[[], bool]:
    return lambda: receipt(world).get("state") == "Proved"


async def ended(world: World) -> Object:
    def holds() -> bool:
        run = world.get(CHAOS_RUNS, "run")
        over = (run.get("status") or {}).get("phase") == "Completed"
        return over and FINALIZER not in (run["metadata"].get("finalizers") or ())

    await world.until("completed", holds, within=200)
    world.chaos_rules.assert_clean()
    return world.get(CHAOS_RUNS, "run")["status"]


async def begun(world: World, mesh: Mesh, **spec: object) -> None:
    await staged(world)
    mesh.start()
    run = mesh_run()
    run["spec"] |= spec
    world.apply(run)
    await world.until("it is proved", proved(world))


def test_at_its_deadline_it_ends_with_the_meshs_word_and_the_last_count_is_the_proof() -> None:
    async def story(world: World) -> None:
        await begun(world, Mesh(world))
        first = receipt(world)["proof"]
        end = (await ended(world))["receipts"][0]
        assert WORD in end["gone"], end
        counts = [int(text.split()[2]) for text in (first, end["proof"])]
        assert counts[0] < counts[1], (first, end["proof"])

    chaos(story)


def test_stopped_early_it_ends_with_the_meshs_word() -> None:
    async def story(world: World) -> None:
        await begun(world, Mesh(world), duration="10m")
        world.patch(CHAOS_RUNS, "run", {"spec": {"abort": True}})
        assert WORD in (await ended(world))["receipts"][0]["gone"]

    chaos(story)


class After(Faults):
    """One fault, at the write that follows the first one which is `meant`."""

    def __init__(self, kind: Kind, meant: Callable[[Change], bool]) -> None:
        super().__init__()
        self._kind, self._meant = kind, meant
        self.struck = self._armed = False

    def watch_in(self, world: World) -> None:
        sending = world.chaos_rules.sending

        def both(change: Change) -> None:
            sending(change)
            self._armed = self._armed or self._meant(change)

        world.chaos_rules.sending = both  # type: ignore[method-assign]
        world.crash()  # from now on every process asks `both`

    def next(self) -> Kind | None:
        self.count += 1
        if not self._armed or self.struck:
            return None
        self.struck = True
        return self._kind


def removal(change: Change) -> bool:
    return change.resource == ENVOY_FILTERS and change.deletes


def creation(change: Change) -> bool:
    return change.resource == ENVOY_FILTERS and change.verb == "create"


@pytest.mark.parametrize("kind", ["crash-before", "crash-after", "conflict", "unavailable"])
@pytest.mark.parametrize("early", [True, False])
def test_a_crash_between_the_removal_and_the_record_loses_nothing(kind: Kind, *, early: bool) -> None:
    faults = After(kind, removal)

    async def story(world: World) -> None:
        faults.watch_in(world)
        await begun(world, Mesh(world), **({"duration": "10m"} if early else {}))
        if early:
            world.patch(CHAOS_RUNS, "run", {"spec": {"abort": True}})
        end = (await ended(world))["receipts"][0]
        assert faults.struck
        assert (end["state"], WORD in end["gone"]) == ("Reverted", True), end

    chaos(story, faults=faults)


@pytest.mark.parametrize("silence", [True, False])
def test_a_filter_that_no_status_knows_of_is_undone_and_not_called_refused(*, silence: bool) -> None:
    """The process that made it dies before it has said so, and the next one comes after the deadline."""
    faults = After("crash-before", creation)

    async def story(world: World) -> None:
        await staged(world)
        faults.watch_in(world)
        mesh = Mesh(world)
        mesh.start()
        run = mesh_run()
        run["spec"] |= {"duration": "1s"}
        world.apply(run)
        await world.until("the filter is there", lambda: bool(world.list(ENVOY_FILTERS)), within=30)
        if silence:  # by a process that died before it has said so, too; and its mesh is slow to tell
            mesh.stop()
            name = world.list(ENVOY_FILTERS)[0]["metadata"]["name"]
            patches = world.list(ENVOY_FILTERS)[0]["spec"]["configPatches"]
            for one in patches:
                one["patch"]["value"]["typed_config"]["delay"]["percentage"]["numerator"] = 0
            world.patch(ENVOY_FILTERS, name, {"spec": {"configPatches": patches}})
        end = (await ended(world))["receipts"][0]
        assert faults.struck
        assert end["state"] == "Reverted", end
        assert world.list(ENVOY_FILTERS) == []

    chaos(story, faults=faults)


@pytest.mark.parametrize("early", [True, False])
def test_a_mesh_that_has_died_leaves_the_lease_and_that_is_said(*, early: bool) -> None:
    async def story(world: World) -> None:
        mesh = Mesh(world)
        await begun(world, mesh, **({"duration": "10m"} if early else {}))
        mesh.stop()
        if early:
            world.patch(CHAOS_RUNS, "run", {"spec": {"abort": True}})
        end = (await ended(world))["receipts"][0]
        assert (end["state"], "could not be asked" in end["gone"]) == ("Reverted", True), end

    chaos(story)


def test_a_filter_that_somebody_deletes_while_the_controller_is_dead_is_not_called_unverified() -> None:
    async def story(world: World) -> None:
        await begun(world, Mesh(world), duration="10m")
        world.crash()
        name = world.list(ENVOY_FILTERS)[0]["metadata"]["name"]
        world.storage.delete(ENVOY_FILTERS, NAMESPACE, name)
        world.patch(CHAOS_RUNS, "run", {"spec": {"abort": True}})
        end = (await ended(world))["receipts"][0]
        assert (end["state"], "could not be asked" in end["gone"]) == ("Reverted", True), end

    chaos(story)
