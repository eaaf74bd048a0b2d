"""The Kubernetes objects of one load test. Names are computed, and the AnalysisRun owns all of them.

One worker: one Job. Several: a master's Job, a headless Service that names its port for meshes and network policies,
and, once the master has an address, one Job with the workers. They are told the address and not the Service's name:
so the same objects work where there is no DNS (the sandbox), and no worker waits for a record to appear.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from analysis.load.plan import (
    LOCUSTFILE_VARIABLE,
    PLAN_VARIABLE,
    SECRETS_VARIABLE,
    START_ALLOWANCE,
    Plan,
    arguments,
    encode,
)
from analysis.load.spec import LOCUSTFILE_KEY, Source, deadline_seconds
from rollout.api.meta import Key
from rollout.api.resources import ANALYSIS_RUNS

Object = dict[str, Any]

LABEL = "surefoot.dev/load-test"
"""On everything of one load test: its name."""
ROLE_LABEL = "surefoot.dev/load-role"
MAIN, WORKER = "main", "worker"
"""The pod that prints the result, and those that only send."""
CONTAINER = "load"
PLAN_KEY, SECRETS_KEY = "plan.json", "args.json"
RESULT_KEY, TIMELINE_KEY = "result.json", "timeline.json"
"""Where the ConfigMap keeps the result, and its course in rows, after the test."""
MASTER_PORT = 5557
KEPT_SECONDS = 600
"""How long a finished Job is kept when nobody is there to delete it."""
RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}}


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """One load test: who asks for it, and how it is carried out."""

    run: Key
    run_uid: str
    metric: str
    number: int
    plan: Plan
    image: str
    source: Source | None = None
    resources: Mapping[str, Any] = {}
    with_secrets: bool = False

    @property
    def name(self) -> str:
        return name_of(self.run, self.run_uid, self.metric, self.number)


def name_of(run: Key, run_uid: str, metric: str, number: int) -> str:
    """The name of a test's objects: a DNS label (a Service's name), different for every measurement of every run."""
    digest = hashlib.sha256(f"{run_uid}/{metric}/{number}".encode()).hexdigest()[:10]
    readable = re.sub(r"[^a-z0-9]+", "-", f"{run.name}-{metric}"[:28].lower()).strip("-")
    return f"load-{readable}-{digest}"


def worker_name(name: str) -> str:
    return f"{name}-workers"


def config_map(test: Test) -> Object:
    """The plan, and the user's locustfile if the metric has it in line."""
    data = {PLAN_KEY: encode(test.plan)}
    if test.source and test.source.inline:
        data[LOCUSTFILE_KEY] = test.source.inline
    return {**_head("v1", "ConfigMap", test), "data": data}


def secret(test: Test, values: Mapping[str, str]) -> Object:
    """The values of the secret arguments that stand in the plan's headers. Deleted with the Jobs."""
    encoded = base64.b64encode(json.dumps(dict(values)).encode()).decode()
    return {**_head("v1", "Secret", test), "type": "Opaque", "data": {SECRETS_KEY: encoded}}


def service(test: Test) -> Object:
    """Headless: the master's port, by the master's own address."""
    return {
        **_head("v1", "Service", test),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {LABEL: test.name, ROLE_LABEL: MAIN},
            "ports": [
                {"name": "tcp-locust", "port": MASTER_PORT, "targetPort": MASTER_PORT, "protocol": "TCP"}
            ],
        },
    }


def main_job(test: Test, now: datetime) -> Object:
    """The Job whose pod prints the result: locust alone, or the master of several."""
    args, ports = arguments(test.plan), []
    if test.plan.workers > 1:
        args += [
            "--master", "--master-bind-host", "$(POD_IP)", "--master-bind-port", str(MASTER_PORT),
            "--expect-workers", str(test.plan.workers), "--expect-workers-max-wait", f"{START_ALLOWANCE:.0f}",
        ]  # fmt: skip
        ports = [{"name": "locust", "containerPort": MASTER_PORT}]
    return _job(test, MAIN, args, ports, pods=1, now=now)


def worker_job(test: Test, master: str, now: datetime) -> Object:
    """The Job of the workers, which connect to the master's address."""
    args = ["--worker", "--master-host", master, "--master-port", str(MASTER_PORT)]
    return _job(test, WORKER, args, [], pods=test.plan.workers, now=now)


def _seconds(plan: Plan, now: datetime) -> int:
    """activeDeadlineSeconds: to begin, to wait for the common start, the test, and to end."""
    wait = max(0.0, plan.start_at - now.timestamp())
    return math.ceil(START_ALLOWANCE + wait) + deadline_seconds(plan)


def _job(
    test: Test, role: str, args: list[str], ports: list[dict[str, Any]], *, pods: int, now: datetime
) -> Object:
    labels = _labels(test, role)
    head = _head("batch/v1", "Job", test, test.name if role == MAIN else worker_name(test.name))
    return {
        **head,
        "metadata": {**head["metadata"], "labels": labels},
        "spec": {
            "parallelism": pods,
            "completions": pods,
            "backoffLimit": 0,
            "activeDeadlineSeconds": _seconds(test.plan, now),
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": _pod(test, args, ports)},
        },
    }


def _pod(test: Test, args: list[str], ports: list[dict[str, Any]]) -> dict[str, Any]:
    """As the Pod Security Standard "restricted" has it, without a token for the API."""
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": test.image,
        "args": args,
        "env": _environment(test),
        "workingDir": "/tmp",  # noqa: S108 - an emptyDir of the pod's own
        "resources": dict(test.resources or RESOURCES),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    if ports:
        container["ports"] = ports
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
    }


def _environment(test: Test) -> list[dict[str, Any]]:
    env: list[dict[str, Any]] = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        _from(PLAN_VARIABLE, "configMapKeyRef", test.name, PLAN_KEY),
    ]
    if test.with_secrets:
        env.append(_from(SECRETS_VARIABLE, "secretKeyRef", test.name, SECRETS_KEY))
    if test.source is not None:
        name, key = (
            (test.name, LOCUSTFILE_KEY) if test.source.inline else (test.source.config_map, test.source.key)
        )
        env.append(_from(LOCUSTFILE_VARIABLE, "configMapKeyRef", name, key))
    return env


def _from(variable: str, kind: str, name: str, key: str) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {kind: {"name": name, "key": key}}}


def _labels(test: Test, role: str = "") -> dict[str, str]:
    own = {LABEL: test.name, "app.kubernetes.io/managed-by": "surefoot"}
    return {**own, ROLE_LABEL: role} if role else own


def _head(api_version: str, kind: str, test: Test, name: str = "") -> Object:
    owner = {
        "apiVersion": ANALYSIS_RUNS.api_version,
        "kind": ANALYSIS_RUNS.kind,
        "name": test.run.name,
        "uid": test.run_uid,
        "controller": True,
    }
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name or test.name,
            "namespace": test.run.namespace,
            "labels": _labels(test),
            "ownerReferences": [owner],
        },
    }
