import pytest

from rollout.api.resources import DEPLOYMENTS, PODS, Resource
from rollout.sandbox.http import discovery, openapi
from rollout.sandbox.http.reviews import SERVED as REVIEWS
from rollout.sandbox.storage import Served
from rollout.sandbox.storage.registry import builtins


def served(resource, **more):
    return Served(resource=resource, singular=resource.kind.lower(), list_kind=resource.kind + "List", **more)


def custom(version):
    return served(
        Resource("example.com", version, "gizmos", "Gizmo"), builtin=False, schema={"type": "object"}
    )


def test_versions_are_ordered_by_stability_then_number():
    given = ["foo", "v1beta1", "v10", "v2", "v1", "v11alpha2", "v3beta1", "v1alpha1"]
    assert sorted(given, key=discovery.version_order) == [
        "v10",
        "v2",
        "v1",
        "v3beta1",
        "v1beta1",
        "v11alpha2",
        "v1alpha1",
        "foo",
    ]


def test_a_group_prefers_its_most_stable_version():
    found = discovery.group([custom("v1alpha1"), custom("v1")], "example.com")
    assert found["preferredVersion"] == {"groupVersion": "example.com/v1", "version": "v1"}
    assert [one["version"] for one in found["versions"]] == ["v1", "v1alpha1"]


def test_what_is_not_there_has_no_document():
    assert discovery.group(builtins(), "example.com") is None
    assert discovery.resource_list(builtins(), "apps", "v9") is None
    assert openapi.document(builtins(), "apps", "v9") is None


def test_legacy_discovery_lists_subresources_with_their_own_kinds():
    entries = {one["name"]: one for one in discovery.resource_list(builtins(), "apps", "v1")["resources"]}
    assert entries["deployments"]["shortNames"] == ["deploy"]
    assert entries["deployments/status"]["kind"] == "Deployment"
    scale = entries["deployments/scale"]
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
def test_aggregated_discovery_tells_the_same_as_legacy(version):
    everything = [*builtins(), *REVIEWS, custom("v1")]
    for core in (True, False):
        for group in discovery.aggregated(everything, core=core, version=version)["items"]:
            name = group["metadata"].get("name", "")
            for found in group["versions"]:
                legacy = discovery.resource_list(everything, name, found["version"])["resources"]
                flat = [one["resource"] for one in found["resources"]] + [
                    f"{one['resource']}/{sub['subresource']}"
                    for one in found["resources"]
                    for sub in one.get("subresources", ())
                ]
                assert sorted(flat) == sorted(one["name"] for one in legacy)


def test_every_subresource_of_the_built_in_kinds_has_an_answer_in_discovery():
    for resource in (PODS, DEPLOYMENTS):
        found = discovery.resource_list(builtins(), resource.group, resource.version)["resources"]
        below = {one["name"] for one in found if one["name"].startswith(f"{resource.plural}/")}
        member = next(one for one in builtins() if one.resource == resource)
        assert below == {f"{resource.plural}/{name}" for name in member.subresources}


def test_openapi_says_which_patches_take_field_validation():
    document = openapi.document([custom("v1")], "example.com", "v1")
    patch = document["paths"]["/apis/example.com/v1/namespaces/{namespace}/gizmos/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {
        "group": "example.com",
        "version": "v1",
        "kind": "Gizmo",
    }
    assert {"dryRun", "fieldValidation", "force"} <= {one["name"] for one in patch["parameters"]}


def test_openapi_offers_strategic_patches_of_built_in_kinds_only():
    def offered(members, group, version, path):
        return set(
            openapi.document(members, group, version)["paths"][path]["patch"]["requestBody"]["content"]
        )

    strategic = "application/strategic-merge-patch+json"
    of_pods = offered(builtins(), "", "v1", "/api/v1/namespaces/{namespace}/pods/{name}")
    path = "/apis/example.com/v1/namespaces/{namespace}/gizmos/{name}"
    assert strategic in of_pods
    assert offered([custom("v1")], "example.com", "v1", path) == of_pods - {strategic}


def test_openapi_refers_to_nothing_that_is_missing():
    everything = [*builtins(), custom("v1")]
    for group, version in {(one.resource.group, one.resource.version) for one in everything}:
        schemas = openapi.document(everything, group, version)["components"]["schemas"]
        missing = {name for schema in schemas.values() for name in references(schema)} - schemas.keys()
        assert missing == set()


def references(value):
    if isinstance(value, dict):
        if isinstance(target := value.get("$ref"), str):
            yield target.removeprefix("#/components/schemas/")
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)
