"""StorageKube: the Kube protocol over the storage."""

import asyncio
from typing import Any

import pytest

from rollout.api.resources import CONFIG_MAPS, PODS
from rollout.errors import Conflict, Expired, NotFound
from rollout.runtime.kube import Kube, WatchEvent
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.storage import Storage


async def make(kube: Kube, name: str) -> dict[str, Any]:
    return await kube.create(CONFIG_MAPS, "default", {"metadata": {"name": name}, "data": {"n": "0"}})


async def test_it_speaks_the_protocol(storage: Storage) -> None:
    kube: Kube = StorageKube(storage, manager="tester")
    made = await make(kube, "a")
    assert made["metadata"]["managedFields"][0]["manager"] == "tester"
    assert await kube.get(CONFIG_MAPS, "default", "a") == made
    replaced = await kube.replace(CONFIG_MAPS, "default", "a", {**made, "data": {"n": "1"}})
    with pytest.raises(Conflict):
        await kube.replace(CONFIG_MAPS, "default", "a", made)
    patched = await kube.patch(CONFIG_MAPS, "default", "a", {"data": {"n": "2"}})
    assert int(patched["metadata"]["resourceVersion"]) > int(replaced["metadata"]["resourceVersion"])
    page = await kube.list(CONFIG_MAPS, "default", fields="metadata.name=a")
    assert list(page.items) == [patched]
    await kube.delete(CONFIG_MAPS, "default", "a", uid=made["metadata"]["uid"])
    with pytest.raises(NotFound):
        await kube.get(CONFIG_MAPS, "default", "a")
    await kube.close()


async def test_every_call_lets_others_go_first(storage: Storage) -> None:
    kube = StorageKube(storage)
    order: list[str] = []

    async def other() -> None:
        order.append("other")

    task = asyncio.create_task(other())
    await kube.list(CONFIG_MAPS)
    order.append("list")
    await task
    assert order == ["other", "list"]


async def test_a_watch_follows_what_happens(storage: Storage) -> None:
    kube = StorageKube(storage)
    events: list[WatchEvent] = []
    enough = asyncio.Event()

    async def follow() -> None:
        async for event in kube.watch(CONFIG_MAPS, "default", send_initial_events=True):
            events.append(event)
            if event.type == "DELETED":
                enough.set()

    await make(kube, "a")
    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    await make(kube, "b")
    await kube.delete(CONFIG_MAPS, "default", "b")
    await asyncio.wait_for(enough.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    told = [
        (event.type, event.object["metadata"].get("name")) for event in events if event.type != "BOOKMARK"
    ]
    assert told == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "b")]
    assert sum(event.type == "BOOKMARK" for event in events) == 1


async def test_a_watch_ends_quietly_at_its_time_out_after_a_bookmark(storage: Storage) -> None:
    kube = StorageKube(storage)
    made = await make(kube, "a")
    stream = kube.watch(CONFIG_MAPS, resource_version=made["metadata"]["resourceVersion"], timeout_seconds=1)
    events = [event async for event in stream]
    assert [event.type for event in events] == ["BOOKMARK"]
    assert events[0].object["metadata"]["resourceVersion"] == storage.resource_version


async def test_a_watch_from_too_long_ago_has_expired(clock: Any) -> None:
    kube = StorageKube(Storage(clock, history=2))
    first = await make(kube, "a")
    for name in "bcd":
        await make(kube, name)
    with pytest.raises(Expired):
        async for _ in kube.watch(CONFIG_MAPS, resource_version=first["metadata"]["resourceVersion"]):
            pass


async def test_eviction_and_logs(storage: Storage) -> None:
    async def log(namespace: str, name: str, container: str, tail: int | None) -> str:
        return f"{namespace}/{name}/{container}/{tail}"

    kube = StorageKube(storage, log=log)
    spec = {"containers": [{"name": "c", "image": "i"}]}
    await kube.create(PODS, "default", {"metadata": {"name": "p"}, "spec": spec})
    assert await kube.log("default", "p", container="c", tail=3) == "default/p/c/3"
    await kube.evict("default", "p", grace_seconds=0)
    with pytest.raises(NotFound):
        await kube.get(PODS, "default", "p")
    with pytest.raises(NotFound):
        await StorageKube(storage).log("default", "p")
