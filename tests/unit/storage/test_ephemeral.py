"""Ephemeral containers: only through their subresource, only added, nothing else written."""

from typing import Any

import pytest

from rollout.api.resources import PODS
from rollout.errors import Invalid, NotFound
from rollout.sandbox.storage import Storage

DEBUG = {"name": "debug", "image": "surefoot/injector:1", "targetContainerName": "c"}


@pytest.fixture
def pod(storage: Storage) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "web:v1"}]}
    return storage.create(PODS, "default", {"metadata": {"name": "web"}, "spec": spec})


def add(storage: Storage, *containers: dict[str, Any], **options: Any) -> dict[str, Any]:
    patch = {"spec": {"ephemeralContainers": list(containers)}}
    return storage.patch(PODS, "default", "web", patch, subresource="ephemeralcontainers", **options)


def names(pod: dict[str, Any]) -> list[str]:
    return [one["name"] for one in pod["spec"].get("ephemeralContainers") or ()]


def test_a_strategic_patch_adds_to_those_that_are_there(storage: Storage, pod: dict[str, Any]) -> None:
    add(storage, DEBUG, type="strategic")
    made = add(storage, {"name": "second", "image": "x"}, type="strategic")
    assert set(names(made)) == {"debug", "second"}
    assert made["metadata"]["generation"] == 3
    [first] = [one for one in made["spec"]["ephemeralContainers"] if one["name"] == "debug"]
    assert first["targetContainerName"] == "c"
    assert first["imagePullPolicy"] == "IfNotPresent"


def test_json_and_merge_patches_puts_and_applies_work_too(storage: Storage, pod: dict[str, Any]) -> None:
    add(storage, DEBUG)
    op = [{"op": "add", "path": "/spec/ephemeralContainers/-", "value": {"name": "two", "image": "x"}}]
    sub = {"subresource": "ephemeralcontainers"}
    assert names(storage.patch(PODS, "default", "web", op, type="json", **sub)) == ["debug", "two"]
    live = storage.get(PODS, "default", "web", **sub)
    more = [*live["spec"]["ephemeralContainers"], {"name": "three", "image": "x"}]
    put = {**live, "spec": {**live["spec"], "ephemeralContainers": more}}
    assert names(storage.replace(PODS, "default", "web", put, **sub)) == ["debug", "two", "three"]
    applied = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"ephemeralContainers": [{"name": "four", "image": "x"}]},
    }
    made = storage.patch(PODS, "default", "web", applied, type="apply", **sub)
    assert set(names(made)) == {"debug", "two", "three", "four"}
    assert made["spec"]["containers"][0]["image"] == "web:v1"


def test_nothing_else_is_written_through_the_subresource(storage: Storage, pod: dict[str, Any]) -> None:
    patch = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "evil"}], "ephemeralContainers": [DEBUG]},
        "status": {"phase": "Failed"},
    }
    made = storage.patch(PODS, "default", "web", patch, subresource="ephemeralcontainers")
    assert names(made) == ["debug"]
    assert made["spec"]["containers"][0]["image"] == "web:v1"
    assert not made["metadata"].get("labels")
    assert made["status"]["phase"] == "Pending"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([], 'spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug" may not be removed'),
        (
            [{**DEBUG, "image": "other"}],
            'spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug" may not be changed',
        ),
    ],
)
def test_what_is_there_stays_as_it_is(
    storage: Storage, pod: dict[str, Any], change: list[Any], message: str
) -> None:
    add(storage, DEBUG)
    with pytest.raises(Invalid, match="web") as refused:
        add(storage, *change)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"targetContainerName": "no"}, 'targetContainerName: Not found: "no"'),
        ({"name": "c"}, 'name: Duplicate value: "c"'),
        ({"ports": [{"containerPort": 1}]}, "ports: Forbidden: cannot be set for an Ephemeral Container"),
        ({"resources": {"limits": {"cpu": "1"}}}, "resources: Forbidden: cannot be set for an Ephemeral"),
        ({"livenessProbe": {"tcpSocket": {"port": 1}}}, "livenessProbe: Forbidden: cannot be set for an"),
        ({"image": ""}, "image: Required value"),
    ],
)
def test_what_an_ephemeral_container_may_not_be(
    storage: Storage, pod: dict[str, Any], container: dict[str, Any], message: str
) -> None:
    with pytest.raises(Invalid) as refused:
        add(storage, {**DEBUG, **container})
    assert f"spec.ephemeralContainers[0].{message}" in str(refused.value)


def test_neither_a_new_pod_nor_an_ordinary_update_may_have_them(
    storage: Storage, pod: dict[str, Any]
) -> None:
    with pytest.raises(Invalid, match="pod updates may not change fields other than"):
        storage.patch(PODS, "default", "web", {"spec": {"ephemeralContainers": [DEBUG]}})
    spec = {"containers": [{"name": "c", "image": "x"}], "ephemeralContainers": [DEBUG]}
    with pytest.raises(Invalid, match=r"spec.ephemeralContainers: Forbidden: cannot be set on create"):
        storage.create(PODS, "default", {"metadata": {"name": "b"}, "spec": spec})


def test_only_pods_have_the_subresource(storage: Storage) -> None:
    from rollout.api.resources import REPLICA_SETS

    with pytest.raises(NotFound):
        storage.patch(REPLICA_SETS, "default", "x", {}, subresource="ephemeralcontainers")
