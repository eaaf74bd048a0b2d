"""Custom resources: served at once, several versions of one object, schema at the door, status and scale."""

from typing import Any

import pytest

from rollout.api.resources import CRDS, DEPLOYMENTS, Resource
from rollout.errors import BadRequest, Conflict, Invalid, MethodNotAllowed, NotFound, UnsupportedMediaType
from rollout.sandbox.storage import DeleteOptions, Options, Storage

V1 = Resource("shop.io", "v1", "carts", "Cart")
V2 = Resource("shop.io", "v2", "carts", "Cart")

SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "integer", "minimum": 0, "default": 3},
                "note": {"type": "string"},
            },
        },
        "status": {
            "type": "object",
            "properties": {"size": {"type": "integer"}, "selector": {"type": "string"}},
        },
    },
}
SCALE = {
    "specReplicasPath": ".spec.size",
    "statusReplicasPath": ".status.size",
    "labelSelectorPath": ".status.selector",
}


def version(name: str, *, storage: bool = False, served: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "served": served,
        "storage": storage,
        "schema": {"openAPIV3Schema": SCHEMA},
        "subresources": {"status": {}, "scale": SCALE},
        **more,
    }


def with_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {**version("v1", storage=True), "schema": {"openAPIV3Schema": schema}}


def definition(*versions: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": "carts.shop.io"},
        "spec": {
            "group": "shop.io",
            "scope": "Namespaced",
            "names": {"plural": "carts", "kind": "Cart", "shortNames": ["ct"]},
            "versions": list(versions),
        },
    }


@pytest.fixture
def shop(storage: Storage) -> Storage:
    storage.create(CRDS, None, definition(version("v1"), version("v2", storage=True)))
    return storage


def cart(storage: Storage, resource: Resource = V2, **spec: Any) -> dict[str, Any]:
    return storage.create(resource, "default", {"metadata": {"name": "c"}, "spec": spec})


def test_a_definition_is_served_at_once(storage: Storage) -> None:
    with pytest.raises(NotFound):
        storage.list(V1)
    column = {"name": "Size", "type": "integer", "jsonPath": ".spec.size"}
    crd = storage.create(
        CRDS, None, definition(version("v1"), version("v2", storage=True, additionalPrinterColumns=[column]))
    )
    assert storage.list(V1).items == []
    conditions = {c["type"]: c["status"] for c in crd["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert crd["status"]["acceptedNames"]["listKind"] == "CartList"
    assert crd["status"]["storedVersions"] == ["v2"]
    served = storage.served("shop.io", "v2", "carts")
    assert served is not None
    assert served.columns == (column,)
    assert served.subresources == ("status", "scale")
    assert served.short_names == ("ct",)


def test_all_versions_show_the_same_object(shop: Storage) -> None:
    made = cart(shop, V1, size=1)
    assert made["apiVersion"] == "shop.io/v1"
    other = shop.get(V2, "default", "c")
    assert other["apiVersion"] == "shop.io/v2"
    assert other["metadata"] == made["metadata"]
    watcher = shop.watch(V1, "default")
    event = watcher.poll()
    assert event is not None
    assert event.object["apiVersion"] == "shop.io/v1"
    shop.patch(V1, "default", "c", {"spec": {"size": 2}})
    assert shop.get(V2, "default", "c")["spec"]["size"] == 2
    assert [obj["apiVersion"] for obj in shop.list(V1).items] == ["shop.io/v1"]
    assert shop.delete(V1, "default", "c").object["apiVersion"] == "shop.io/v1"


def test_a_version_not_served_is_not_found(storage: Storage) -> None:
    storage.create(CRDS, None, definition(version("v1", served=False), version("v2", storage=True)))
    with pytest.raises(NotFound):
        storage.list(V1)


def test_fields_are_defaulted_and_unknown_ones_dropped(shop: Storage) -> None:
    made = cart(shop, note="x", color="red")
    assert made["spec"] == {"note": "x", "size": 3}


def test_unknown_fields_are_refused_or_warned_of_when_asked(shop: Storage) -> None:
    body = {"metadata": {"name": "c"}, "spec": {"color": "red"}}
    with pytest.raises(BadRequest) as caught:
        shop.create(V2, "default", body, options=Options(field_validation="Strict"))
    assert caught.value.message == (
        'Cart in version "v2" cannot be handled as a Cart: strict decoding error: unknown field "spec.color"'
    )
    warnings: list[str] = []
    shop.create(V2, "default", body, options=Options(field_validation="Warn", warn=warnings.append))
    assert warnings == ['unknown field "spec.color"']


def test_what_the_schema_forbids_is_invalid(shop: Storage) -> None:
    with pytest.raises(Invalid) as caught:
        cart(shop, size=-1)
    assert caught.value.message == (
        'Cart.shop.io "c" is invalid: [spec.size: Invalid value: -1: '
        "spec.size in body should be greater than or equal to 0, "
        ".spec.size: Invalid value: -1: should be a non-negative integer]"
    )
    assert caught.value.details is not None
    assert caught.value.details["group"] == "shop.io"
    assert caught.value.details["causes"][0]["field"] == "spec.size"


def test_a_replace_needs_a_resource_version(shop: Storage) -> None:
    cart(shop)
    with pytest.raises(Invalid, match=r"metadata\.resourceVersion: Invalid value: 0: must be specified"):
        shop.replace(V2, "default", "c", {"metadata": {"name": "c"}})


def test_a_stale_replace_names_the_resource_in_full(shop: Storage) -> None:
    made = cart(shop)
    shop.patch(V2, "default", "c", {"spec": {"size": 9}})
    with pytest.raises(
        Conflict, match=r'Operation cannot be fulfilled on carts\.shop\.io "c": the object has been'
    ):
        shop.replace(V2, "default", "c", made)


def test_generation_counts_changes_of_spec_only(shop: Storage) -> None:
    def generation(obj: dict[str, Any]) -> int:
        return obj["metadata"]["generation"]

    assert generation(cart(shop)) == 1
    assert generation(shop.patch(V2, "default", "c", {"metadata": {"labels": {"a": "b"}}})) == 1
    assert generation(shop.patch(V2, "default", "c", {"status": {"size": 2}}, subresource="status")) == 1
    assert generation(shop.patch(V2, "default", "c", {"spec": {"size": 8}, "status": {"size": 7}})) == 2
    assert shop.get(V2, "default", "c")["status"] == {"size": 2}


def test_generation_without_status_subresource_counts_status_too(storage: Storage) -> None:
    storage.create(CRDS, None, definition(version("v2", storage=True, subresources={})))
    cart(storage)
    changed = storage.patch(V2, "default", "c", {"status": {"size": 1}})
    assert changed["metadata"]["generation"] == 2
    assert changed["status"] == {"size": 1}
    with pytest.raises(NotFound):
        storage.patch(V2, "default", "c", {"status": {}}, subresource="status")


def test_scale_reads_and_writes_where_the_definition_says(shop: Storage) -> None:
    made = cart(shop, size=4)
    shop.patch(V2, "default", "c", {"status": {"size": 2, "selector": "app=web"}}, subresource="status")
    scale = shop.get(V2, "default", "c", subresource="scale")
    assert scale["kind"] == "Scale"
    assert scale["apiVersion"] == "autoscaling/v1"
    assert scale["spec"] == {"replicas": 4}
    assert scale["status"] == {"replicas": 2, "selector": "app=web"}
    assert scale["metadata"]["uid"] == made["metadata"]["uid"]
    scaled = shop.patch(V2, "default", "c", {"spec": {"replicas": 6}}, subresource="scale")
    assert scaled["spec"] == {"replicas": 6}
    assert shop.get(V2, "default", "c")["spec"]["size"] == 6
    with pytest.raises(Conflict):
        shop.replace(V2, "default", "c", scale, subresource="scale")
    with pytest.raises(Invalid, match=r"\.spec\.size: Invalid value: -1: should be a non-negative integer"):
        shop.patch(V2, "default", "c", {"spec": {"replicas": -1}}, subresource="scale")


def test_deployments_scale_too(storage: Storage) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    storage.create(DEPLOYMENTS, "default", {"metadata": {"name": "d"}, "spec": spec})
    scale = storage.patch(DEPLOYMENTS, "default", "d", {"spec": {"replicas": 5}}, subresource="scale")
    assert scale["spec"]["replicas"] == 5
    assert scale["status"]["selector"] == "a=b"
    with pytest.raises(Invalid, match=r"spec\.selector: Invalid value: .*: field is immutable"):
        storage.patch(DEPLOYMENTS, "default", "d", {"spec": {"selector": {"matchLabels": {"x": "y"}}}})


def test_a_selector_must_match_its_template(storage: Storage) -> None:
    template = {"metadata": {"labels": {"a": "other"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    with pytest.raises(Invalid, match="`selector` does not match template `labels`"):
        storage.create(DEPLOYMENTS, "default", {"metadata": {"name": "d"}, "spec": spec})


def test_strategic_patches_are_for_built_in_kinds(shop: Storage) -> None:
    cart(shop)
    with pytest.raises(
        UnsupportedMediaType, match=r"application/json-patch\+json, application/merge-patch\+json"
    ):
        shop.patch(V2, "default", "c", {}, type="strategic")


def test_apply_creates_owns_and_conflicts(shop: Storage) -> None:
    body = {"apiVersion": "shop.io/v2", "kind": "Cart", "metadata": {"name": "c"}, "spec": {"size": 1}}
    made = shop.patch(V2, "default", "c", body, type="apply", options=Options(manager="one"))
    assert [entry["manager"] for entry in made["metadata"]["managedFields"]] == ["one"]
    again = shop.patch(V2, "default", "c", body, type="apply", options=Options(manager="one"))
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    body["spec"] = {"size": 2}
    with pytest.raises(Conflict, match=r'Apply failed with 1 conflict: conflict with "one": \.spec\.size'):
        shop.patch(V2, "default", "c", body, type="apply", options=Options(manager="two"))
    forced = shop.patch(V2, "default", "c", body, type="apply", options=Options(manager="two", force=True))
    assert forced["spec"]["size"] == 2
    assert forced["metadata"]["generation"] == 2


def test_ordinary_writes_are_tracked(shop: Storage) -> None:
    cart(shop)
    made = shop.patch(V2, "default", "c", {"spec": {"note": "x"}}, options=Options(manager="someone"))
    mine = [entry for entry in made["metadata"]["managedFields"] if entry["manager"] == "someone"]
    assert mine[0]["fieldsV1"] == {"f:spec": {"f:note": {}}}
    status = shop.patch(V2, "default", "c", {"status": {"size": 1}}, subresource="status")
    assert status["metadata"]["managedFields"][-1]["subresource"] == "status"


def test_a_definition_takes_its_objects_with_it(shop: Storage) -> None:
    cart(shop)
    watcher = shop.watch(V2)
    deleted = shop.delete(CRDS, None, "carts.shop.io")
    assert not deleted.gone
    with pytest.raises(
        MethodNotAllowed, match="create not allowed while custom resource definition is terminating"
    ):
        shop.create(V2, "default", {"metadata": {"name": "late"}})
    shop.collect_garbage()
    assert not shop.exists(CRDS, None, "carts.shop.io")
    with pytest.raises(NotFound):
        shop.list(V2)
    events = []
    while (event := watcher.poll()) is not None:
        events.append(event.type)
    assert events == ["ADDED", "DELETED"]
    assert watcher.closed


def test_a_definition_waits_for_finalizers_of_its_objects(shop: Storage) -> None:
    shop.create(V2, "default", {"metadata": {"name": "c", "finalizers": ["x.io/f"]}})
    shop.delete(CRDS, None, "carts.shop.io")
    shop.collect_garbage()
    assert shop.exists(V2, "default", "c")
    shop.patch(V2, "default", "c", {"metadata": {"finalizers": None}})
    shop.collect_garbage()
    assert not shop.exists(CRDS, None, "carts.shop.io")


def test_the_storage_version_can_move(shop: Storage) -> None:
    cart(shop, size=1)
    crd = shop.get(CRDS, None, "carts.shop.io")
    versions = [version("v1", storage=True), version("v2")]
    changed = shop.patch(CRDS, None, "carts.shop.io", {"spec": {"versions": versions}})
    assert changed["status"]["storedVersions"] == ["v2", "v1"]
    assert crd["metadata"]["uid"] == changed["metadata"]["uid"]
    assert shop.get(V1, "default", "c")["spec"]["size"] == 1
    assert shop.patch(V2, "default", "c", {"spec": {"size": 2}})["apiVersion"] == "shop.io/v2"
    assert shop.get(V1, "default", "c")["spec"]["size"] == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"metadata": {"name": "wrong.shop.io"}}, r'must be spec\.names\.plural\+"\."\+spec\.group'),
        (
            {"versions": [version("v1"), version("v2")]},
            "must have exactly one version marked as storage version",
        ),
        (
            {"scope": "World"},
            r'spec\.scope: Unsupported value: "World": supported values: "Cluster", "Namespaced"',
        ),
        ({"group": "shop"}, "should be a domain with at least one dot"),
        ({"group": "shop.k8s.io"}, "protected groups must have approval annotation"),
        (
            {"versions": [version("v1", storage=True), version("v1")]},
            r"spec\.versions\[1\]\.name: Duplicate value",
        ),
        ({"group": "networking.k8s.io", "names": {"plural": "ingresses", "kind": "I"}}, "itself serves this"),
        ({"versions": []}, r"spec\.versions: Required value"),
        ({"conversion": {"strategy": "Webhook"}}, r"spec\.conversion\.strategy: Forbidden"),
        ({"versions": [with_schema({"type": "array"})]}, "must be object at the root"),
        (
            {"versions": [with_schema(SCHEMA | {"x-kubernetes-validations": [{"rule": "self.spec ==="}]})]},
            r"x-kubernetes-validations\[0\]\.rule: Invalid value.*compilation failed",
        ),
        (
            {
                "versions": [
                    with_schema({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}})
                ]
            },
            r"properties\[a\]\.pattern: Invalid value",
        ),
    ],
)
def test_a_wrong_definition_is_refused(storage: Storage, change: dict[str, Any], says: str) -> None:
    crd = definition(version("v1", storage=True))
    crd = {**crd, **change} if "metadata" in change else {**crd, "spec": {**crd["spec"], **change}}
    with pytest.raises(Invalid, match=says):
        storage.create(CRDS, None, crd)
    assert storage.served("shop.io", "v1", "carts") is None


def test_foreground_deletion_of_a_custom_resource(shop: Storage) -> None:
    owner = cart(shop)
    reference = {
        "apiVersion": "shop.io/v1",  # a reference at another version is as good
        "kind": "Cart",
        "name": "c",
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }
    shop.create(V2, "default", {"metadata": {"name": "child", "ownerReferences": [reference]}})
    shop.delete(V2, "default", "c", options=DeleteOptions(propagation="Foreground"))
    shop.collect_garbage()
    assert shop.list(V2).items == []


def test_reading_shows_the_defaults_of_today(shop: Storage, clock: Any) -> None:
    made = cart(shop, size=1)
    assert made["spec"] == {"size": 1}
    later = {**SCHEMA["properties"]["spec"]["properties"], "tier": {"type": "string", "default": "silver"}}  # type: ignore[index]
    schema = {
        **SCHEMA,
        "properties": {**SCHEMA["properties"], "spec": {"type": "object", "properties": later}},
    }  # type: ignore[dict-item]
    versions = [version("v1"), {**version("v2", storage=True), "schema": {"openAPIV3Schema": schema}}]
    shop.patch(CRDS, None, "carts.shop.io", {"spec": {"versions": versions}})
    shown = shop.get(V2, "default", "c")
    assert shown["spec"] == {"size": 1, "tier": "silver"}
    assert shown["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert [obj["spec"] for obj in shop.list(V1, "default").items] == [{"size": 1, "tier": "silver"}]


def apply_scale(storage: Storage, replicas: int, manager: str, *, force: bool = False) -> dict[str, Any]:
    applied = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "c", "namespace": "default"},
        "spec": {"replicas": replicas},
    }
    options = Options(manager=manager, force=force)
    return storage.patch(V2, "default", "c", applied, type="apply", subresource="scale", options=options)


def test_a_scale_can_be_applied_and_owns_the_replicas(shop: Storage) -> None:
    cart(shop, size=4, note="n")
    shop.patch(V2, "default", "c", {"spec": {"size": 5}}, options=Options(manager="alice"))
    with pytest.raises(Conflict, match=r"conflict with \"alice\" using shop.io/v2: \.spec\.size"):
        apply_scale(shop, 6, "bob")
    assert apply_scale(shop, 6, "bob", force=True)["spec"] == {"replicas": 6}
    made = shop.get(V2, "default", "c")
    assert made["spec"] == {"size": 6, "note": "n"}
    entry = next(one for one in made["metadata"]["managedFields"] if one["manager"] == "bob")
    assert (entry["operation"], entry["subresource"]) == ("Apply", "scale")
    assert entry["fieldsV1"] == {"f:spec": {"f:size": {}}}


def test_who_scales_owns_the_replicas(shop: Storage) -> None:
    cart(shop, size=4)
    bob = Options(manager="bob")
    shop.patch(V2, "default", "c", {"spec": {"replicas": 6}}, subresource="scale", options=bob)
    entries = shop.get(V2, "default", "c")["metadata"]["managedFields"]
    mine = next(one for one in entries if one["manager"] == "bob")
    assert (mine["subresource"], mine["fieldsV1"]) == ("scale", {"f:spec": {"f:size": {}}})


def test_a_scale_of_another_type_cannot_be_decoded(shop: Storage) -> None:
    cart(shop, size=4)
    with pytest.raises(
        BadRequest, match=r"Scale in version \"v1\" cannot be handled as a Scale: .* string into"
    ):
        shop.patch(V2, "default", "c", {"spec": {"replicas": "6"}}, subresource="scale")
