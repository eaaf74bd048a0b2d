"""What comes and goes by itself: a namespace's own objects, the hour of an Event."""

from typing import Any

import pytest

from rollout.api.resources import CONFIG_MAPS, EVENTS, NAMESPACES, SERVICE_ACCOUNTS, Resource
from rollout.errors import NotFound
from rollout.sandbox.storage import Storage
from tests.unit.storage.conftest import FakeClock


def names(storage: Storage, resource: Resource, namespace: str) -> list[str]:
    return [obj["metadata"]["name"] for obj in storage.list(resource, namespace).items]


def test_every_namespace_has_a_service_account_and_gets_it_again(storage: Storage) -> None:
    storage.create(NAMESPACES, None, {"metadata": {"name": "shop"}})
    storage.collect_garbage()
    assert names(storage, SERVICE_ACCOUNTS, "shop") == ["default"]
    assert names(storage, SERVICE_ACCOUNTS, "kube-system") == ["default"]
    storage.delete(SERVICE_ACCOUNTS, "shop", "default")
    assert storage.has_garbage
    storage.collect_garbage()
    assert names(storage, SERVICE_ACCOUNTS, "shop") == ["default"]


def test_every_namespace_has_the_certificate_that_clients_trust(storage: Storage) -> None:
    storage.collect_garbage()
    assert names(storage, CONFIG_MAPS, "default") == []
    storage.trust("PEM")
    storage.create(NAMESPACES, None, {"metadata": {"name": "shop"}})
    storage.collect_garbage()
    for namespace in ("default", "shop"):
        assert storage.get(CONFIG_MAPS, namespace, "kube-root-ca.crt")["data"] == {"ca.crt": "PEM"}
    storage.patch(CONFIG_MAPS, "shop", "kube-root-ca.crt", {"data": {"ca.crt": "mine"}})
    storage.trust("another PEM")
    storage.collect_garbage()
    assert storage.get(CONFIG_MAPS, "shop", "kube-root-ca.crt")["data"] == {"ca.crt": "another PEM"}


def test_a_namespace_that_is_deleted_is_not_furnished_again(storage: Storage) -> None:
    storage.create(NAMESPACES, None, {"metadata": {"name": "shop"}})
    storage.collect_garbage()
    storage.delete(NAMESPACES, None, "shop")
    storage.collect_garbage()
    with pytest.raises(NotFound):
        storage.get(NAMESPACES, None, "shop")
    assert names(storage, SERVICE_ACCOUNTS, "shop") == []


def event(storage: Storage, name: str) -> dict[str, Any]:
    involved = {"kind": "Pod", "namespace": "default", "name": "a"}
    return storage.create(EVENTS, "default", {"metadata": {"name": name}, "involvedObject": involved})


def test_an_event_goes_an_hour_after_its_last_write(storage: Storage, clock: FakeClock) -> None:
    storage.collect_garbage()
    for name in ("old", "again", "new"):
        event(storage, name)
        clock.advance(60)
    clock.advance(3600 - 3 * 60 - 1)
    storage.patch(EVENTS, "default", "again", {"count": 2})
    assert not storage.has_garbage
    clock.advance(1)
    assert storage.has_garbage
    assert storage.collect_garbage() == 1
    assert names(storage, EVENTS, "default") == ["again", "new"]
    clock.advance(120)
    storage.collect_garbage()
    assert names(storage, EVENTS, "default") == ["again"]
    clock.advance(3600)
    assert storage.collect_garbage(limit=5) == 1
    assert names(storage, EVENTS, "default") == []


def test_watchers_see_an_event_expire(storage: Storage, clock: FakeClock) -> None:
    made = event(storage, "old")
    watcher = storage.watch(EVENTS, "default", resource_version=made["metadata"]["resourceVersion"])
    clock.advance(3600)
    storage.collect_garbage()
    seen = watcher.poll()
    assert seen is not None
    assert (seen.type, seen.object["metadata"]["name"]) == ("DELETED", "old")


def test_an_event_that_was_deleted_is_forgotten(storage: Storage, clock: FakeClock) -> None:
    event(storage, "old")
    storage.delete(EVENTS, "default", "old")
    storage.collect_garbage()
    clock.advance(7200)
    assert not storage.has_garbage
