"""Watches: order, selectors, bookmarks, bounded history."""

from typing import Any

import pytest

from rollout.api.resources import CONFIG_MAPS, PODS, ROLLOUTS
from rollout.errors import Expired, Timeout
from rollout.runtime.kube import WatchEvent
from rollout.sandbox.storage import DeleteOptions, Storage, Watcher


def write(
    storage: Storage, name: str, *, labels: dict[str, str] | None = None, **data: str
) -> dict[str, Any]:
    body = {"metadata": {"name": name, "labels": labels}, "data": data}
    if storage.exists(CONFIG_MAPS, "default", name):
        return storage.patch(CONFIG_MAPS, "default", name, body)
    return storage.create(CONFIG_MAPS, "default", body)


def seen(watcher: Watcher) -> list[tuple[str, str]]:
    found = []
    while (event := watcher.poll()) is not None:
        found.append((event.type, event.object["metadata"].get("name", "")))
    return found


def test_a_watch_tells_what_comes_after_its_version(storage: Storage) -> None:
    write(storage, "before")
    watcher = storage.watch(CONFIG_MAPS, "default", resource_version=storage.resource_version)
    assert seen(watcher) == []
    write(storage, "a", x="1")
    write(storage, "a", x="2")
    storage.delete(CONFIG_MAPS, "default", "a")
    assert seen(watcher) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert seen(watcher) == []


def test_a_watch_from_an_older_version_catches_up(storage: Storage) -> None:
    first = write(storage, "a", x="1")["metadata"]["resourceVersion"]
    write(storage, "a", x="2")
    write(storage, "b")
    assert seen(storage.watch(CONFIG_MAPS, resource_version=first)) == [("MODIFIED", "a"), ("ADDED", "b")]


@pytest.mark.parametrize("version", ["", "0"])
def test_a_watch_without_a_version_begins_with_what_is_there(storage: Storage, version: str) -> None:
    write(storage, "b")
    write(storage, "a")
    watcher = storage.watch(CONFIG_MAPS, "default", resource_version=version)
    assert seen(watcher) == [("ADDED", "a"), ("ADDED", "b")]


def test_a_deletion_carries_the_version_at_which_it_happened(storage: Storage) -> None:
    made = write(storage, "a")
    watcher = storage.watch(CONFIG_MAPS, resource_version=storage.resource_version)
    storage.delete(CONFIG_MAPS, "default", "a")
    event = watcher.poll()
    assert event is not None
    assert event.object["metadata"]["resourceVersion"] == storage.resource_version
    assert event.object["metadata"]["uid"] == made["metadata"]["uid"]


def test_initial_events_end_with_a_bookmark_that_says_so(storage: Storage) -> None:
    write(storage, "a")
    watcher = storage.watch(CONFIG_MAPS, send_initial_events=True)
    assert watcher.poll() == WatchEvent("ADDED", storage.get(CONFIG_MAPS, "default", "a"))
    assert watcher.poll() == WatchEvent(
        "BOOKMARK",
        {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {
                "resourceVersion": storage.resource_version,
                "annotations": {"k8s.io/initial-events-end": "true"},
            },
        },
    )
    write(storage, "b")
    assert seen(watcher) == [("ADDED", "b")]


def test_a_selector_turns_changes_into_entering_and_leaving(storage: Storage) -> None:
    watcher = storage.watch(CONFIG_MAPS, labels="tier=web", resource_version=storage.resource_version)
    write(storage, "a", labels={"tier": "db"})
    write(storage, "a", labels={"tier": "web"})
    write(storage, "a", labels={"tier": "web"}, x="1")
    last = write(storage, "a", labels={"tier": "db"})
    assert [watcher.poll().type for _ in range(2)] == ["ADDED", "MODIFIED"]  # type: ignore[union-attr]
    event = watcher.poll()
    assert event is not None
    assert event.type == "DELETED"
    assert event.object["metadata"]["labels"] == {"tier": "web"}
    assert event.object["metadata"]["resourceVersion"] == last["metadata"]["resourceVersion"]
    storage.delete(CONFIG_MAPS, "default", "a")
    assert watcher.poll() is None


def test_a_field_selector_follows_a_pod_to_its_node(storage: Storage) -> None:
    watcher = storage.watch(PODS, fields="spec.nodeName=n1")
    storage.create(
        PODS, "default", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    )
    assert watcher.poll() is None
    storage.bind("default", "p", "n1")
    assert seen(watcher) == [("ADDED", "p")]
    storage.delete(PODS, "default", "p", options=DeleteOptions(grace_seconds=0))
    assert seen(watcher) == [("DELETED", "p")]


def test_another_namespace_is_not_told(storage: Storage) -> None:
    watcher = storage.watch(CONFIG_MAPS, "kube-system")
    write(storage, "a")
    assert watcher.poll() is None


def test_a_version_before_the_history_has_expired(clock: Any) -> None:
    storage = Storage(clock, history=3)
    version = write(storage, "a", x="0")["metadata"]["resourceVersion"]
    for number in range(3):
        write(storage, "a", x=f"n{number}")
    assert len(seen(storage.watch(CONFIG_MAPS, resource_version=version))) == 3
    write(storage, "a", x="last")
    with pytest.raises(Expired) as caught:
        storage.watch(CONFIG_MAPS, resource_version=version)
    assert caught.value.message == f"too old resource version: {version} ({int(version) + 1})"
    assert caught.value.status()["code"] == 410


def test_a_slow_watcher_is_cut_off(clock: Any) -> None:
    storage = Storage(clock, history=3)
    watcher = storage.watch(CONFIG_MAPS)
    for number in range(4):
        write(storage, "a", x=str(number))
    with pytest.raises(Expired, match="too old resource version"):
        watcher.poll()
    assert watcher.closed
    assert watcher.poll() is None


def test_a_version_that_does_not_exist_yet_is_refused(storage: Storage) -> None:
    with pytest.raises(Timeout, match="Too large resource version: 99999, current: "):
        storage.watch(CONFIG_MAPS, resource_version="99999")


def test_a_bookmark_tells_how_far_the_watcher_has_been_told(storage: Storage) -> None:
    watcher = storage.watch(CONFIG_MAPS)
    told = storage.resource_version
    write(storage, "a")
    assert watcher.bookmark().object["metadata"]["resourceVersion"] == told
    assert seen(watcher) == [("ADDED", "a")]
    storage.create(
        PODS, "default", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    )
    assert watcher.bookmark().object["metadata"]["resourceVersion"] == storage.resource_version


def test_wake_is_called_once_until_everything_was_read(storage: Storage) -> None:
    calls: list[None] = []
    watcher = storage.watch(CONFIG_MAPS, wake=lambda: calls.append(None))
    write(storage, "a")
    assert calls == []  # not yet waiting: it has never been read to the end
    assert seen(watcher) == [("ADDED", "a")]
    write(storage, "b")
    write(storage, "c")
    assert len(calls) == 1
    assert seen(watcher) == [("ADDED", "b"), ("ADDED", "c")]
    watcher.close()
    write(storage, "d")
    assert len(calls) == 1


def test_watchers_share_the_stored_object(storage: Storage) -> None:
    watchers = [storage.watch(CONFIG_MAPS), storage.watch(CONFIG_MAPS, labels="a!=b")]
    made = write(storage, "a")
    events = [watcher.poll() for watcher in watchers]
    assert all(event is not None and event.object is made for event in events)


def test_watching_what_is_not_served_is_refused(storage: Storage) -> None:
    with pytest.raises(Exception, match="the server could not find the requested resource"):
        storage.watch(ROLLOUTS)
