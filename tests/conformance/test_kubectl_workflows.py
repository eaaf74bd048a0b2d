"""What people do all day with kubectl: generators, expose, rollout, drain, prune, our own manifests."""

import pytest

from tests.conformance.examples import DEMO, EXAMPLES, documents, manifests
from tests.conformance.manifests import config_map, deployment, pod

MANIFESTS = manifests(EXAMPLES, DEMO)
SHARED = {"Namespace", "ChaosSwitch"}
"""Kinds without a namespace: other tests may be using the same ones."""


def rollout_of(kubectl):
    """The Rollout of the first of our demo's manifests, in the namespace of this test."""
    found = next(one for one in documents(DEMO / "canary.yaml") if one["kind"] == "Rollout")
    found["metadata"]["namespace"] = kubectl.namespace
    return found


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_a_manifest_of_ours_is_created_once_and_then_unchanged(defined, file):
    objects = documents(file)
    for one in objects:  # all into the namespace of this test; theirs may be in use
        one["metadata"].pop("namespace", None)
    objects = [one for one in objects if one["kind"] not in SHARED]
    for outcome in ("created", "unchanged"):
        lines = defined("apply", "-f", "-", stdin=objects).out.splitlines()
        assert len(lines) == len(objects)
        assert [line for line in lines if not line.endswith(f" {outcome}")] == []
    assert defined("diff", "-f", "-", stdin=objects).out == ""
    lines = defined("replace", "-f", "-", stdin=objects).out.splitlines()
    assert [line for line in lines if not line.endswith(" replaced")] == []


def test_wait_for_a_condition_of_a_rollout(defined):
    one = rollout_of(defined)
    name = one["metadata"]["name"]
    defined("create", "-f", "-", stdin=one)
    late = defined("wait", "--for=condition=Available", f"rollout/{name}", "--timeout=1s", code=1)
    assert "timed out waiting for the condition" in late.err
    waiting = defined.start("wait", "--for=condition=Available", f"rollout/{name}", "--timeout=30s")
    status = '{"status":{"conditions":[{"type":"Available","status":"True","reason":"Tested"}]}}'
    defined("patch", "rollout", name, "--subresource=status", "--type=merge", "-p", status)
    assert waiting.finish() == f"rollout.argoproj.io/{name} condition met\n"
    defined("wait", "--for=jsonpath={.spec.replicas}=" + str(one["spec"]["replicas"]), f"rollout/{name}")


def test_apply_prune_deletes_what_is_no_longer_in_the_set(kubectl):
    def labelled(name):
        manifest = config_map(name)
        manifest["metadata"]["labels"] = {"set": "one"}
        return manifest

    prune = ("apply", "--prune", "-l", "set=one", "--prune-allowlist=core/v1/ConfigMap", "-f", "-")
    kubectl("create", "-f", "-", stdin=config_map("stranger"))
    kubectl(*prune, stdin=[labelled("a"), labelled("b")])
    assert "configmap/b pruned" in kubectl(*prune, stdin=[labelled("a")]).out.splitlines()
    names = kubectl("get", "cm", "-o", "name").out.splitlines()
    assert {"configmap/a", "configmap/stranger"} <= set(names)
    assert "configmap/b" not in names


def test_the_generators_make_objects_that_can_be_read(kubectl):
    for command in (
        ("service", "nodeport", "np", "--tcp=80:80"),
        ("service", "loadbalancer", "lb", "--tcp=80:80"),
        ("service", "externalname", "ext", "--external-name=example.com"),
        (
            "secret",
            "docker-registry",
            "pull",
            "--docker-server=x",
            "--docker-username=u",
            "--docker-password=p",
        ),
        ("serviceaccount", "robot"),
        ("ingress", "web", "--rule=example.com/*=web:80"),
    ):
        assert kubectl("create", *command).out.endswith(" created\n")
    types = kubectl("get", "svc", "-o", "jsonpath={.items[*].spec.type}").out.split()
    assert sorted(types) == ["ExternalName", "LoadBalancer", "NodePort"]
    assert kubectl.get("secret", "pull")["type"] == "kubernetes.io/dockerconfigjson"
    assert kubectl.get("ingress", "web")["spec"]["rules"][0]["http"]["paths"][0]["pathType"] == "Prefix"
    kubectl("run", "one", "--image=web:1", "--port=80")
    assert kubectl.get("pod", "one")["metadata"]["labels"] == {"run": "one"}


def test_expose_makes_a_service_for_what_runs(kubectl):
    kubectl("create", "-f", "-", stdin=[deployment(), pod("one")])
    kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    spec = kubectl.get("svc", "web")["spec"]
    assert spec["selector"] == {"app": "web"}
    assert [(port["port"], port["targetPort"]) for port in spec["ports"]] == [(80, 8080)]
    kubectl("expose", "pod", "one", "--port=81")
    assert kubectl.get("svc", "one")["spec"]["selector"] == {"app": "web"}


def replica_set(owner, revision, image):
    """What a deployment controller makes of one revision."""
    template = owner["spec"]["template"]
    name = f"web-{revision}"
    labels = {"app": "web", "pod-template-hash": name}
    container = {**template["spec"]["containers"][0], "image": image}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": "web",
                    "uid": owner["metadata"]["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {**template["spec"], "containers": [container]},
            },
        },
    }


def test_rollout_commands_on_a_deployment(kubectl):
    kubectl("create", "-f", "-", stdin=deployment(image="web:2"))
    kubectl("annotate", "deploy", "web", "deployment.kubernetes.io/revision=2")
    owner = kubectl.get("deploy", "web")
    kubectl("create", "-f", "-", stdin=[replica_set(owner, 1, "web:1"), replica_set(owner, 2, "web:2")])
    history = kubectl("rollout", "history", "deployment", "web").out
    assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["1", "2"]
    assert "web:1" in kubectl("rollout", "history", "deployment", "web", "--revision=1").out
    assert kubectl("rollout", "restart", "deployment", "web").out == "deployment.apps/web restarted\n"
    template = kubectl.get("deploy", "web")["spec"]["template"]
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
    assert kubectl("rollout", "pause", "deployment", "web").out == "deployment.apps/web paused\n"
    assert kubectl.get("deploy", "web")["spec"]["paused"] is True
    refused = kubectl("rollout", "undo", "deployment", "web", "--to-revision=1", code=1)
    assert "you cannot rollback a paused deployment" in refused.err
    assert kubectl("rollout", "resume", "deployment", "web").out == "deployment.apps/web resumed\n"
    undone = kubectl("rollout", "undo", "deployment", "web", "--to-revision=1").out
    assert undone == "deployment.apps/web rolled back\n"
    assert kubectl.get("deploy", "web")["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1"


def test_set_changes_parts_of_a_deployment(kubectl):
    kubectl("create", "-f", "-", stdin=deployment())
    kubectl("set", "image", "deployment/web", "web=web:2")
    kubectl("set", "env", "deployment/web", "A=1")
    kubectl("set", "resources", "deployment", "web", "--limits=cpu=1000m")
    container = kubectl.get("deploy", "web")["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["env"]) == ("web:2", [{"name": "A", "value": "1"}])
    assert container["resources"] == {"limits": {"cpu": "1"}}


def test_an_autoscaler_is_kept_and_shown(kubectl):
    manifest = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 3,
        },
    }
    kubectl("apply", "-f", "-", stdin=manifest)
    row = kubectl("get", "hpa").out.splitlines()[1]
    assert row.split()[:2] == ["web", "Deployment/web"]
    manifest["spec"]["maxReplicas"] = 0
    refused = kubectl("apply", "-f", "-", stdin=manifest, code=1)
    assert "spec.maxReplicas: Invalid value: 0: must be greater than 0" in refused.err


def test_top_says_that_there_are_no_metrics(kubectl):
    assert "Metrics API not available" in kubectl("top", "pods", code=1).err


def test_get_all_shows_workloads_and_services(kubectl):
    kubectl("create", "-f", "-", stdin=[deployment(), pod("one")])
    kubectl("create", "service", "clusterip", "web", "--tcp=80:80")
    shown = kubectl("get", "all", "-o", "name").out.splitlines()
    assert shown == ["pod/one", "service/web", "deployment.apps/web"]


def test_events_are_sorted_by_what_is_asked_for(kubectl):
    def event(name, last):
        involved = {"apiVersion": "v1", "kind": "Pod", "name": "one", "namespace": kubectl.namespace}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name},
            "involvedObject": involved,
            "reason": name.title(),
            "message": "m",
            "type": "Normal",
            "lastTimestamp": f"2026-01-01T00:00:0{last}Z",
        }

    kubectl("create", "-f", "-", stdin=[event("late", 3), event("early", 1), event("middle", 2)])
    shown = kubectl("get", "events", "--sort-by=.lastTimestamp", "--no-headers").out.splitlines()
    assert [line.split()[2] for line in shown] == ["Early", "Middle", "Late"]


def test_every_namespace_has_its_service_account(kubectl):
    kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
    assert "default" in kubectl("get", "sa", "-o", "name").out


def test_a_put_of_what_is_not_there_is_not_found(kubectl):
    refused = kubectl("replace", "-f", "-", stdin=deployment(), code=1)
    assert 'deployments.apps "web" not found' in refused.err


def test_a_value_of_another_type_is_a_bad_request(kubectl):
    manifest = deployment()
    manifest["spec"]["replicas"] = "three"
    refused = kubectl("create", "--validate=false", "-f", "-", stdin=manifest, code=1)
    assert (
        "cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field" in refused.err
    )


def test_drain_evicts_the_pods_of_a_node(kubectl):
    node = f"node-{kubectl.namespace}"
    kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
    try:
        moved = pod("moved")
        moved["spec"]["nodeName"] = node
        moved["spec"]["terminationGracePeriodSeconds"] = 0
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "controller": True}
        set_of = replica_set(
            {"metadata": {"uid": "x"}, "spec": {"template": {"spec": moved["spec"]}}}, 1, "web:1"
        )
        del set_of["metadata"]["ownerReferences"]
        kubectl("create", "-f", "-", stdin=set_of)
        owner |= {"name": "web-1", "uid": kubectl.get("rs", "web-1")["metadata"]["uid"]}
        moved["metadata"]["ownerReferences"] = [owner]
        kubectl("create", "-f", "-", stdin=moved)
        shown = kubectl("drain", node, "--ignore-daemonsets", "--timeout=30s").out
        assert "pod/moved evicted" in shown.splitlines()
        assert shown.splitlines()[-1] == f"node/{node} drained"
        assert kubectl.get("node", node)["spec"]["unschedulable"] is True
        assert kubectl("uncordon", node).out == f"node/{node} uncordoned\n"
    finally:
        kubectl("delete", "node", node)
