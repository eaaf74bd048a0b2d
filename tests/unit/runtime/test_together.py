"""The whole kit on the sandbox's storage: a small controller with informers, barrier, election and events."""

import asyncio

import pytest

from rollout.api.meta import Key, key_of, metadata
from rollout.api.resources import CONFIG_MAPS, EVENTS, LEASES
from rollout.errors import AlreadyExists, Unavailable
from rollout.runtime.clock import LoopClock
from rollout.runtime.events import Recorder
from rollout.runtime.fresh import Fresh
from rollout.runtime.informer import Informer, wait_synced
from rollout.runtime.kube import Kube, Object
from rollout.runtime.leader import Elector, FencedKube
from rollout.runtime.runner import After, Runner
from rollout.runtime.wrap import Change, WrappedKube
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.storage import Storage
from tests import virtual


class Faulty(WrappedKube):
    """Lets some changes fail before, and some after they took effect; counts what took effect."""

    def __init__(self, kube: Kube, clock: LoopClock, share: float) -> None:
        super().__init__(kube)
        self.clock = clock
        self.share = share
        self.done: list[str] = []
        self.clashes = 0

    async def _change(self, change, sent):
        await self.clock.sleep(self.clock.random.random() * 0.02)
        if change.resource == CONFIG_MAPS and self.clock.random.random() < self.share:
            sent.close()
            raise Unavailable("lost before", sent=False)
        try:
            answer = await sent
        except AlreadyExists:
            self.clashes += 1
            raise
        if change.resource == CONFIG_MAPS:
            self.done.append(describe(change))
            if self.clock.random.random() < self.share:
                raise Unavailable("lost after", sent=True)
        return answer


def describe(change: Change) -> str:
    return f"{change.verb} {change.key.name}"


class Copies:
    """A controller: a ConfigMap with data.copies = N gets N copies that it owns."""

    def __init__(self, kube: Kube, clock: LoopClock) -> None:
        self.informer = Informer(kube, CONFIG_MAPS, clock=clock)
        self.informer.on_change(self.enqueue)
        self.fresh = Fresh([self.informer.store], clock=clock)
        self.recorder = Recorder(kube, clock)
        self.elector = Elector(kube, namespace="default", name="copies", identity="a", clock=clock)
        self.kube = FencedKube(kube, self.elector)
        self.runner: Runner[Key] = Runner("copies", self.reconcile, clock=clock, ready=self.fresh.ready)

    def enqueue(self, old: Object | None, new: Object | None) -> None:
        obj = new or old or {}
        owners = metadata(obj).get("ownerReferences") or ()
        self.runner.add(Key("default", owners[0]["name"]) if owners else key_of(obj))

    async def reconcile(self, key: Key) -> After | None:
        parent = self.informer.store.get(key)
        if parent is None or "copies" not in (parent.get("data") or {}):
            return None
        uid = parent["metadata"]["uid"]
        kube = self.fresh.kube(key, self.kube)
        wanted = {f"{key.name}-{n}" for n in range(int(parent["data"]["copies"]))}
        have = {o["metadata"]["name"]: o for o in self.informer.store.owned_by(uid)}
        for name in sorted(wanted - have.keys()):
            owner = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "name": key.name,
                "uid": uid,
                "controller": True,
            }
            meta = {"name": name, "ownerReferences": [owner]}
            await kube.create(CONFIG_MAPS, "default", {"metadata": meta})
            self.recorder.emit(parent, "Normal", "Copied", f"made {name}")
        for name in sorted(have.keys() - wanted):
            await kube.delete(CONFIG_MAPS, "default", name, uid=have[name]["metadata"]["uid"])
        return None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.informer.run())
            group.create_task(self.recorder.run())
            await wait_synced(self.informer)
            await self.elector.run(self.runner.run)


def copies(storage: Storage, parent: str) -> list[str]:
    names = [o["metadata"]["name"] for o in storage.list(CONFIG_MAPS, "default").items]
    return [name for name in names if name.startswith(f"{parent}-")]


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_a_controller_on_the_kit_converges_does_nothing_twice_and_rests(share: float) -> None:
    async def main(clock: LoopClock) -> None:
        storage = Storage(clock)
        user = StorageKube(storage)
        kube = Faulty(StorageKube(storage), clock, share)
        controller = Copies(kube, clock)
        task = asyncio.create_task(controller.run())
        await user.create(CONFIG_MAPS, "default", {"metadata": {"name": "p"}, "data": {"copies": "3"}})
        for count in (5, 1, 4, 2, 6):
            await user.patch(CONFIG_MAPS, "default", "p", {"data": {"copies": str(count)}})
            await clock.sleep(clock.random.random() * 0.2)
        await clock.sleep(60)
        assert copies(storage, "p") == [f"p-{n}" for n in range(6)]
        if not share:
            assert kube.clashes == 0  # the barrier: nothing is created twice
            events = storage.list(EVENTS, "default").items
            assert {e["message"] for e in events} >= {f"made p-{n}" for n in range(6)}
        before = len(kube.done)
        await clock.sleep(600)
        assert len(kube.done) == before
        controller.runner.stop()
        await clock.sleep(1)
        assert storage.get(LEASES, "default", "copies")["spec"]["holderIdentity"] == ""
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for seed in range(8):
        virtual.run(main, seed=seed)
