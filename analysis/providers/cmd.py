"""The provider `cmd`: a program in an image; its exit code and what it has written are the answer.

value in the conditions: `{exitCode, stdout, value, error}`. `stdout` is what the container has written, at most 16 KiB
of it (a cluster's log does not tell standard output from standard error); `value` is the same without the white space
around it, and what a comparator compares. A program that was stopped at its timeout has no exit code and no value (nil).
Without conditions exit code 0 is Successful, all else Failed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from analysis.providers.base import Progress, Reading, Task
from analysis.providers.jobs import (
    begin_job,
    end_job,
    finished,
    job_name,
    job_object,
    job_of,
    pods_of,
)
from analysis.providers.starting import trouble
from rollout.api.analysis import Metric
from rollout.api.meta import duration, metadata
from rollout.errors import NotFound, ProviderError
from rollout.runtime.kube import Kube, Object

CONTAINER = "cmd"
MAX_STDOUT = 16 * 1024
DEFAULT_TIMEOUT = "30s"
NOBODY = 65534
"""Who runs the program unless the metric says: by number, so that the kubelet can tell that it is not root."""
_RAN = "ran"


class Cmd:
    """Runs programs as Jobs of one pod in the namespace of the AnalysisRun."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    def asked(self, metric: Metric) -> dict[str, str]:
        body = metric.provider["cmd"]
        argv = [*(body.get("command") or ()), *(body.get("args") or ())]
        return {"image": str(body["image"]), "argv": " ".join(argv)}

    async def begin(self, metric: Metric, secrets: Mapping[str, str], task: Task) -> dict[str, str]:
        return await begin_job(self._kube, job_object(task, job_spec(metric.provider["cmd"])))

    async def look(
        self,
        metric: Metric,
        secrets: Mapping[str, str],
        task: Task,
        metadata: Mapping[str, str],
        now: datetime,
    ) -> Reading | Progress:
        job = await job_of(self._kube, task.run.namespace, job_name(task))
        pods = await pods_of(self._kube, job)
        for pod in pods:
            if (code := _exit_code(pod)) is not None:
                return await self._answer(pod, code)
        found = trouble(pods, now)
        said = found.said if found else ""
        if found and found.cause == "image":
            return Reading(None, inconclusive=f"the image cannot be had: {said}")
        if found and found.cause == "config":
            raise ProviderError(f"the program cannot run: {said}")
        if (ended := finished(job)) is not None:
            return _unanswered(metric, ended, ran=_RAN in metadata, said=said)
        ran = {_RAN: "true"} if any(map(_running, pods)) else {}
        return Progress(said, ran)

    async def end(self, metric: Metric, task: Task, metadata: Mapping[str, str]) -> None:
        await end_job(self._kube, task.run.namespace, job_name(task), keep_finished=False)

    async def _answer(self, pod: Object, code: int) -> Reading:
        meta = metadata(pod)
        try:
            stdout = await self._kube.log(
                str(meta["namespace"]), str(meta["name"]), container=CONTAINER, limit=MAX_STDOUT
            )
        except NotFound:
            raise ProviderError("the program has ended, but its output is gone") from None
        value = {"exitCode": code, "stdout": stdout, "value": stdout.strip(), "error": ""}
        phase: Any = "Failed" if code else "Successful"
        return Reading(value, {"exitCode": str(code)}, phase=phase, message=f"exit code {code}")


def job_spec(body: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of the Job that runs the program once and is stopped at the timeout."""
    container: dict[str, Any] = {"name": CONTAINER, "image": body["image"]}
    container |= {name: body[name] for name in ("command", "args", "env", "resources") if body.get(name)}
    user = body.get("runAsUser")
    pod: dict[str, Any] = {
        "securityContext": {"runAsUser": NOBODY if user is None else user},
        "containers": [container],
    }
    if body.get("serviceAccountName"):
        pod["serviceAccountName"] = body["serviceAccountName"]
    timeout = math.ceil(duration(str(body.get("timeout") or DEFAULT_TIMEOUT)))
    return {"backoffLimit": 0, "activeDeadlineSeconds": timeout, "template": {"spec": pod}}


def _exit_code(pod: Object) -> int | None:
    ended = _state(pod).get("terminated")
    return int(ended.get("exitCode") or 0) if ended and not metadata(pod).get("deletionTimestamp") else None


def _running(pod: Object) -> bool:
    return "running" in _state(pod)


def _state(pod: Object) -> Mapping[str, Any]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    state = next((one.get("state") for one in statuses if one.get("name") == CONTAINER), None)
    return state or {}


def _unanswered(metric: Metric, ended: Mapping[str, Any], *, ran: bool, said: str) -> Reading:
    """The Job is over and no pod has an exit code: stopped at its timeout, or never started."""
    timeout = metric.provider["cmd"].get("timeout") or DEFAULT_TIMEOUT
    if ended.get("reason") != "DeadlineExceeded":
        why = ended.get("message") or ended.get("reason") or "for no reason told"
        raise ProviderError(f"the program's pod is gone without an exit code: {why}")
    if not ran:
        raise ProviderError(f"the program had not started within {timeout}{f' ({said})' if said else ''}")
    error = f"no end within {timeout}"
    value = {"exitCode": None, "stdout": "", "value": None, "error": error}
    return Reading(value, phase="Failed", message=error)
