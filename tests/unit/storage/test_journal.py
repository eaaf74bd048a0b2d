"""Durable state: what was acknowledged is there after kill -9, and nothing else changes by a restart."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rollout.api.resources import CONFIG_MAPS, CRDS, NAMESPACES, PDBS, PODS, SERVICES, Resource
from rollout.errors import ApiError, Expired, SandboxError
from rollout.sandbox.storage import SqliteJournal, Storage
from rollout.sandbox.storage.state import State
from tests.unit.storage.conftest import FakeClock

ROOT = Path(__file__).parents[3]

CARTS = Resource("shop.io", "v1", "carts", "Cart")
CRD = {
    "metadata": {"name": "carts.shop.io"},
    "spec": {
        "group": "shop.io",
        "scope": "Namespaced",
        "names": {"plural": "carts", "kind": "Cart"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}

CHILD = """
import sys
from pathlib import Path
from rollout.api.resources import CONFIG_MAPS
from rollout.runtime.clock import SystemClock
from rollout.sandbox.storage import SqliteJournal, Storage
from rollout.sandbox.storage.state import State

storage = Storage(SystemClock(), journal=SqliteJournal(Path(sys.argv[1])))
number = 0
while True:
    name = f"n{number % 7}"
    if storage.exists(CONFIG_MAPS, "default", name) and number % 3 == 0:
        storage.delete(CONFIG_MAPS, "default", name)
        print(storage.resource_version, name, "-", flush=True)
    else:
        body = {"metadata": {"name": name}, "data": {"n": str(number)}}
        exists = storage.exists(CONFIG_MAPS, "default", name)
        if exists:
            storage.patch(CONFIG_MAPS, "default", name, body)
        else:
            storage.create(CONFIG_MAPS, "default", body)
        print(storage.resource_version, name, number, flush=True)
    number += 1
"""


def opened(directory: Path) -> Storage:
    return Storage(FakeClock(), journal=SqliteJournal(directory))


def test_kill_minus_nine_loses_no_acknowledged_write(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdout is not None
    try:
        lines = [child.stdout.readline() for _ in range(60)]
    finally:
        os.kill(child.pid, signal.SIGKILL)
    rest, _ = child.communicate()
    acknowledged = [line.split() for line in [*lines, *rest.splitlines(keepends=True)] if line.endswith("\n")]
    assert len(acknowledged) >= 60
    expected = {name: value for _, name, value in acknowledged}
    version = int(acknowledged[-1][0])

    storage = opened(tmp_path)
    kept = int(storage.resource_version)
    found = {obj["metadata"]["name"]: obj["data"]["n"] for obj in storage.list(CONFIG_MAPS, "default").items}
    storage.close()
    assert kept in {version, version + 1}  # the write after the last acknowledged one may have happened
    if kept == version:
        assert found == {name: value for name, value in expected.items() if value != "-"}
    else:
        differing = [name for name in expected if found.get(name, "-") != expected[name]]
        assert len(differing) == 1


def test_everything_is_as_it_was_after_a_restart(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.create(CRDS, None, CRD)
    first.create(CARTS, "default", {"metadata": {"name": "c"}, "spec": {"any": [1, 2.5, "x", None, True]}})
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    address = first.create(SERVICES, "default", service)["spec"]["clusterIP"]
    first.create(CONFIG_MAPS, "default", {"metadata": {"name": "gone"}})
    first.delete(CONFIG_MAPS, "default", "gone")
    everything = {served.resource: list(first.list(served.resource).items) for served in first.resources()}
    version = first.resource_version
    first.close()

    second = opened(tmp_path)
    assert second.resource_version == version
    assert {
        served.resource: list(second.list(served.resource).items) for served in second.resources()
    } == everything
    other = second.create(SERVICES, "default", {"metadata": {"name": "t"}, "spec": {"ports": [{"port": 80}]}})
    assert other["spec"]["clusterIP"] != address
    assert int(other["metadata"]["resourceVersion"]) == int(version) + 1
    second.close()


def test_watches_from_before_a_restart_have_expired(tmp_path: Path) -> None:
    first = opened(tmp_path)
    before = first.create(CONFIG_MAPS, "default", {"metadata": {"name": "a"}})["metadata"]["resourceVersion"]
    first.patch(CONFIG_MAPS, "default", "a", {"data": {"x": "1"}})
    last = first.resource_version
    first.close()
    second = opened(tmp_path)
    with pytest.raises(Expired):
        second.watch(CONFIG_MAPS, resource_version=before)
    watcher = second.watch(CONFIG_MAPS, resource_version=last)
    second.patch(CONFIG_MAPS, "default", "a", {"data": {"x": "2"}})
    event = watcher.poll()
    assert event is not None
    assert event.type == "MODIFIED"
    second.close()


def test_garbage_collection_goes_on_after_a_restart(tmp_path: Path) -> None:
    first = opened(tmp_path)
    owner = first.create(CONFIG_MAPS, "default", {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    first.create(CONFIG_MAPS, "default", {"metadata": {"name": "child", "ownerReferences": [reference]}})
    first.create(NAMESPACES, None, {"metadata": {"name": "team"}})
    first.delete(CONFIG_MAPS, "default", "owner")
    first.delete(NAMESPACES, None, "team")
    first.close()
    second = opened(tmp_path)
    second.collect_garbage()
    assert not second.exists(CONFIG_MAPS, "default", "child")
    assert not second.exists(NAMESPACES, None, "team")
    second.close()


def test_a_directory_has_one_user_at_a_time(tmp_path: Path) -> None:
    first = opened(tmp_path)
    with pytest.raises(SandboxError, match="Is another sandbox running on this directory"):
        opened(tmp_path)
    first.close()


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite3").write_bytes(b"not a database at all" * 100)
    with pytest.raises(SandboxError, match=r"cannot keep state in .*state\.sqlite3"):
        opened(tmp_path)


def test_a_format_of_another_release_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "state.sqlite3")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SandboxError, match="has format 99, this release reads 1"):
        opened(tmp_path)


def test_the_file_is_private(tmp_path: Path) -> None:
    opened(tmp_path / "new").close()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new" / "state.sqlite3").stat().st_mode & 0o777 == 0o600


def test_a_write_that_cannot_be_kept_does_not_happen() -> None:
    class FullDisk:
        full = False

        def append(self, *_: Any) -> None:
            if self.full:
                raise ApiError("Internal error occurred: the write could not be kept: disk full")

    journal = FullDisk()
    state = State(history=10, journal=journal)
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}
    bucket = ("", "configmaps")
    kept = state.commit(bucket, None, obj)
    journal.full = True
    seen: list[Any] = []
    state.on_write(lambda *change: seen.append(change))
    with pytest.raises(ApiError):
        state.commit(bucket, kept, None)
    assert state.table(bucket).get("default", "a") is kept
    assert state.version == 1
    assert seen == []


def test_an_eviction_that_cannot_be_kept_changes_neither_pod_nor_budget(tmp_path: Path) -> None:
    class Disk(SqliteJournal):
        full = False
        transactions = 0

        def append(self, writes: Any) -> None:
            if self.full:
                raise ApiError("Internal error occurred: the write could not be kept: disk full")
            super().append(writes)
            self.transactions += 1

    journal = Disk(tmp_path)
    storage = Storage(FakeClock(), journal=journal)
    spec = {"containers": [{"name": "c", "image": "web:v1"}], "nodeName": "n1"}
    storage.create(PODS, "default", {"metadata": {"name": "a", "labels": {"app": "web"}}, "spec": spec})
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    storage.patch(PODS, "default", "a", {"status": ready}, subresource="status")
    selector = {"matchLabels": {"app": "web"}}
    storage.create(PDBS, "default", {"metadata": {"name": "b"}, "spec": {"selector": selector}})
    allowed = {"disruptionsAllowed": 1, "observedGeneration": 1, "currentHealthy": 1, "desiredHealthy": 0}
    storage.patch(PDBS, "default", "b", {"status": allowed | {"expectedPods": 1}}, subresource="status")
    before = [storage.get(PODS, "default", "a"), storage.get(PDBS, "default", "b")]
    journal.full = True
    with pytest.raises(ApiError, match="disk full"):
        storage.evict("default", "a")
    assert [storage.get(PODS, "default", "a"), storage.get(PDBS, "default", "b")] == before
    journal.full = False
    journal.transactions = 0
    storage.evict("default", "a")
    assert journal.transactions == 1  # of the budget, the pod's condition and its deletion
    assert storage.get(PDBS, "default", "b")["status"]["disruptionsAllowed"] == 0
    assert storage.get(PODS, "default", "a")["metadata"]["deletionTimestamp"]
    storage.close()
    after = opened(tmp_path)
    assert after.get(PDBS, "default", "b") == storage.get(PDBS, "default", "b")
    assert after.get(PODS, "default", "a") == storage.get(PODS, "default", "a")
    after.close()
