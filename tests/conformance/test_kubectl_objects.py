"""Creating, applying, changing and deleting objects with kubectl."""

import json

import pytest

from tests.conformance.manifests import config_map, deployment, pod


def test_create_reports_the_object_and_refuses_it_the_second_time(kubectl):
    assert kubectl("create", "-f", "-", stdin=config_map()).out == "configmap/settings created\n"
    refused = kubectl("create", "-f", "-", stdin=config_map(), code=1)
    assert 'configmaps "settings" already exists' in refused.err


def test_create_into_a_namespace_that_is_not_there_is_refused(kubectl):
    refused = kubectl("create", "-n", "nowhere-at-all", "-f", "-", stdin=config_map(), code=1)
    assert 'namespaces "nowhere-at-all" not found' in refused.err


def test_a_generated_name_starts_with_its_prefix(kubectl):
    manifest = config_map()
    manifest["metadata"] = {"generateName": "settings-"}
    out = kubectl("create", "-f", "-", "-o", "name", stdin=manifest).out.strip()
    assert out.startswith("configmap/settings-")
    assert len(out) > len("configmap/settings-")


def test_apply_creates_then_changes_then_leaves_alone(kubectl):
    assert kubectl("apply", "-f", "-", stdin=deployment()).out == "deployment.apps/web created\n"
    assert kubectl("apply", "-f", "-", stdin=deployment()).out == "deployment.apps/web unchanged\n"
    assert (
        kubectl("apply", "-f", "-", stdin=deployment(image="web:2")).out == "deployment.apps/web configured\n"
    )
    assert kubectl.get("deploy", "web")["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"


def test_apply_removes_what_the_manifest_no_longer_has_and_keeps_what_others_set(kubectl):
    kubectl("apply", "-f", "-", stdin=config_map(a="1", b="2"))
    kubectl("patch", "cm", "settings", "--type=merge", "-p", '{"data":{"theirs":"3"}}')
    kubectl("apply", "-f", "-", stdin=config_map(a="1"))
    assert kubectl.get("cm", "settings")["data"] == {"a": "1", "theirs": "3"}


def test_apply_merges_containers_by_name(kubectl):
    kubectl("apply", "-f", "-", stdin=deployment())
    sidecar = '{"spec":{"template":{"spec":{"containers":[{"name":"sidecar","image":"s:1"}]}}}}'
    kubectl("patch", "deploy", "web", "-p", sidecar)
    kubectl("apply", "-f", "-", stdin=deployment(image="web:2"))
    containers = kubectl.get("deploy", "web")["spec"]["template"]["spec"]["containers"]
    assert {one["name"]: one["image"] for one in containers} == {"web": "web:2", "sidecar": "s:1"}


def test_a_dry_run_changes_nothing(kubectl):
    assert (
        "created (server dry run)" in kubectl("create", "--dry-run=server", "-f", "-", stdin=config_map()).out
    )
    assert "NotFound" in kubectl("get", "cm", "settings", code=1).err


def test_diff_shows_what_apply_would_change(kubectl):
    kubectl("apply", "-f", "-", stdin=config_map(a="1"))
    assert kubectl("diff", "-f", "-", stdin=config_map(a="1")).out == ""
    shown = kubectl("diff", "-f", "-", stdin=config_map(a="2"), code=1).out
    assert '-  a: "1"' in shown
    assert '+  a: "2"' in shown


def test_server_side_apply_owns_fields_and_tells_conflicts(kubectl):
    apply = ("apply", "--server-side", "-f", "-")
    assert kubectl(*apply, stdin=config_map(a="1")).out == "configmap/settings serverside-applied\n"
    assert kubectl(*apply, "--field-manager=other", stdin=config_map(b="2")).code == 0
    refused = kubectl(*apply, "--field-manager=other", stdin=config_map(a="9"), code=1)
    assert 'conflict with "kubectl"' in refused.err
    assert ".data.a" in refused.err
    kubectl(*apply, "--field-manager=other", "--force-conflicts", stdin=config_map(a="9"))
    assert kubectl.get("cm", "settings")["data"] == {"a": "9"}
    managed = kubectl.get("cm", "settings", "--show-managed-fields")["metadata"]["managedFields"]
    owners = [one["manager"] for one in managed if "f:a" in one["fieldsV1"].get("f:data", {})]
    assert owners == ["other"]


def test_get_prints_columns_names_paths_and_yaml(kubectl):
    kubectl("apply", "-f", "-", stdin=deployment(replicas=3))
    header, row = kubectl("get", "deploy").out.splitlines()
    assert header.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert row.split()[:4] == ["web", "0/3", "0", "0"]
    wide = kubectl("get", "deploy", "-o", "wide").out
    assert wide.splitlines()[0].split() == [*header.split(), "CONTAINERS", "IMAGES", "SELECTOR"]
    assert wide.splitlines()[1].split()[-3:] == ["web", "web:1", "app=web"]
    assert kubectl("get", "deploy", "-o", "name").out == "deployment.apps/web\n"
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}").out == "3"
    assert kubectl("get", "deploy", "web", "-o", "yaml").data["spec"]["replicas"] == 3


def test_get_of_pods_prints_readiness_status_and_restarts(kubectl):
    kubectl("create", "-f", "-", stdin=pod())
    header, row = kubectl("get", "pods").out.splitlines()
    assert header.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row.split()[:4] == ["web", "0/1", "Pending", "0"]


def test_get_selects_by_label_and_field(kubectl):
    kubectl("create", "-f", "-", stdin=[pod("one", tier="a"), pod("two", tier="b"), pod("three", tier="c")])
    assert kubectl("get", "pods", "-l", "tier in (a,b)", "-o", "name").out == "pod/one\npod/two\n"
    assert kubectl("get", "pods", "-l", "tier!=a,tier", "-o", "name").out == "pod/three\npod/two\n"
    chosen = kubectl(
        "get", "pods", "--field-selector", "metadata.name=two,status.phase=Pending", "-o", "name"
    )
    assert chosen.out == "pod/two\n"
    assert "No resources found" in kubectl("get", "pods", "-l", "tier=z").err


def test_get_reads_a_long_list_in_chunks(kubectl):
    kubectl("create", "-f", "-", stdin=[config_map(f"cm-{n}") for n in range(7)])
    whole = kubectl("get", "cm", "-o", "name").out
    assert kubectl("get", "cm", "-o", "name", "--chunk-size=2").out == whole
    assert whole.count("configmap/cm-") == 7


def test_what_is_not_there_is_not_found(kubectl):
    missing = kubectl("get", "pod", "nobody", code=1)
    assert missing.err.strip() == 'Error from server (NotFound): pods "nobody" not found'
    unknown = kubectl("get", "gizmos", code=1)
    assert 'the server doesn\'t have a resource type "gizmos"' in unknown.err


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        (
            "json",
            '[{"op":"test","path":"/data/a","value":"1"},{"op":"replace","path":"/data/a","value":"2"}]',
        ),
        ("merge", '{"data":{"a":"2"}}'),
        ("strategic", '{"data":{"a":"2"}}'),
    ],
)
def test_patch_changes_the_object(kubectl, kind, patch):
    kubectl("create", "-f", "-", stdin=config_map(a="1"))
    assert (
        kubectl("patch", "cm", "settings", f"--type={kind}", "-p", patch).out
        == "configmap/settings patched\n"
    )
    assert kubectl.get("cm", "settings")["data"] == {"a": "2"}
    again = '{"data":{"a":"2"}}' if kind != "json" else '[{"op":"replace","path":"/data/a","value":"2"}]'
    assert "patched (no change)" in kubectl("patch", "cm", "settings", f"--type={kind}", "-p", again).out


def test_a_json_patch_whose_test_fails_changes_nothing(kubectl):
    kubectl("create", "-f", "-", stdin=config_map(a="1"))
    patch = '[{"op":"test","path":"/data/a","value":"7"},{"op":"remove","path":"/data"}]'
    refused = kubectl("patch", "cm", "settings", "--type=json", "-p", patch, code=1)
    assert "the server rejected our request due to an error in our request" in refused.err
    assert kubectl.get("cm", "settings")["data"] == {"a": "1"}


def test_label_and_annotate_set_and_remove(kubectl):
    kubectl("create", "-f", "-", stdin=config_map())
    assert kubectl("label", "cm", "settings", "tier=gold").out == "configmap/settings labeled\n"
    assert "already has a value" in kubectl("label", "cm", "settings", "tier=iron", code=1).err
    kubectl("label", "cm", "settings", "tier=iron", "--overwrite")
    kubectl("annotate", "cm", "settings", "why=because")
    meta = kubectl.get("cm", "settings")["metadata"]
    assert (meta["labels"], meta["annotations"]) == ({"tier": "iron"}, {"why": "because"})
    assert kubectl("label", "cm", "settings", "tier-").out == "configmap/settings unlabeled\n"
    assert "labels" not in kubectl.get("cm", "settings")["metadata"]


def test_scale_sets_replicas_and_honours_its_precondition(kubectl):
    kubectl("create", "-f", "-", stdin=deployment(replicas=2))
    assert kubectl("scale", "deploy", "web", "--replicas=5").out == "deployment.apps/web scaled\n"
    assert kubectl.get("deploy", "web")["spec"]["replicas"] == 5
    refused = kubectl("scale", "deploy", "web", "--replicas=1", "--current-replicas=2", code=1)
    assert "Expected replicas to be 2, was 5" in refused.err


def test_replace_puts_the_whole_object(kubectl):
    kubectl("create", "-f", "-", stdin=config_map(a="1", b="2"))
    assert kubectl("replace", "-f", "-", stdin=config_map(c="3")).out == "configmap/settings replaced\n"
    assert kubectl.get("cm", "settings")["data"] == {"c": "3"}
    missing = kubectl("replace", "-f", "-", stdin=config_map("nobody"), code=1)
    assert 'configmaps "nobody" not found' in missing.err


def test_replace_of_an_old_version_is_a_conflict(kubectl):
    kubectl("create", "-f", "-", stdin=config_map(a="1"))
    old = kubectl.get("cm", "settings")
    kubectl("label", "cm", "settings", "tier=gold")
    old["data"] = {"a": "2"}
    refused = kubectl("replace", "-f", "-", stdin=json.dumps(old), code=1)
    assert "the object has been modified; please apply your changes to the latest version" in refused.err


def test_edit_sends_what_the_editor_changed(kubectl, tmp_path):
    kubectl("create", "-f", "-", stdin=config_map(a="1"))
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i \'s/a: "1"/a: "2"/\' "$1"\n')
    editor.chmod(0o755)
    out = kubectl("edit", "cm", "settings", KUBE_EDITOR=str(editor)).out
    assert out == "configmap/settings edited\n"
    assert kubectl.get("cm", "settings")["data"] == {"a": "2"}


def test_an_unknown_field_is_refused_strictly_and_warned_about_otherwise(kubectl):
    manifest = deployment() | {"spce": {}}
    refused = kubectl("create", "-f", "-", stdin=manifest, code=1)
    assert 'unknown field "spce"' in refused.err
    warned = kubectl("create", "--validate=warn", "-f", "-", stdin=manifest)
    assert 'Warning: unknown field "spce"' in warned.err
    assert warned.out == "deployment.apps/web created\n"


def test_an_invalid_object_names_every_field(kubectl):
    manifest = deployment()
    manifest["spec"]["replicas"] = -1
    manifest["metadata"]["name"] = "Not_A_Name"
    refused = kubectl("create", "-f", "-", stdin=manifest, code=1)
    assert "metadata.name: Invalid value" in refused.err
    assert "spec.replicas: Invalid value: -1" in refused.err


def test_describe_shows_the_object_with_its_events(kubectl):
    kubectl("create", "-f", "-", stdin=deployment(replicas=2))
    uid = kubectl.get("deploy", "web")["metadata"]["uid"]
    kubectl(
        "create",
        "-f",
        "-",
        stdin={
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "web.1", "namespace": kubectl.namespace},
            "involvedObject": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": "web",
                "namespace": kubectl.namespace,
                "uid": uid,
            },
            "type": "Warning",
            "reason": "Tested",
            "message": "an event of the test",
            "count": 1,
            "firstTimestamp": "2026-01-31T12:00:00Z",
            "lastTimestamp": "2026-01-31T12:00:00Z",
            "source": {"component": "conformance"},
        },
    )
    shown = kubectl("describe", "deploy", "web").out
    assert "Replicas:               2 desired" in shown
    event = next(line for line in shown.splitlines() if "Tested" in line)
    assert event.split()[:2] == ["Warning", "Tested"]
    assert event.endswith("conformance  an event of the test")
    assert "an event of the test" in kubectl("get", "events").out


def test_the_imperative_create_commands_work(kubectl):
    """They send protobuf."""
    assert (
        kubectl("create", "configmap", "settings", "--from-literal=a=1").out == "configmap/settings created\n"
    )
    assert kubectl.get("cm", "settings")["data"] == {"a": "1"}
    kubectl("create", "secret", "generic", "token", "--from-literal=key=hunter2")
    assert (
        kubectl("get", "secret", "token", "-o", "go-template={{.data.key | base64decode}}").out == "hunter2"
    )
    kubectl("create", "deployment", "web", "--image=web:1", "--replicas=0", "--port=80")
    spec = kubectl.get("deploy", "web")["spec"]
    assert (spec["replicas"], spec["selector"]) == (0, {"matchLabels": {"app": "web"}})
    container = spec["template"]["spec"]["containers"][0]
    assert (container["image"], container["ports"][0]["containerPort"]) == ("web:1", 80)
    kubectl("create", "job", "once", "--image=web:1", "--", "date", "-u")
    assert kubectl.get("job", "once")["spec"]["template"]["spec"]["containers"][0]["command"] == [
        "date",
        "-u",
    ]
    kubectl("create", "service", "clusterip", "web", "--tcp=80:8080")
    assert kubectl.get("svc", "web")["spec"]["ports"][0]["targetPort"] == 8080
    kubectl("create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=50%")
    assert kubectl.get("pdb", "web")["spec"]["minAvailable"] == "50%"


def test_a_namespace_is_created_by_name(kubectl):
    name = f"{kubectl.namespace}-named"
    assert kubectl("create", "namespace", name).out == f"namespace/{name} created\n"
    assert kubectl("create", "namespace", name, code=1).err.endswith("already exists\n")
    kubectl("delete", "namespace", name, "--wait=false")
