"""What the providers `job` and `cmd` share: a Job of a computed name, hardened pods, and how they stand.

Names, labels and annotations: study/argo-rollouts.md 1.7.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from analysis.providers.base import Task
from rollout.api.meta import metadata
from rollout.api.resources import ANALYSIS_RUNS, JOBS, PODS
from rollout.errors import AlreadyExists, NotFound, ProviderError
from rollout.runtime.kube import Kube, Object

UID_LABEL = "analysisrun.argoproj.io/uid"
NAME_ANNOTATION = "analysisrun.argoproj.io/name"
NAMESPACE_ANNOTATION = "analysisrun.argoproj.io/namespace"
METRIC_ANNOTATION = "analysisrun.argoproj.io/metric-name"
DEADLINE_SECONDS = 24 * 3600
"""A Job whose spec names no deadline is stopped by its own controller then, even when we are gone."""
_MAX_NAME = 63  # the Job's controller puts its name into a label of the pods


def job_name(task: Task, number: int | None = None) -> str:
    """`<uid of the run>.<metric>.<n>`, the metric's hash in its place where that cannot be a Job's name."""
    last = task.number if number is None else number
    plain = f"{task.run_uid}.{task.metric}.{last}"
    if len(plain) <= _MAX_NAME and re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", task.metric):
        return plain
    return f"{task.run_uid}.{hashlib.sha256(task.metric.encode()).hexdigest()[:10]}.{last}"


def job_object(task: Task, spec: Mapping[str, Any], meta: Mapping[str, Any] | None = None) -> Object:
    """The Job of a measurement, owned by its AnalysisRun. `meta` may bring labels and annotations."""
    given = meta or {}
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "name": job_name(task),
            "namespace": task.run.namespace,
            "labels": {**(given.get("labels") or {}), UID_LABEL: task.run_uid},
            "annotations": {
                **(given.get("annotations") or {}),
                NAME_ANNOTATION: task.run.name,
                NAMESPACE_ANNOTATION: task.run.namespace,
                METRIC_ANNOTATION: task.metric,
            },
            "ownerReferences": [
                {
                    "apiVersion": ANALYSIS_RUNS.api_version,
                    "kind": ANALYSIS_RUNS.kind,
                    "name": task.run.name,
                    "uid": task.run_uid,
                    "controller": True,
                }
            ],
        },
        "spec": {
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            **spec,
            "template": {
                **(spec.get("template") or {}),
                "spec": hardened((spec.get("template") or {}).get("spec") or {}),
            },
        },
    }


def hardened(pod: Mapping[str, Any]) -> dict[str, Any]:
    """A pod's spec that the Pod Security Standard "restricted" admits, where its author has said nothing else.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/. It gets no token of the API unless it asks.
    """
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        **deepcopy(dict(pod)),
    }
    if (spec.get("os") or {}).get("name") == "windows":
        return spec
    given = spec.get("securityContext") or {}
    root = given.get("runAsUser") == 0
    spec["securityContext"] = {
        **({} if root else {"runAsNonRoot": True}),
        "seccompProfile": {"type": "RuntimeDefault"},
        **given,
    }
    for field in ("initContainers", "containers"):
        if spec.get(field):
            spec[field] = [_hardened_container(container) for container in spec[field]]
    return spec


def _hardened_container(container: Mapping[str, Any]) -> dict[str, Any]:
    given = container.get("securityContext") or {}
    if given.get("privileged"):  # has all capabilities and may escalate, and nothing else can be said of it
        return dict(container)
    context = {
        "allowPrivilegeEscalation": False,
        **({"runAsNonRoot": False} if given.get("runAsUser") == 0 else {}),
        **given,
        "capabilities": {"drop": ["ALL"], **(given.get("capabilities") or {})},
    }
    return {**container, "securityContext": context}


async def begin_job(kube: Kube, job: Object) -> dict[str, str]:
    """Create the Job, or find that it is there already. What to remember of it.

    Raises ProviderError when something else has its name.
    """
    meta = metadata(job)
    namespace, name = str(meta["namespace"]), str(meta["name"])
    try:
        await kube.create(JOBS, namespace, job)
    except AlreadyExists:
        found = await kube.get(JOBS, namespace, name)
        if not _owned(found, str(meta["ownerReferences"][0]["uid"])):
            raise ProviderError(f'there is a Job "{name}" that is not of this analysis; delete it') from None
    return {"job-name": name, "job-namespace": namespace}


async def end_job(kube: Kube, namespace: str, name: str, *, keep_finished: bool) -> None:
    """Delete the Job and its pods if it is there, or only if it still runs."""
    try:
        job = await kube.get(JOBS, namespace, name)
        if not (keep_finished and finished(job)):
            await kube.delete(JOBS, namespace, name, uid=str(metadata(job).get("uid") or ""))
    except NotFound:
        return


async def job_of(kube: Kube, namespace: str, name: str) -> Object:
    """The Job as it is; ProviderError when somebody has deleted it."""
    try:
        job = await kube.get(JOBS, namespace, name)
    except NotFound:
        raise ProviderError(f'the Job "{name}" was deleted before it had ended') from None
    if metadata(job).get("deletionTimestamp"):
        raise ProviderError(f'the Job "{name}" was deleted before it had ended')
    return job


async def pods_of(kube: Kube, job: Object) -> list[Object]:
    """The pods of a Job, oldest first."""
    meta = metadata(job)
    page = await kube.list(PODS, str(meta["namespace"]), labels=f"job-name={meta['name']}")
    own = [pod for pod in page.items if _owned(pod, str(meta["uid"]))]
    return sorted(own, key=lambda pod: str(metadata(pod).get("creationTimestamp")))


def finished(job: Object) -> Mapping[str, Any] | None:
    """The condition that has ended the Job (Complete or Failed), if it is over."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") in {"Complete", "Failed"} and condition.get("status") == "True":
            return dict(condition)
    return None


def _owned(obj: Object, uid: str) -> bool:
    return any(ref.get("uid") == uid for ref in metadata(obj).get("ownerReferences") or ())
