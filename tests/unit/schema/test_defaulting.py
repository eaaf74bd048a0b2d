"""Defaults of built-in kinds, as `kubectl get -o yaml` shows them on a real server."""

import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.sandbox.schema.defaulting import defaults, pull_policy
from rollout.sandbox.schema.quantity import canonical

POD_SPEC = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
    "schedulerName": "default-scheduler",
}
CONTAINER = {
    "name": "a",
    "image": "a:1",
    "imagePullPolicy": "IfNotPresent",
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "resources": {},
}


def of(api_version, kind, **fields):
    obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "n"}, **fields}
    before = copy.deepcopy(obj)
    result = defaults(obj)
    assert obj == before
    assert defaults(result) == result
    return result


def test_pod():
    pod = of("v1", "Pod", spec={"containers": [{"name": "a", "image": "a:1"}]})
    assert pod["spec"] == {**POD_SPEC, "enableServiceLinks": True, "containers": [CONTAINER]}


def test_probes_hooks_ports_and_environment():
    container = {
        "name": "a",
        "image": "a:1",
        "readinessProbe": {"httpGet": {"port": 80}},
        "livenessProbe": {"exec": {"command": ["x"]}, "periodSeconds": 3},
        "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
        "ports": [{"containerPort": 80}],
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
    }
    (filled,) = of("v1", "Pod", spec={"containers": [container]})["spec"]["containers"]
    times = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    get = {"port": 80, "path": "/", "scheme": "HTTP"}
    assert filled["readinessProbe"] == {"httpGet": get, **times}
    assert filled["livenessProbe"] == {"exec": {"command": ["x"]}, **times, "periodSeconds": 3}
    assert filled["lifecycle"] == {"preStop": {"httpGet": get}}
    assert filled["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert filled["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"


def test_limits_of_a_pod_become_requests_in_canonical_form():
    container = {"name": "a", "image": "a:1", "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}}
    (filled,) = of("v1", "Pod", spec={"containers": [container]})["spec"]["containers"]
    amounts = {"cpu": "500m", "memory": "1Gi"}
    assert filled["resources"] == {"limits": amounts, "requests": amounts}
    template = {"spec": {"containers": [container]}}
    deployment = of("apps/v1", "Deployment", spec={"template": template})
    (filled,) = deployment["spec"]["template"]["spec"]["containers"]
    assert filled["resources"] == {"limits": amounts}


def test_volumes():
    volumes = [
        {"name": "a"},
        {"name": "b", "configMap": {"name": "c"}},
        {"name": "d", "hostPath": {"path": "/"}},
    ]
    assert of("v1", "Pod", spec={"volumes": volumes, "containers": []})["spec"]["volumes"] == [
        {"name": "a", "emptyDir": {}},
        {"name": "b", "configMap": {"name": "c", "defaultMode": 420}},
        {"name": "d", "hostPath": {"path": "/", "type": ""}},
    ]


def test_deployment():
    spec = of("apps/v1", "Deployment", spec={"template": {"spec": {"containers": []}}})["spec"]
    assert spec == {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
        },
        "template": {"spec": {**POD_SPEC, "containers": []}},
    }


def test_recreate_has_no_rolling_update():
    spec = of("apps/v1", "Deployment", spec={"strategy": {"type": "Recreate"}})["spec"]
    assert spec["strategy"] == {"type": "Recreate"}


def test_zero_is_a_value():
    assert of("apps/v1", "ReplicaSet", spec={"replicas": 0})["spec"]["replicas"] == 0


def test_job():
    spec = of("batch/v1", "Job", spec={"template": {"spec": {"restartPolicy": "Never"}}})["spec"]
    assert spec.pop("template")["spec"]["restartPolicy"] == "Never"
    assert spec == {
        "completions": 1,
        "parallelism": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "suspend": False,
        "podReplacementPolicy": "TerminatingOrFailed",
        "manualSelector": False,
    }
    assert "completions" not in of("batch/v1", "Job", spec={"parallelism": 3})["spec"]


def test_service():
    spec = of("v1", "Service", spec={"ports": [{"port": 80}, {"port": 81, "targetPort": "http"}]})["spec"]
    assert spec == {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ports": [
            {"port": 80, "protocol": "TCP", "targetPort": 80},
            {"port": 81, "protocol": "TCP", "targetPort": "http"},
        ],
    }
    assert "internalTrafficPolicy" not in of("v1", "Service", spec={"type": "ExternalName"})["spec"]


def test_autoscaler():
    spec = of("autoscaling/v2", "HorizontalPodAutoscaler", spec={"maxReplicas": 3})["spec"]
    assert spec["minReplicas"] == 1
    assert spec["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 80}


def test_other_kinds_come_back_as_they_are():
    obj = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": {}}
    assert defaults(obj) is obj


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.2", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
    ],
)
def test_pull_policy_follows_the_tag(image, policy):
    assert pull_policy(image) == policy


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (1, "1"),
        (0.5, "500m"),
        ("0.1", "100m"),
        ("1000m", "1"),
        ("1000", "1k"),
        ("1500", "1500"),
        ("1024Ki", "1Mi"),
        ("1.5Gi", "1536Mi"),
        ("0", "0"),
        ("128974848", "128974848"),
        ("1e3", "1e3"),
        ("-5", "-5"),
    ],
)
def test_quantities_are_stored_in_canonical_form(value, stored):
    assert canonical(value) == stored
    assert canonical(stored) == stored


@pytest.mark.parametrize("text", ["", "x", "1x", "1 Gi", "1e", "--1", "1.2.3"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="regular expression"):
        canonical(text)


VALUES = st.recursive(
    st.sampled_from([None, 0, 1.5, "x", True]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["spec", "template", "containers", "resources", "limits", "ports", "type", "name"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([("v1", "Pod"), ("v1", "Service"), ("apps/v1", "Deployment"), ("batch/v1", "Job")]),
    VALUES,
)
def test_defaulting_survives_any_json(kind, spec):
    of(*kind, spec=spec)
