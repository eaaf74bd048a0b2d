"""Objects that cannot be decoded at all; the words are Go's."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.sandbox.schema.decoding import problem

FIELD = "json: cannot unmarshal {} into Go struct field {} of type {}"


def of_pod(**spec):
    return "v1", "Pod", {"spec": spec}


def of_deployment(**spec):
    return "apps/v1", "Deployment", {"spec": spec}


def container(**fields):
    return of_pod(containers=[fields])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (of_deployment(replicas=3), ""),
        (of_deployment(replicas=None), ""),
        (of_deployment(replicas=3.0), ""),
        (of_deployment(replicas="3"), FIELD.format("string", "DeploymentSpec.spec.replicas", "int32")),
        (of_deployment(replicas=1.5), FIELD.format("number 1.5", "DeploymentSpec.spec.replicas", "int32")),
        (
            of_deployment(replicas=2**31),
            FIELD.format("number 2147483648", "DeploymentSpec.spec.replicas", "int32"),
        ),
        (of_deployment(paused="yes"), FIELD.format("string", "DeploymentSpec.spec.paused", "bool")),
        (
            of_deployment(template=[]),
            FIELD.format("array", "DeploymentSpec.spec.template", "v1.PodTemplateSpec"),
        ),
        (
            container(ports=[{"containerPort": "80"}]),
            FIELD.format("string", "ContainerPort.spec.containers.ports.containerPort", "int32"),
        ),
        (container(env=[{"value": 1}]), FIELD.format("number", "EnvVar.spec.containers.env.value", "string")),
        (of_pod(containers={}), FIELD.format("object", "PodSpec.spec.containers", "[]v1.Container")),
        (
            ("v1", "ConfigMap", {"data": {"a": 1}}),
            FIELD.format("number", "ConfigMap.data", "string"),
        ),
        (("v1", "Secret", {"data": {"a": "YQ=="}}), ""),
        (("v1", "Secret", {"data": {"a": "not base64"}}), 'illegal base64 data: "not base64"'),
        (container(resources={"limits": {"cpu": 1, "memory": "1Gi"}}), ""),
        (
            container(resources={"limits": {"cpu": "lots"}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            of_deployment(strategy={"rollingUpdate": {"maxSurge": True}}),
            "json: cannot unmarshal bool into Go value of type int32",
        ),
        (("argoproj.io/v1alpha1", "Rollout", {"spec": 3}), ""),
    ],
)
def test_problem(kind, expected):
    api_version, name, obj = kind
    assert problem(obj, api_version, name) == expected


KEYS = st.sampled_from(
    [
        "metadata",
        "labels",
        "spec",
        "replicas",
        "template",
        "containers",
        "ports",
        "resources",
        "limits",
        "env",
    ]
)
VALUES = st.recursive(
    st.sampled_from([None, 0, 1.5, "x", True, 2**70, "\ud800", float("inf")]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([("v1", "Pod"), ("apps/v1", "Deployment")]), st.dictionaries(KEYS, VALUES, max_size=5))
def test_decoding_survives_any_json(kind, obj):
    assert isinstance(problem(obj, *kind), str)
