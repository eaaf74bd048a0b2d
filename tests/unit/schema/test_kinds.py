"""The schemas of built-in kinds: complete, resolved, and within their size."""

import json
import re
from pathlib import Path

import pytest

from rollout.api import resources
from rollout.sandbox.schema import kinds
from rollout.sandbox.schema.structural import prune, unknown_fields, validate

BUILT_IN = [
    value
    for value in vars(resources).values()
    if isinstance(value, resources.Resource)
    and ("." not in value.group or value.group.endswith(".k8s.io"))
    and value.group != "gateway.networking.k8s.io"
]


def without_references(value):
    if isinstance(value, dict):
        return "$ref" not in value and "allOf" not in value and all(map(without_references, value.values()))
    return all(map(without_references, value)) if isinstance(value, list) else True


@pytest.mark.parametrize("resource", BUILT_IN, ids=str)
def test_every_built_in_kind_has_a_schema_without_references(resource):
    schema = kinds.schema_of(*resource.gvk)
    assert schema is not None
    if resource.kind != "CustomResourceDefinition":  # describes `allOf` and `$ref` as fields
        assert without_references(schema)
    assert schema["properties"]["metadata"]["properties"]["ownerReferences"]
    json.dumps(schema)


@pytest.mark.parametrize(
    ("version", "kind"),
    [("autoscaling/v1", "Scale"), ("policy/v1", "Eviction"), ("v1", "Status"), ("v1", "DeleteOptions")],
)
def test_kinds_of_subresources_and_answers_have_schemas(version, kind):
    assert kinds.schema_of(version, kind)


def test_kinds_that_are_not_built_in_have_none():
    assert kinds.schema_of("argoproj.io/v1alpha1", "Rollout") is None


@pytest.mark.parametrize(("group", "version"), [("", "v1"), ("apps", "v1"), ("apiextensions.k8s.io", "v1")])
def test_definitions_name_nothing_that_they_do_not_hold(group, version):
    found = kinds.definitions(group, version)
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(found)))
    assert named
    assert named <= found.keys()


def test_definitions_hold_the_kinds_of_their_group_version():
    assert "io.k8s.api.apps.v1.Deployment" in kinds.definitions("apps", "v1")
    assert "io.k8s.api.batch.v1.Job" not in kinds.definitions("apps", "v1")
    assert kinds.definitions("nowhere", "v1") == {}


def test_the_data_stays_small():
    assert (Path(kinds.__file__).parent / "kinds.json.gz").stat().st_size < 400 * 1024


def test_merge_keys_and_list_types_survive():
    spec = kinds.schema_of("v1", "Pod")["properties"]["spec"]["properties"]
    assert spec["containers"]["x-kubernetes-patch-merge-key"] == "name"
    assert spec["containers"]["x-kubernetes-list-map-keys"] == ["name"]
    ports = spec["containers"]["items"]["properties"]["ports"]
    assert ports["items"]["properties"]["protocol"]["default"] == "TCP"
    assert spec["volumes"]["x-kubernetes-patch-strategy"] == "merge,retainKeys"


def test_open_parts_keep_everything_and_others_are_pruned():
    crd = kinds.schema_of("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    schema = {"type": "object", "properties": {"a": {"properties": {"b": {"default": {"x": 1}}}}}}
    obj = {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}], "bogus": 1}}
    assert prune(obj, crd) == {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}}
    assert unknown_fields(obj, crd) == ['unknown field "spec.bogus"']


def test_int_or_string_and_quantities_are_either():
    deployment = kinds.schema_of("apps/v1", "Deployment")
    pod = deployment["properties"]["spec"]["properties"]["template"]["properties"]["spec"]
    for surge in ("25%", 1):
        spec = {"strategy": {"rollingUpdate": {"maxSurge": surge}}, "selector": {}, "template": {}}
        assert validate({"spec": spec}, deployment) == []
    for cpu in ("100m", 1, 0.5):
        container = {"name": "a", "resources": {"limits": {"cpu": cpu}}}
        assert validate({"containers": [container]}, pod) == []
