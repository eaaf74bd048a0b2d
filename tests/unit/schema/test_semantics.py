"""Rules of built-in kinds beyond their schemas; the words are kube-apiserver's."""

import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.sandbox.schema import kinds, names
from rollout.sandbox.schema.semantics import _CHECKS

CONTAINER = {"name": "a", "image": "a:1"}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}}
WORKLOAD = {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}


def errors(api_version, kind, *, old=None, **fields):
    obj = kinds.defaults({"apiVersion": api_version, "kind": kind, "metadata": {"name": "n"}, **fields})
    before = copy.deepcopy(obj)
    found = [str(error) for error in kinds.validate(obj, old)]
    assert obj == before
    return found


def pod(*containers, **spec):
    return errors("v1", "Pod", spec={"containers": list(containers), **spec})


def of_container(**fields):
    return pod({**CONTAINER, **fields})


def deployment(**spec):
    return errors("apps/v1", "Deployment", spec={**WORKLOAD, **spec})


def service(*ports, **spec):
    return errors("v1", "Service", spec={"ports": list(ports), **spec})


def test_good_objects_have_no_errors():
    assert pod(CONTAINER) == []
    assert deployment() == []
    assert errors("apps/v1", "ReplicaSet", spec=WORKLOAD) == []
    assert service({"port": 80, "targetPort": "http"}) == []
    assert errors("v1", "ConfigMap", data={"app.yaml": "x"}) == []


CONTAINER_CASES = [
    ({"image": ""}, "spec.containers[0].image: Required value"),
    ({"name": ""}, "spec.containers[0].name: Required value"),
    (
        {"imagePullPolicy": "Maybe"},
        (
            'spec.containers[0].imagePullPolicy: Unsupported value: "Maybe": '
            'supported values: "Always", "IfNotPresent", "Never"'
        ),
    ),
    (
        {"ports": [{"containerPort": 70000}]},
        "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
    ),
    ({"ports": [{"name": "x"}]}, "spec.containers[0].ports[0].containerPort: Required value"),
    (
        {"ports": [{"containerPort": 1, "name": "x"}, {"containerPort": 2, "name": "x"}]},
        'spec.containers[0].ports[1].name: Duplicate value: "x"',
    ),
    (
        {"ports": [{"containerPort": 1, "protocol": "ICMP"}]},
        'spec.containers[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
    ),
    (
        {"ports": [{"containerPort": 1, "name": "a-very-long-port-name"}]},
        (
            'spec.containers[0].ports[0].name: Invalid value: "a-very-long-port-name": '
            "must be no more than 15 characters"
        ),
    ),
    ({"livenessProbe": {}}, "spec.containers[0].livenessProbe: Required value: must specify a handler type"),
    (
        {"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}},
        "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
    ),
    (
        {"readinessProbe": {"exec": {"command": ["x"]}, "httpGet": {"port": 1}}},
        "spec.containers[0].readinessProbe.httpGet: Forbidden: may not specify more than 1 handler type",
    ),
    (
        {"volumeMounts": [{"name": "v", "mountPath": "/x"}]},
        'spec.containers[0].volumeMounts[0].name: Not found: "v"',
    ),
    (
        {"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}},
        'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ),
    (
        {"resources": {"limits": {"cpu": "lots"}}},
        (
            'spec.containers[0].resources.limits[cpu]: Invalid value: "lots": quantities must match the regular '
            "expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        ),
    ),
    (
        {"env": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
        'spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
    ),
]


@pytest.mark.parametrize(("fields", "expected"), CONTAINER_CASES)
def test_container(fields, expected):
    found = of_container(**fields)
    assert expected in found
    assert len(found) <= 2


def test_container_names_are_dns_labels_and_unique():
    (error,) = pod({**CONTAINER, "name": "A_b"})
    assert error == (
        'spec.containers[0].name: Invalid value: "A_b": a lowercase RFC 1123 label must consist of lower case '
        "alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name', "
        " or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    )
    assert pod(CONTAINER, CONTAINER) == ['spec.containers[1].name: Duplicate value: "a"']
    assert pod() == ["spec.containers: Required value"]


def test_deployment():
    assert deployment(replicas=-1) == ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]
    assert deployment(selector={}) == [
        "spec.selector: Invalid value: {}: empty selector is invalid for deployment"
    ]
    assert deployment(progressDeadlineSeconds=5, minReadySeconds=5) == [
        "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"
    ]
    zero = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}
    assert deployment(strategy=zero) == [
        'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0'
    ]
    recreate = {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}
    assert deployment(strategy=recreate) == [
        "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"
    ]
    never = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
    assert deployment(template=never) == [
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'
    ]


def test_template_labels_have_label_syntax():
    template = {**TEMPLATE, "metadata": {"labels": {"a": "b c", "x/y/z": ""}}}
    found = deployment(template=template)
    assert found[0].startswith(
        'spec.template.metadata.labels: Invalid value: "b c": a valid label must be an empty'
    )
    assert found[1].startswith(
        'spec.template.metadata.labels: Invalid value: "x/y/z": a qualified name must consist'
    )


def test_job_says_which_restart_policies_there_are():
    assert errors("batch/v1", "Job", spec={"template": TEMPLATE}) == [
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
    ]


def test_service():
    assert service() == ["spec.ports: Required value"]
    assert service({"port": 0}) == [
        "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
    ]
    assert service({"port": 80}, {"port": 81}) == [
        "spec.ports[0].name: Required value",
        "spec.ports[1].name: Required value",
    ]
    assert service({"port": 80, "name": "a"}, {"port": 80, "name": "b"}) == [
        'spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}'
    ]
    assert service({"port": 80, "nodePort": 30000}) == [
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"
    ]
    assert service(type="ExternalName") == ["spec.externalName: Required value"]
    assert service(clusterIP="None") == []


def test_others():
    both = {"minAvailable": 1, "maxUnavailable": 1}
    assert errors("policy/v1", "PodDisruptionBudget", spec=both) == [
        (
            'spec: Invalid value: {"maxUnavailable":1,"minAvailable":1}: '
            "minAvailable and maxUnavailable cannot be both set"
        )
    ]
    target = {"kind": "Rollout", "name": "web"}
    spec = {"minReplicas": 3, "maxReplicas": 2, "scaleTargetRef": target}
    assert errors("autoscaling/v2", "HorizontalPodAutoscaler", spec=spec) == [
        "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`"
    ]
    assert errors("coordination.k8s.io/v1", "Lease", spec={"leaseDurationSeconds": 0}) == [
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"
    ]
    assert errors("discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4", endpoints=[{}]) == [
        "endpoints[0].addresses: Required value: must contain at least 1 address"
    ]
    (error,) = errors("v1", "ConfigMap", data={"a b": ""})
    assert error.startswith('data[a b]: Invalid value: "a b": a valid config key must consist of')


def test_a_spec_that_did_not_change_is_not_judged_again():
    obj = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "n"}, "spec": {}}
    assert kinds.validate(obj)
    assert kinds.validate({**obj, "status": {"phase": "Running"}}, obj) == []


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (names.dns_label, ["a", "a-1", "1"], ["", "-a", "A", "a.b", "a" * 64]),
        (names.dns_subdomain, ["a.b", "a-1.b"], ["", "a..b", "a_b", ".a"]),
        (names.dns_1035_label, ["a1"], ["1a", ""]),
        (names.qualified_name, ["a", "e.com/a_b.c"], ["", "/a", "a/", "a/b/c", "-a", "E.com/a"]),
        (names.label_value, ["", "a_B.c"], ["-a", "a b", "a" * 64]),
        (names.config_key, ["a.b_c-d"], ["", "a b", "..", "."]),
        (names.port_name, ["http", "a-1"], ["", "1", "a--b", "-a", "HTTP", "a" * 16]),
    ],
)
def test_syntax_of_names(check, good, bad):
    assert [check(text) for text in good] == [()] * len(good)
    assert all(check(text) for text in bad)


KEYS = st.sampled_from(
    [
        "spec",
        "template",
        "metadata",
        "labels",
        "containers",
        "name",
        "image",
        "ports",
        "port",
        "containerPort",
        "selector",
        "matchLabels",
        "matchExpressions",
        "operator",
        "values",
        "livenessProbe",
        "httpGet",
        "resources",
        "limits",
        "requests",
        "volumes",
        "volumeMounts",
        "env",
        "strategy",
        "rollingUpdate",
        "maxSurge",
        "type",
        "restartPolicy",
        "data",
        "endpoints",
        "rules",
        "http",
        "paths",
        "pathType",
        "successThreshold",
    ]
)
VALUES = st.recursive(
    st.sampled_from([None, 0, -1, 1.5, "x", "", True, 2**70, "50%", "\ud800"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(_CHECKS)), st.dictionaries(KEYS, VALUES, max_size=5), st.none() | VALUES)
def test_validation_survives_any_json(kind, fields, spec):
    obj = {**fields, "apiVersion": kind[0], "kind": kind[1], "spec": spec}
    kinds.validate(obj)
    kinds.validate(kinds.defaults(obj))
