"""Printer columns: the cells kubectl's users know, ages, and JSONPath."""

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.core.jsonpath import compiled, find
from rollout.sandbox.schema.ages import human
from rollout.sandbox.schema.columns import _BUILT_IN, table

NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)
BORN = "2024-05-01T11:55:00Z"


def row(api_version, kind, **fields):
    obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "n", "creationTimestamp": BORN}}
    columns, (cells,) = table(api_version, kind, [{**obj, **fields}], NOW)
    assert len(columns) == len(cells)
    return {column["name"]: cell for column, cell in zip(columns, cells, strict=True)}


def running(**more):
    return {"ready": True, "restartCount": 0, "state": {"running": {}}, **more}


def waiting(reason, **more):
    return {"ready": False, "restartCount": 0, "state": {"waiting": {"reason": reason}}, **more}


def ended(code, reason="", **more):
    return {
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": {"exitCode": code, "reason": reason}},
        **more,
    }


ONE = {"containers": [{"name": "a"}]}
TWO = {"containers": [{"name": "a"}, {"name": "b"}]}
INIT = {"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]}
READY = [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]

POD_CASES = {
    "pending": (ONE, {"phase": "Pending"}, "0/1", "Pending", "0"),
    "running": (ONE, {"phase": "Running", "containerStatuses": [running()]}, "1/1", "Running", "0"),
    "one of two ready": (
        TWO,
        {"phase": "Running", "containerStatuses": [running(), running(ready=False)]},
        "1/2",
        "Running",
        "0",
    ),
    "crash loop": (
        ONE,
        {
            "phase": "Running",
            "containerStatuses": [
                waiting(
                    "CrashLoopBackOff",
                    restartCount=3,
                    lastState={"terminated": {"finishedAt": "2024-05-01T11:59:30Z"}},
                )
            ],
        },
        "0/1",
        "CrashLoopBackOff",
        "3 (30s ago)",
    ),
    "completed": (
        ONE,
        {"phase": "Succeeded", "containerStatuses": [ended(0, "Completed")]},
        "0/1",
        "Completed",
        "0",
    ),
    "failed without reason": (
        ONE,
        {"phase": "Failed", "containerStatuses": [ended(3)]},
        "0/1",
        "ExitCode:3",
        "0",
    ),
    "evicted": (ONE, {"phase": "Failed", "reason": "Evicted"}, "0/1", "Evicted", "0"),
    "one completed, one running and ready": (
        TWO,
        {
            "phase": "Running",
            "conditions": READY,
            "containerStatuses": [ended(0, "Completed"), running()],
        },
        "1/2",
        "Running",
        "0",
    ),
    "initializing": (
        INIT,
        {"phase": "Pending", "initContainerStatuses": [ended(0), waiting("PodInitializing")]},
        "0/1",
        "Init:1/2",
        "0",
    ),
    "init failed": (
        INIT,
        {"phase": "Pending", "initContainerStatuses": [ended(2, restartCount=4)]},
        "0/1",
        "Init:ExitCode:2",
        "4",
    ),
}


@pytest.mark.parametrize("name", POD_CASES)
def test_pod(name):
    spec, status, ready, state, restarts = POD_CASES[name]
    cells = row("v1", "Pod", spec=spec, status=status)
    assert (cells["Ready"], cells["Status"], cells["Restarts"], cells["Age"]) == (
        ready,
        state,
        restarts,
        "5m",
    )


def test_deleted_pod_is_terminating():
    meta = {"name": "n", "creationTimestamp": BORN, "deletionTimestamp": BORN}
    assert row("v1", "Pod", metadata=meta, spec=ONE, status={"phase": "Running"})["Status"] == "Terminating"
    assert row("v1", "Pod", metadata=meta, spec=ONE, status={"phase": "Succeeded"})["Status"] == "Succeeded"


def test_pod_wide_columns():
    cells = row(
        "v1", "Pod", spec={**ONE, "nodeName": "node-1"}, status={"podIP": "127.0.1.2", "phase": "Running"}
    )
    assert (cells["IP"], cells["Node"]) == ("127.0.1.2", "node-1")
    assert (cells["Nominated Node"], cells["Readiness Gates"]) == ("<none>", "<none>")


def test_deployment_and_replica_set():
    spec = {
        "replicas": 3,
        "selector": {
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["b", "a"]}],
        },
        "template": {"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}},
    }
    status = {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2}
    cells = row("apps/v1", "Deployment", spec=spec, status=status)
    assert cells == {
        "Name": "n",
        "Ready": "2/3",
        "Up-to-date": 1,
        "Available": 2,
        "Age": "5m",
        "Containers": "a,b",
        "Images": "x,y",
        "Selector": "app=web,tier in (a,b)",
    }
    cells = row("apps/v1", "ReplicaSet", spec=spec, status=status)
    assert (cells["Desired"], cells["Current"], cells["Ready"]) == (3, 3, 2)


def test_job():
    spec = {"completions": 1, "template": {"spec": {"containers": []}}}
    status = {"succeeded": 1, "startTime": BORN, "completionTime": "2024-05-01T11:55:42Z"}
    cells = row(
        "batch/v1", "Job", spec=spec, status=status | {"conditions": [{"type": "Complete", "status": "True"}]}
    )
    assert (cells["Status"], cells["Completions"], cells["Duration"]) == ("Complete", "1/1", "42s")
    assert row("batch/v1", "Job", spec=spec, status={})["Status"] == "Running"
    assert row("batch/v1", "Job", spec={"parallelism": 3})["Completions"] == "0/1 of 3"


def test_service():
    spec = {
        "type": "ClusterIP",
        "clusterIP": "10.0.0.1",
        "ports": [{"port": 80, "protocol": "TCP"}, {"port": 81, "nodePort": 30000}],
        "selector": {"b": "2", "a": "1"},
    }
    cells = row("v1", "Service", spec=spec)
    assert cells["Cluster-IP"] == "10.0.0.1"
    assert cells["External-IP"] == "<none>"
    assert cells["Port(s)"] == "80/TCP,81:30000/TCP"
    assert cells["Selector"] == "a=1,b=2"
    assert row("v1", "Service", spec={"type": "LoadBalancer"})["External-IP"] == "<pending>"
    assert row("v1", "Service", spec={"type": "ExternalName", "externalName": "e"})["Cluster-IP"] == "<none>"


def test_node():
    meta = {"name": "n", "creationTimestamp": BORN, "labels": {"node-role.kubernetes.io/control-plane": ""}}
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "nodeInfo": {"kubeletVersion": "v1"},
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
    }
    cells = row("v1", "Node", metadata=meta, spec={"unschedulable": True}, status=status)
    assert (cells["Status"], cells["Roles"]) == ("Ready,SchedulingDisabled", "control-plane")
    assert (cells["Version"], cells["Internal-IP"], cells["External-IP"]) == ("v1", "127.0.0.1", "<none>")


def test_event():
    cells = row(
        "v1",
        "Event",
        type="Normal",
        reason="Scaled",
        message=" up \n",
        count=3,
        firstTimestamp=BORN,
        lastTimestamp="2024-05-01T11:59:55Z",
        involvedObject={"kind": "Rollout", "name": "web"},
        source={"component": "c"},
    )
    assert list(cells.values()) == ["5s", "Normal", "Scaled", "rollout/web", "", "c", "up", "5m", 3, "n"]


def test_autoscaler_budget_lease_and_others():
    hpa = {
        "scaleTargetRef": {"kind": "Rollout", "name": "web"},
        "minReplicas": 1,
        "maxReplicas": 5,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}],
    }
    cells = row("autoscaling/v2", "HorizontalPodAutoscaler", spec=hpa)
    assert (cells["Reference"], cells["Targets"], cells["MinPods"]) == (
        "Rollout/web",
        "cpu: <unknown>/80%",
        "1",
    )
    cells = row("policy/v1", "PodDisruptionBudget", spec={"minAvailable": "50%"})
    assert (cells["Min Available"], cells["Max Unavailable"], cells["Allowed Disruptions"]) == (
        "50%",
        "N/A",
        0,
    )
    assert row("coordination.k8s.io/v1", "Lease", spec={"holderIdentity": "me"})["Holder"] == "me"
    assert row("v1", "ConfigMap", data={"a": "", "b": ""}, binaryData={"c": ""})["Data"] == 3
    assert row("v1", "Namespace", status={"phase": "Active"})["Status"] == "Active"
    ports, points = [{"port": 80}], [{"addresses": [f"127.0.0.{i}"]} for i in range(5)]
    cells = row("discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4", ports=ports, endpoints=points)
    assert cells["Ports"] == "80"
    assert cells["Endpoints"] == "127.0.0.0,127.0.0.1,127.0.0.2 + 2 more..."
    assert row("networking.k8s.io/v1", "Ingress", spec={})["Hosts"] == "*"


COLUMNS = [
    {"name": "Desired", "type": "integer", "jsonPath": ".spec.replicas", "description": "wanted"},
    {"name": "Status", "type": "string", "jsonPath": ".status.phase"},
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
        "priority": 1,
    },
    {"name": "Since", "type": "date", "jsonPath": ".status.since"},
    {"name": "Odd", "type": "string", "jsonPath": "]["},
]


def test_columns_of_a_custom_resource():
    obj = {
        "metadata": {"name": "web"},
        "spec": {"replicas": 3},
        "status": {
            "phase": "Healthy",
            "conditions": [{"type": "A", "status": "x"}, {"type": "Ready", "status": "True"}],
            "since": "2024-05-01T10:00:00Z",
        },
    }
    headers, rows = table("e.com/v1", "E", [obj, {"metadata": {"name": "bare"}}], NOW, COLUMNS)
    assert rows == [["web", 3, "Healthy", "True", "120m", None], ["bare", None, None, None, None, None]]
    assert [header["priority"] for header in headers] == [0, 0, 0, 1, 0, 0]
    assert headers[1] == {
        "name": "Desired",
        "type": "integer",
        "format": "",
        "description": "wanted",
        "priority": 0,
    }


def test_values_of_another_type_show_nothing():
    columns = [
        {"name": "I", "type": "integer", "jsonPath": ".a"},
        {"name": "D", "type": "date", "jsonPath": ".a"},
        {"name": "S", "type": "string", "jsonPath": ".b"},
    ]
    _, (cells,) = table("e.com/v1", "E", [{"metadata": {"name": "n"}, "a": "x", "b": {"c": 1}}], NOW, columns)
    assert cells == ["n", None, "<invalid>", '{"c":1}']


def test_kinds_without_columns_have_name_and_age():
    headers, rows = table("e.com/v1", "E", [{"metadata": {"name": "n", "creationTimestamp": BORN}}], NOW)
    assert [header["name"] for header in headers] == ["Name", "Age"]
    assert rows == [["n", "5m"]]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2, "<invalid>"),
        (-1.5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (599, "9m59s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (18600, "5h10m"),
        (28800, "8h"),
        (172799, "47h"),
        (172800, "2d"),
        (183600, "2d3h"),
        (691200, "8d"),
        (63072000, "2y"),
        (63072000 + 86400, "2y1d"),
        (8 * 31536000, "8y"),
    ],
)
def test_ages_have_two_figures(seconds, text):
    assert human(seconds) == text


DOC = {
    "a": {"b": [{"n": 1, "t": "x"}, {"n": 2, "t": "y"}], "c.d": 5},
    "list": [1, 2, 3],
    "m": {"p": {"n": 7}, "q": {"n": 8}},
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".a.b[0].n", [1]),
        ("{.a.b[*].n}", [1, 2]),
        ("$.a.b[-1].t", ["y"]),
        (".a['c.d']", [5]),
        (r".a.c\.d", [5]),
        (".list[1:]", [2, 3]),
        (".list[0,2]", [1, 3]),
        (".m.*.n", [7, 8]),
        ("..n", [1, 2, 7, 8]),
        ('.a.b[?(@.t=="y")].n', [2]),
        (".a.b[?(@.n>1)].t", ["y"]),
        (".a.b[?(@.t)].n", [1, 2]),
        (".a.b[?(@.missing)].n", []),
        (".nothing.here", []),
        ("list", [[1, 2, 3]]),
    ],
)
def test_jsonpath(path, expected):
    assert find(compiled(path), DOC) == expected


@pytest.mark.parametrize("path", ["][", ".a[", ".a[?(1 + 1)]", ".a{}"])
def test_jsonpath_that_is_not_understood_is_an_error(path):
    with pytest.raises(ValueError, match="JSONPath"):
        compiled(path)


KEYS = st.sampled_from(
    [
        "metadata",
        "spec",
        "status",
        "containers",
        "containerStatuses",
        "state",
        "terminated",
        "conditions",
        "type",
        "labels",
        "data",
        "ports",
        "clusterIPs",
        "selector",
        "matchLabels",
        "metrics",
        "endpoints",
        "addresses",
    ]
)
VALUES = st.recursive(
    st.sampled_from([None, 0, 1.5, "x", True, 2**70]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(_BUILT_IN)), st.dictionaries(KEYS, VALUES, max_size=5))
def test_rows_survive_any_json(kind, obj):
    columns, (cells,) = table(*kind, [obj], NOW)
    assert len(cells) == len(columns)
