"""Both clients and the informer against the sandbox's API server: TLS, token, kubeconfig and all."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from rollout import errors
from rollout.api.meta import Key
from rollout.api.resources import CONFIG_MAPS, DEPLOYMENTS, PODS, REPLICA_SETS
from rollout.runtime import config
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import SystemClock
from rollout.runtime.config import Connection
from rollout.runtime.informer import Informer
from rollout.runtime.sync import SyncKube

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    state = tmp_path_factory.mktemp("state")
    command = [sys.executable, "-m", "rollout.sandbox.http", "--state", str(state)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield config.load(kubeconfig=ready["kubeconfig"], environ=os.environ)
    finally:
        process.communicate(timeout=30)


@pytest.fixture
async def kube(connection: Connection) -> AsyncIterator[HttpKube]:
    client = HttpKube(connection)
    yield client
    await client.close()


def settings(name: str, **data: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_an_objects_whole_life(kube: HttpKube, connection: Connection) -> None:
    made = await kube.create(CONFIG_MAPS, "default", settings("life", a="1"))
    with pytest.raises(errors.AlreadyExists):
        await kube.create(CONFIG_MAPS, "default", settings("life"))
    changed = await kube.patch(CONFIG_MAPS, "default", "life", {"data": {"b": "2"}})
    assert changed["data"] == {"a": "1", "b": "2"}
    with pytest.raises(errors.Conflict):
        await kube.replace(CONFIG_MAPS, "default", "life", made)
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"c": "3"}}
    with pytest.raises(errors.Conflict):
        await kube.patch(CONFIG_MAPS, "default", "life", stale)
    applied = await kube.patch(
        CONFIG_MAPS, "default", "life", settings("life", a="9"), type="apply", force=True
    )
    assert applied["data"]["a"] == "9"
    with SyncKube(connection) as blocking:
        assert await asyncio.to_thread(blocking.get, CONFIG_MAPS, "default", "life") == applied
    with pytest.raises(errors.Conflict):
        await kube.delete(CONFIG_MAPS, "default", "life", uid="another")
    await kube.delete(CONFIG_MAPS, "default", "life", uid=made["metadata"]["uid"])
    with pytest.raises(errors.NotFound):
        await kube.get(CONFIG_MAPS, "default", "life")


async def test_a_pod_gets_ephemeral_containers_by_every_kind_of_patch(kube: HttpKube) -> None:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "debugged"}, "spec": spec}
    await kube.create(PODS, "default", pod)
    sub = {"subresource": "ephemeralcontainers"}
    one, two, three = ({"name": name, "image": "i"} for name in ("one", "two", "three"))
    patch = {"spec": {"ephemeralContainers": [one]}}
    await kube.patch(PODS, "default", "debugged", patch, type="strategic", **sub)
    op = [{"op": "add", "path": "/spec/ephemeralContainers/-", "value": two}]
    made = await kube.patch(PODS, "default", "debugged", op, type="json", **sub)
    both = made["spec"]["ephemeralContainers"]
    patch = {
        "metadata": {"resourceVersion": made["metadata"]["resourceVersion"]},
        "spec": {"ephemeralContainers": [*both, three]},
    }
    await kube.patch(PODS, "default", "debugged", patch, **sub)
    with pytest.raises(errors.Conflict):  # the version is a precondition here, too
        await kube.patch(PODS, "default", "debugged", patch, **sub)
    found = await kube.get(PODS, "default", "debugged", **sub)
    assert [item["name"] for item in found["spec"]["ephemeralContainers"]] == ["one", "two", "three"]
    with pytest.raises(errors.Invalid, match="may not be removed"):
        await kube.patch(PODS, "default", "debugged", {"spec": {"ephemeralContainers": [one]}}, **sub)


async def test_scale_is_read_and_set(kube: HttpKube) -> None:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": template}
    await kube.create(REPLICA_SETS, "default", {"metadata": {"name": "scaled"}, "spec": spec})
    await kube.patch(REPLICA_SETS, "default", "scaled", {"spec": {"replicas": 3}}, subresource="scale")
    assert (await kube.get(REPLICA_SETS, "default", "scaled", subresource="scale"))["spec"]["replicas"] == 3


async def test_bad_objects_are_refused_with_their_causes(kube: HttpKube) -> None:
    with pytest.raises(errors.Invalid) as caught:
        await kube.create(DEPLOYMENTS, "default", {"metadata": {"name": "bad"}, "spec": {"replicas": -1}})
    assert caught.value.details
    with pytest.raises(errors.NotFound):
        await kube.create(CONFIG_MAPS, "nowhere", settings("x"))
    with pytest.raises(errors.NotFound):
        await kube.log("default", "no-such-pod")


async def test_a_wrong_token_is_unauthorized(connection: Connection) -> None:
    import msgspec

    stranger = HttpKube(
        msgspec.structs.replace(connection, token="wrong", token_file="", certificate=None, key=None)
    )
    with pytest.raises(errors.Unauthorized):
        await stranger.list(PODS)
    await stranger.close()


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_informer_lists_and_follows(kube: HttpKube, streaming: bool) -> None:
    name = f"followed-{streaming}".lower()
    label = {"metadata": {"name": name, "labels": {"kind": name}}}
    await kube.create(CONFIG_MAPS, "default", label)
    informer = Informer(kube, CONFIG_MAPS, clock=SystemClock(), labels=f"kind={name}", streaming=streaming)
    versions: asyncio.Queue[str] = asyncio.Queue()
    informer.on_change(
        lambda old, new: versions.put_nowait(new["metadata"]["resourceVersion"] if new else "gone")
    )
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(20):
            await informer.wait_synced()
            await versions.get()
            changed = await kube.patch(CONFIG_MAPS, "default", name, {"data": {"a": "b"}})
            assert await versions.get() == changed["metadata"]["resourceVersion"]
            seen = informer.store.get(Key("default", name))
            assert seen is not None
            assert "managedFields" not in seen["metadata"]
            assert seen["data"] == {"a": "b"}
            await kube.delete(CONFIG_MAPS, "default", name)
            assert await versions.get() == "gone"
        assert kube.requests["list", "configmaps", "200"] == (0 if streaming else 1)
        assert informer.relists == 1
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_blocking_watch_sees_what_others_do(kube: HttpKube, connection: Connection) -> None:
    with SyncKube(connection) as blocking:
        start = (await asyncio.to_thread(blocking.list, CONFIG_MAPS, "default")).resource_version

        def first() -> str:
            for event in blocking.watch(CONFIG_MAPS, "default", resource_version=start, timeout_seconds=20):
                if event.type == "ADDED":
                    return str(event.object["metadata"]["name"])
            return "nothing"

        seen = asyncio.create_task(asyncio.to_thread(first))
        await kube.create(CONFIG_MAPS, "default", settings("watched"))
        assert await seen == "watched"
