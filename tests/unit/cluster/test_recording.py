"""What the tests on a real cluster are told by: which writes count, and that a recorded breach of a rule is found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from rollout.api.meta import key_of
from rollout.api.resources import REPLICA_SETS, ROLLOUTS, SERVICES, Resource
from rollout.api.rollout import HASH_LABEL
from rollout.runtime.client import HttpKube
from rollout.runtime.kube import Object
from tests.cluster.proxy import is_counted
from tests.cluster.recording import Happening, Recording

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OLD, NEW = "aaaa", "bbbb"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/namespaces/a/services"),
        ("PATCH", "/apis/apps/v1/namespaces/a/replicasets/web"),
        ("PATCH", "/apis/argoproj.io/v1alpha1/namespaces/a/rollouts/web/status"),
        ("DELETE", "/api/v1/namespaces/events"),
        ("PUT", "/apis/surefoot.dev/v1alpha1/chaosswitches/default"),
    ],
)
def test_a_write_counts(method: str, path: str) -> None:
    assert is_counted(method, path)
    assert not is_counted("GET", path)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/a/events",
        "/apis/events.k8s.io/v1/namespaces/a/events/x",
        "/apis/coordination.k8s.io/v1/namespaces/a/leases/surefoot-controller",
        "/version",
    ],
)
def test_leases_events_and_what_is_no_resource_do_not_count(path: str) -> None:
    assert not is_counted("PATCH", path)


def rollout() -> Object:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    return {
        "metadata": {"name": "web", "namespace": "a", "uid": "u", "generation": 1},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template,
            "strategy": {"blueGreen": {"activeService": "web"}},
        },
        "status": {"stableRS": OLD, "currentPodHash": NEW, "blueGreen": {"activeSelector": OLD}},
    }


def service(selects: str) -> Object:
    return {
        "metadata": {"name": "web", "namespace": "a"},
        "spec": {"selector": {"app": "web", HASH_LABEL: selects}},
    }


def replica_set(pod_hash: str, replicas: int) -> Object:
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": "u"}
    labels = {"app": "web", HASH_LABEL: pod_hash}
    return {
        "metadata": {
            "name": f"web-{pod_hash}",
            "namespace": "a",
            "labels": labels,
            "ownerReferences": [{**owner, "controller": True}],
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": []}},
        },
        "status": {"replicas": 2, "readyReplicas": 2, "availableReplicas": 2},
    }


def recorded(*written: tuple[Resource, Object]) -> list[str]:
    recording = Recording(cast("HttpKube", None), "a")
    happenings: list[Any] = [
        Happening(number, NOW, resource, key_of(obj), obj) for number, (resource, obj) in enumerate(written)
    ]
    # The watches of different kinds tell in no order.
    recording.happenings = sorted(happenings, key=lambda one: str(one.resource))
    # Of the decisions behind it nothing was recorded here.
    return [one for one in recording.broken() if not one.startswith("I16")]


def test_a_set_that_is_emptied_breaks_a_rule_while_the_active_service_names_it_and_not_after() -> None:
    there = ((ROLLOUTS, rollout()), (REPLICA_SETS, replica_set(OLD, 2)), (SERVICES, service(OLD)))
    both = (*there, (REPLICA_SETS, replica_set(NEW, 2)))
    emptied = (REPLICA_SETS, replica_set(OLD, 0))
    broken = recorded(*both, emptied, (SERVICES, service(NEW)))
    assert [one for one in broken if one.startswith(f"I4: version {OLD} is scaled to zero")], broken
    assert recorded(*both, (SERVICES, service(NEW)), emptied) == []
