"""Custom resources through kubectl: definition, validation, printing, subresources, schemas."""

import pytest

from tests.conformance.conftest import Kubectl
from tests.conformance.manifests import crd, release


@pytest.fixture(scope="session")
def group(kubectl_binary, server, home):
    """A group with the resource `releases` in it, once for each server: every definition costs it seconds of work."""
    name = "releases.example.com"
    define(Kubectl(kubectl_binary, server, "default", home), name)
    return name


def define(kubectl, group):
    kubectl("apply", "-f", "-", stdin=crd(group))
    kubectl("wait", "--for=condition=Established", f"crd/releases.{group}", "--timeout=60s")


def test_a_new_kind_is_applied_printed_and_found_by_its_short_name(kubectl, group):
    kind = f"release.{group}/first"
    assert kubectl("apply", "-f", "-", stdin=release(group)).out == f"{kind} created\n"
    assert kubectl("apply", "-f", "-", stdin=release(group)).out == f"{kind} unchanged\n"
    header, row = kubectl("get", f"rel.{group}").out.splitlines()
    assert header.split() == ["NAME", "VERSION", "PHASE"]
    assert row.split() == ["first", "v1"]


def test_defaults_of_the_schema_are_filled_in(kubectl, group):
    kubectl("create", "-f", "-", stdin=release(group))
    assert kubectl.get(f"releases.{group}", "first")["spec"] == {
        "version": "v1",
        "replicas": 1,
        "tier": "silver",
    }


def test_what_breaks_the_schema_is_refused_field_by_field(kubectl, group):
    refused = kubectl(
        "create", "-f", "-", stdin=release(group, version="one", replicas=-1, tier="tin"), code=1
    )
    assert 'The Release "first" is invalid' in refused.err
    assert (
        "spec.version: Invalid value: \"one\": spec.version in body should match '^v[0-9]+$'" in refused.err
    )
    assert (
        "spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0"
        in refused.err
    )
    assert 'spec.tier: Unsupported value: "tin": supported values: "gold", "silver"' in refused.err
    missing = kubectl("create", "-f", "-", stdin=release(group, replicas=1), code=1)
    assert "spec.version: Required value" in missing.err


def test_unknown_fields_are_refused_or_pruned(kubectl, group):
    manifest = release(group, version="v1", colour="red")
    assert 'unknown field "spec.colour"' in kubectl("create", "-f", "-", stdin=manifest, code=1).err
    kubectl("create", "--validate=ignore", "-f", "-", stdin=manifest)
    assert "colour" not in kubectl.get(f"releases.{group}", "first")["spec"]


def test_status_is_written_through_its_subresource_only(kubectl, group):
    kubectl("create", "-f", "-", stdin=release(group))
    resource = f"releases.{group}"
    kubectl("patch", resource, "first", "--type=merge", "-p", '{"status":{"phase":"Lost"}}')
    assert "status" not in kubectl.get(resource, "first")
    patch = '{"status":{"phase":"Healthy"},"spec":{"version":"v9"}}'
    kubectl("patch", resource, "first", "--subresource=status", "--type=merge", "-p", patch)
    found = kubectl.get(resource, "first")
    assert found["status"] == {"phase": "Healthy"}
    assert found["spec"]["version"] == "v1"
    assert found["metadata"]["generation"] == 1
    kubectl("wait", f"{resource}/first", "--for=jsonpath={.status.phase}=Healthy", "--timeout=5s")


def test_a_custom_resource_scales(kubectl, group):
    kubectl("create", "-f", "-", stdin=release(group))
    kubectl("scale", f"releases.{group}", "first", "--replicas=4")
    assert kubectl.get(f"releases.{group}", "first")["spec"]["replicas"] == 4


def test_a_strategic_patch_of_a_custom_resource_is_refused(kubectl, group):
    kubectl("create", "-f", "-", stdin=release(group))
    refused = kubectl("patch", f"releases.{group}", "first", "--type=strategic", "-p", "{}", code=1)
    assert "application/strategic-merge-patch+json is not supported" in refused.err


def test_server_side_apply_of_a_custom_resource_tells_conflicts(kubectl, group):
    apply = ("apply", "--server-side", "-f", "-")
    kubectl(*apply, stdin=release(group, version="v1"))
    refused = kubectl(*apply, "--field-manager=other", stdin=release(group, version="v2"), code=1)
    assert ".spec.version" in refused.err


def test_explain_and_api_resources_know_the_new_kind(kubectl, group):
    kubectl.until("get", "--raw", f"/openapi/v3/apis/{group}/v1")  # schemas are published a moment later
    assert "Release" in kubectl("api-resources", f"--api-group={group}").out
    shown = kubectl("explain", f"releases.{group}.spec").out
    assert "tier\t<string>" in shown
    assert "enum: gold, silver" in shown


def test_a_deleted_definition_takes_its_objects_along(kubectl):
    group = f"{kubectl.namespace}.example.com"
    define(kubectl, group)
    kubectl("create", "-f", "-", stdin=release(group))
    kubectl("delete", "crd", f"releases.{group}")
    assert "the server doesn't have a resource type" in kubectl("get", f"releases.{group}", code=1).err
    define(kubectl, group)
    assert kubectl("get", f"releases.{group}", "-o", "name").out == ""
