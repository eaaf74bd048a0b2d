"""Whatever is sent, the answer is an object or a refusal of ours; the storage stays as it was when it refuses."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.api.resources import NAMESPACES, PODS
from rollout.errors import ApiError
from rollout.sandbox.storage import Options, Served, Storage
from rollout.sandbox.storage.registry import builtins
from tests.unit.storage.conftest import FakeClock

FIELDS = st.sampled_from(
    [
        "name",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "managedFields",
        "uid",
        "kind",
        "selector",
        "spec",
        "status",
        "containers",
        "template",
        "metadata",
        "versions",
        "names",
        "group",
        "ports",
        "clusterIP",
        "stringData",
        "data",
        "type",
        "matchLabels",
        "resources",
        "limits",
        "cpu",
        "replicas",
        "scope",
        "plural",
    ]
)
JUNK = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.sampled_from(["", "a", "web", "10.96.0.7", "None", "Namespaced", "ExternalName", "Ü"]),
        st.just(1.5),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(FIELDS, inner, max_size=4)),
    max_leaves=12,
)
METADATA = st.dictionaries(FIELDS, JUNK, max_size=3)


def refused(error: ApiError) -> None:
    assert error.code < 500, error


@given(
    served=st.sampled_from(builtins()),
    spec=JUNK,
    meta=METADATA,
    extra=st.dictionaries(FIELDS, JUNK, max_size=2),
)
@settings(max_examples=150, deadline=None)
def test_junk_is_created_or_refused(
    served: Served, spec: Any, meta: dict[str, Any], extra: dict[str, Any]
) -> None:
    storage = Storage(FakeClock())
    body = {"spec": spec, **extra, "metadata": {"name": "a", **meta}}
    before = storage.resource_version
    try:
        made = storage.create(served.resource, "default" if served.resource.namespaced else None, body)
    except ApiError as error:
        refused(error)
        assert storage.resource_version == before
    else:
        storage.collect_garbage()
        for subresource in served.subresources:
            if subresource == "scale":
                storage.get(served.resource, "default", made["metadata"]["name"], subresource="scale")


POD = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c", "image": "web:v1"}]}}


@given(
    patch=JUNK,
    type=st.sampled_from(["merge", "json", "strategic", "apply"]),
    subresource=st.sampled_from(["", "status"]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_patches_are_taken_or_refused(patch: Any, type: Any, subresource: str) -> None:
    storage = Storage(FakeClock())
    storage.create(PODS, "default", POD)
    try:
        storage.patch(
            PODS, "default", "web", patch, type=type, subresource=subresource, options=Options(force=True)
        )
    except ApiError as error:
        refused(error)


def test_a_namespace_is_finalized_through_its_subresource_only(storage: Storage) -> None:
    storage.create(NAMESPACES, None, {"metadata": {"name": "team"}})
    kept = storage.patch(NAMESPACES, None, "team", {"spec": {"finalizers": []}})
    assert kept["spec"]["finalizers"] == ["kubernetes"]
    storage.patch(NAMESPACES, None, "team", {"metadata": {"finalizers": ["x.io/f"]}})
    storage.delete(NAMESPACES, None, "team")
    current = storage.get(NAMESPACES, None, "team")
    storage.replace(NAMESPACES, None, "team", {**current, "spec": {"finalizers": []}}, subresource="finalize")
    assert storage.get(NAMESPACES, None, "team")["spec"] == {"finalizers": []}
    storage.patch(NAMESPACES, None, "team", {"metadata": {"finalizers": None}})
    assert not storage.exists(NAMESPACES, None, "team")


def test_a_patch_cannot_move_an_object_to_another_namespace(storage: Storage) -> None:
    storage.create(PODS, "default", POD)
    with pytest.raises(ApiError, match="does not match the namespace sent on the request"):
        storage.patch(PODS, "default", "web", {"metadata": {"namespace": "kube-system"}})


def test_namespaces_are_not_deleted_by_the_collection(storage: Storage) -> None:
    with pytest.raises(ApiError, match="deletecollection is not supported") as caught:
        storage.delete_collection(NAMESPACES, None)
    assert caught.value.code == 405
