"""The provider `job`: a Job of the user's; whether it completes is the answer. study/argo-rollouts.md 1.7.

value in the conditions: `{succeeded, failed, completed}`. Without conditions the Job's own end counts.
"""

from __future__ import annotations

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
from analysis.providers.starting import Trouble, trouble, unmade
from rollout.api.analysis import Metric
from rollout.errors import Forbidden, ProviderError
from rollout.runtime.kube import Kube, Object

LOOK_SECONDS = 2.0
KEPT = 10
"""So many finished Jobs of a metric stay, for people to read their logs; the AnalysisRun's end takes them with it."""


class JobMetric:
    """Runs Jobs in the namespace of the AnalysisRun."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    def asked(self, metric: Metric) -> dict[str, str]:
        return {}

    async def begin(self, metric: Metric, secrets: Mapping[str, str], task: Task) -> dict[str, str]:
        body = metric.provider["job"]
        return await begin_job(self._kube, job_object(task, body["spec"], body.get("metadata")))

    async def look(
        self,
        metric: Metric,
        secrets: Mapping[str, str],
        task: Task,
        metadata: Mapping[str, str],
        now: datetime,
    ) -> Reading | Progress:
        job = await job_of(self._kube, task.run.namespace, job_name(task))
        if (ended := finished(job)) is not None:
            return _reading(job, ended)
        try:
            pods = await pods_of(self._kube, job)
        except Forbidden as error:  # the Job's own end is told without them
            unseen = f"{_counts(job)}; why one does not start cannot be seen: {error.message}"
            return Progress(unseen, seconds=LOOK_SECONDS)
        match trouble(pods, now):
            case Trouble(cause="image", said=said):
                value = _value(job, completed=False)
                return Reading(value, inconclusive=f"the Job's image cannot be had: {said}")
            case Trouble(cause="config", said=said):
                raise ProviderError(f"the Job cannot run: {said}")
            case Trouble(said=said):
                return Progress(said, seconds=LOOK_SECONDS)
        if not pods and (problem := unmade(job, now)):
            raise ProviderError(problem)
        return Progress(_counts(job), seconds=LOOK_SECONDS)

    async def end(self, metric: Metric, task: Task, metadata: Mapping[str, str]) -> None:
        namespace = task.run.namespace
        await end_job(self._kube, namespace, job_name(task), keep_finished=True)
        if task.number > KEPT:
            old = job_name(task, task.number - KEPT)
            await end_job(self._kube, namespace, old, keep_finished=False)


def _reading(job: Object, ended: Mapping[str, Any]) -> Reading:
    if ended["type"] == "Complete":
        return Reading(_value(job, completed=True), phase="Successful", message="the Job has completed")
    why = ": ".join(str(ended[field]) for field in ("reason", "message") if ended.get(field))
    return Reading(
        _value(job, completed=False),
        phase="Failed",
        message=f"the Job has failed: {why}" if why else "the Job has failed",
    )


def _value(job: Object, *, completed: bool) -> dict[str, Any]:
    status = job.get("status") or {}
    return {
        "succeeded": int(status.get("succeeded") or 0),
        "failed": int(status.get("failed") or 0),
        "completed": completed,
    }


def _counts(job: Object) -> str:
    status = job.get("status") or {}
    told = [
        f"{int(status[field])} {field}" for field in ("active", "succeeded", "failed") if status.get(field)
    ]
    return f"pods: {', '.join(told)}" if told else "no pod yet"
