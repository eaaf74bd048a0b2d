"""Job: pods until enough of them have succeeded, or too many have failed.

Semantics: https://kubernetes.io/docs/concepts/workloads/controllers/job/ . Finished pods are counted while
they exist; the counts in the status never fall, but a pod that somebody deletes after it has ended while
the Job still runs may hide the next one's end from them (no finalizers are used). Not here: Indexed completion,
podFailurePolicy, successPolicy, backoffLimitPerIndex, managedBy; a Job that asks for one of these is told so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from rollout.api.meta import Object, metadata, time_of, timestamp
from rollout.api.resources import JOBS, PODS
from rollout.sandbox.workloads import pods as facts
from rollout.sandbox.workloads.decision import (
    Action,
    Create,
    Decision,
    Delete,
    Note,
    Suffix,
    controller_of,
    soonest,
    status_patch,
)
from rollout.sandbox.workloads.replicaset import deletion_order, pod_from_template

BACKOFF_SECONDS = 10.0
MAX_BACKOFF_SECONDS = 600.0
_UNSUPPORTED = ("podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "maxFailedIndexes")


class Counts(msgspec.Struct, frozen=True):
    active: tuple[Object, ...]
    succeeded: int
    failed: int


class End(msgspec.Struct, frozen=True):
    """Why a Job is over."""

    type: str
    reason: str
    message: str


def decide(job: Object, candidates: Sequence[Object], now: datetime, suffix: Suffix) -> Decision:
    """What to do about one Job. `candidates` are the pods that it controls."""
    if facts.is_terminating(job):
        return Decision()
    if finished := _finished(job):
        return _clean_up(job, finished, now)
    if problem := unsupported(job):
        told = _status(job, count(job, ()), None, now)
        condition = _condition("Failed", "NotSupported", problem, now)
        refused = status_patch(JOBS, job, {**told, "conditions": [condition]})
        return Decision((*refused, Note("NotSupported", problem, "Warning")))
    owned = [pod for pod in candidates if _owns(job, pod)]
    counts = count(job, owned)
    over = end(job, counts, now)
    actions: list[Action] = []
    requeue = _deadline_wait(job, now)
    if over is not None:
        actions += [_delete(pod) for pod in counts.active]
        actions.append(
            Note(over.reason or "Completed", over.message, "Normal" if over.type == "Complete" else "Warning")
        )
    elif not facts.spec(job).get("suspend"):
        wait = _failure_wait(owned, counts, now)
        actions += _scale(job, counts, now, suffix, hold=wait > 0)
        requeue = soonest(requeue, wait or None)
    else:
        actions += [_delete(pod) for pod in counts.active]
    status = _status(job, counts, over, now)
    return Decision((*status_patch(JOBS, job, status), *actions), requeue)


def unsupported(job: Object) -> str:
    """What the Job asks for that the sandbox does not have, as a sentence; "" for nothing."""
    spec = facts.spec(job)
    asked = [name for name in _UNSUPPORTED if spec.get(name)]
    if spec.get("completionMode") == "Indexed":
        asked.append("completionMode: Indexed")
    return f"not supported by the sandbox: spec.{', spec.'.join(asked)}; leave it out" if asked else ""


def count(job: Object, owned: Sequence[Object]) -> Counts:
    """Pods that run or will, and how many have ended which way; counts never fall below the status."""
    before = facts.status(job)
    ended = {name: sum(facts.phase(pod) == name for pod in owned) for name in ("Succeeded", "Failed")}
    return Counts(
        tuple(pod for pod in owned if facts.is_active(pod)),
        max(ended["Succeeded"], int(before.get("succeeded") or 0)),
        max(ended["Failed"], int(before.get("failed") or 0)),
    )


def end(job: Object, counts: Counts, now: datetime) -> End | None:
    """Whether the Job is over."""
    spec = facts.spec(job)
    limit = spec.get("backoffLimit")
    restarts = sum(facts.restarts(pod) for pod in counts.active) if _restarts_in_place(job) else 0
    allowed = 6 if limit is None else int(limit)
    # Restarts in place (restartPolicy OnFailure) count against the limit like failed pods.
    if counts.failed > allowed or (restarts and counts.failed + restarts > allowed):
        return End("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    started, deadline = time_of(facts.status(job).get("startTime")), spec.get("activeDeadlineSeconds")
    if deadline is not None and started is not None and (now - started).total_seconds() >= deadline:
        return End("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    completions = spec.get("completions")
    if completions is None:
        # A work queue: one success says that there is nothing left; the others may finish.
        done = counts.succeeded > 0 and not counts.active
    else:
        done = counts.succeeded >= int(completions)
    return (
        End("Complete", "CompletionsReached" if completions is not None else "", "Job completed")
        if done
        else None
    )


def _restarts_in_place(job: Object) -> bool:
    template = facts.spec(job).get("template") or {}
    return (template.get("spec") or {}).get("restartPolicy") == "OnFailure"


def _scale(job: Object, counts: Counts, now: datetime, suffix: Suffix, *, hold: bool) -> list[Action]:
    spec = facts.spec(job)
    parallelism = 1 if spec.get("parallelism") is None else int(spec["parallelism"])
    completions = spec.get("completions")
    if completions is not None:
        wanted = min(parallelism, max(0, int(completions) - counts.succeeded))
    else:
        wanted = len(counts.active) if counts.succeeded else parallelism
    missing = wanted - len(counts.active)
    if missing < 0:
        surplus = deletion_order(counts.active, now)[:-missing]
        return [_delete(pod) for pod in surplus]
    return [] if hold else [_create(job, suffix()) for _ in range(missing)]


def _create(job: Object, suffix: str) -> Create:
    spec, meta = facts.spec(job), metadata(job)
    name = f"{meta['name'][:57]}-{suffix}"
    pod = pod_from_template(spec["template"], job, name)
    labels = {
        "batch.kubernetes.io/controller-uid": meta["uid"],
        "batch.kubernetes.io/job-name": meta["name"],
        "controller-uid": meta["uid"],
        "job-name": meta["name"],
    }
    pod["metadata"]["labels"] = {**(pod["metadata"].get("labels") or {}), **labels}
    return Create(PODS, pod, Note("SuccessfulCreate", f"Created pod: {name}"))


def _delete(pod: Object) -> Delete:
    meta = metadata(pod)
    note = Note("SuccessfulDelete", f"Deleted pod: {meta['name']}")
    return Delete(PODS, meta["namespace"], meta["name"], meta["uid"], note)


def _owns(job: Object, pod: Object) -> bool:
    controller = controller_of(pod)
    return controller is not None and controller.get("uid") == metadata(job)["uid"]


def _failure_wait(owned: Sequence[Object], counts: Counts, now: datetime) -> float:
    """Seconds until a failed pod may be replaced: 10 s doubling, from the end of the last one."""
    if not counts.failed:
        return 0.0
    ends = [moment for pod in owned if facts.phase(pod) == "Failed" for moment in [_ended(pod)] if moment]
    if not ends:
        return 0.0
    wait = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2.0 ** (min(len(ends), 16) - 1))
    return max(0.0, (max(ends) + timedelta(seconds=wait) - now).total_seconds())


def _ended(pod: Object) -> datetime | None:
    """When the last of the pod's containers ended."""
    times = [
        time_of(((item.get("state") or {}).get("terminated") or {}).get("finishedAt"))
        for item in facts.status(pod).get("containerStatuses") or ()
    ]
    return max((moment for moment in times if moment), default=facts.created(pod))


def _deadline_wait(job: Object, now: datetime) -> float | None:
    deadline = facts.spec(job).get("activeDeadlineSeconds")
    if deadline is None:
        return None
    started = time_of(facts.status(job).get("startTime")) or now
    return max(0.0, (started + timedelta(seconds=int(deadline)) - now).total_seconds())


def _finished(job: Object) -> Object | None:
    """The condition that ended the Job, if it is over."""
    return next(
        (
            found
            for type in ("Complete", "Failed")
            if (found := facts.condition(job, type)) and found["status"] == "True"
        ),
        None,
    )


def _clean_up(job: Object, finished: Object, now: datetime) -> Decision:
    """Deletes a finished Job ttlSecondsAfterFinished after its end."""
    ttl = facts.spec(job).get("ttlSecondsAfterFinished")
    ended = time_of(finished.get("lastTransitionTime"))
    if ttl is None or ended is None:
        return Decision()
    left = (ended + timedelta(seconds=int(ttl)) - now).total_seconds()
    if left > 0:
        return Decision(requeue=left)
    meta = metadata(job)
    return Decision((Delete(JOBS, meta["namespace"], meta["name"], meta["uid"]),))


def _status(job: Object, counts: Counts, over: End | None, now: datetime) -> dict[str, Any]:
    before = facts.status(job)
    active = 0 if over else len(counts.active)
    suspended = bool(facts.spec(job).get("suspend")) and not over
    numbers = {
        "active": active,
        "ready": 0 if over else sum(facts.is_ready(pod) for pod in counts.active),
        "succeeded": counts.succeeded,
        "failed": counts.failed + (len(counts.active) if over and over.type == "Failed" else 0),
    }
    status: dict[str, Any] = {name: number for name, number in numbers.items() if number}
    if not suspended:
        status["startTime"] = before.get("startTime") or timestamp(now)
    conditions = [item for item in before.get("conditions") or () if item["type"] != "Suspended"]
    if suspended:
        old = facts.condition(job, "Suspended")
        conditions.append(old or _condition("Suspended", "JobSuspended", "Job suspended", now))
    if over is not None:
        conditions.append(
            _condition(over.type, over.reason, over.message if over.type == "Failed" else "", now)
        )
        if over.type == "Complete":
            status["completionTime"] = timestamp(now)
    return {**status, **({"conditions": conditions} if conditions else {})}


def _condition(type: str, reason: str, message: str, now: datetime) -> dict[str, Any]:
    return {
        "type": type,
        "status": "True",
        **({"reason": reason} if reason else {}),
        **({"message": message} if message else {}),
        "lastProbeTime": timestamp(now),
        "lastTransitionTime": timestamp(now),
    }
