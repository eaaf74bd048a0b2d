"""A Rollout and everything below it as one tree: revisions, ReplicaSets, pods, AnalysisRuns. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from analysis.lasting import PROGRESS
from rollout.api.meta import View, time_of
from rollout.api.rollout import HASH_LABEL, REVISION, SCALE_DOWN_DEADLINE, Rollout
from rollout.cli.phase import held, pause_ends
from rollout.cli.summary import Summary, images_of, roles_of, summarise
from rollout.cli.text import span

Object = Mapping[str, Any]
CHAOS_RUN = "chaosRun"
"""In the metadata of a chaos measurement: the name of its run."""


class Node(View, frozen=True, omit_defaults=False):
    """One line of the tree. `info` are short words: roles, ready:1/1, restarts:2, delay:30s, measurement counts.

    `progress` are sentences about what lasts: how far a load test is.
    """

    kind: str
    name: str
    status: str = ""
    created: str = ""
    info: tuple[str, ...] = ()
    message: str = ""
    progress: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    children: tuple[Node, ...] = ()


class Tree(View, frozen=True, omit_defaults=False):
    """What `get` shows, and its JSON."""

    summary: Summary
    root: Node


def tree(
    rollout: Rollout,
    replica_sets: Sequence[Object],
    pods: Sequence[Object],
    runs: Sequence[Object],
    now: datetime,
) -> Tree:
    """The tree of a Rollout. The lists may hold more than what belongs to it: owners decide."""
    sets = owned(replica_sets, rollout.metadata.uid)
    ours = owned(runs, rollout.metadata.uid)
    by_revision: dict[int, tuple[list[Object], list[Object]]] = {}
    for one in sets:
        by_revision.setdefault(_revision(one), ([], []))[0].append(one)
    for one in ours:
        by_revision.setdefault(_revision(one), ([], []))[1].append(one)
    newest_first = sorted(by_revision, reverse=True)
    ordered = [one for number in newest_first for one in by_revision[number][0]]
    summary = summarise(rollout, ordered)
    revisions = []
    for number in newest_first:
        sets_here, runs_here = by_revision[number]
        children = [_set_node(rollout, one, pods, now) for one in sorted(sets_here, key=_name)]
        children += [_run_node(one) for one in sorted(runs_here, key=_creation)]
        revisions.append(Node(kind="Revision", name=f"revision:{number}", children=tuple(children)))
    root = Node(
        kind="Rollout",
        name=rollout.metadata.name,
        status=summary.phase,
        created=rollout.metadata.creation_timestamp,
        info=_pause(rollout, summary, now),
        message=summary.message,
        children=tuple(revisions),
    )
    return Tree(summary=summary, root=root)


def _pause(rollout: Rollout, summary: Summary, now: datetime) -> tuple[str, ...]:
    """What a paused Rollout waits for."""
    if held(rollout):
        return ("waits for chaos resume",)
    if summary.needs_person:
        return ("waits for promote",)
    ends = pause_ends(rollout) if summary.phase == "Paused" else None
    return (f"goes on in {span((ends - now).total_seconds())}",) if ends is not None else ()


def _set_node(rollout: Rollout, one: Object, pods: Sequence[Object], now: datetime) -> Node:
    meta, spec = _meta(one), one.get("spec") or {}
    info = list(roles_of(rollout, (meta.get("labels") or {}).get(HASH_LABEL, "")))
    if delay := _delay(one, now):
        info.append(f"delay:{delay}")
    return Node(
        kind="ReplicaSet",
        name=_name(one),
        status=set_status(one),
        created=_creation(one),
        info=tuple(info),
        images=images_of(spec.get("template")),
        children=tuple(_pod_node(pod) for pod in sorted(owned(pods, meta.get("uid", "")), key=_creation)),
    )


def set_status(one: Object) -> str:
    """Healthy, Progressing, ScaledDown or Degraded."""
    spec, status = one.get("spec") or {}, one.get("status") or {}
    wanted = spec.get("replicas", 1)
    if any(
        c.get("type") == "ReplicaFailure" and c.get("status") == "True"
        for c in status.get("conditions") or []
    ):
        return "Degraded"
    if not wanted and not status.get("replicas"):
        return "ScaledDown"
    settled = (status.get("availableReplicas") or 0) >= wanted and (status.get("replicas") or 0) == wanted
    return "Healthy" if settled else "Progressing"


def _pod_node(pod: Object) -> Node:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    count = len((pod.get("spec") or {}).get("containers") or []) or len(statuses)
    restarts = sum(int(one.get("restartCount") or 0) for one in statuses)
    info = [f"ready:{sum(bool(one.get('ready')) for one in statuses)}/{count}"]
    if restarts:
        info.append(f"restarts:{restarts}")
    status, message = pod_status(pod)
    return Node(
        kind="Pod",
        name=_name(pod),
        status=status,
        created=_creation(pod),
        info=tuple(info),
        message=message,
        images=images_of({"spec": pod.get("spec") or {}}),
    )


def pod_status(pod: Object) -> tuple[str, str]:
    """A pod's state as kubectl names it, and the message that goes with it."""
    status = pod.get("status") or {}
    if _meta(pod).get("deletionTimestamp"):
        return "Terminating", ""
    for field in ("initContainerStatuses", "containerStatuses"):
        for one in status.get(field) or []:
            state = one.get("state") or {}
            waiting, ended = state.get("waiting"), state.get("terminated")
            if waiting and waiting.get("reason"):
                return str(waiting["reason"]), str(waiting.get("message") or "")
            if ended and (ended.get("exitCode") or field == "containerStatuses"):
                reason = ended.get("reason") or f"ExitCode:{ended.get('exitCode', 0)}"
                return str(reason), str(ended.get("message") or "")
    return str(status.get("reason") or status.get("phase") or "Pending"), str(status.get("message") or "")


_COUNTS = (("successful", "✔"), ("failed", "✖"), ("inconclusive", "?"), ("error", "⚠"))


def _run_node(run: Object) -> Node:
    status = run.get("status") or {}
    totals = {
        field: sum(
            int(result.get(field) or 0)
            for result in status.get("metricResults") or []
            if not result.get("dryRun")
        )
        for field, _ in _COUNTS
    }
    return Node(
        kind="AnalysisRun",
        name=_name(run),
        status=str(status.get("phase") or "Pending"),
        created=_creation(run),
        info=tuple(f"{sign} {totals[field]}" for field, sign in _COUNTS if totals[field]),
        message=str(status.get("message") or ""),
        progress=tuple(_progress(status)),
    )


def _progress(status: Object) -> Iterator[str]:
    """How far the measurements are that last: a load test, a Job, chaos."""
    for result in status.get("metricResults") or []:
        for measurement in (result.get("measurements") or [])[-1:]:
            known = measurement.get("metadata") or {}
            if measurement.get("phase") == "Running" and (said := known.get(PROGRESS)):
                yield f"{result.get('name')}: {said}"
                if run := known.get(CHAOS_RUN):
                    yield f"  more: rollout chaos get {run}"


def owned(objects: Iterable[Object], uid: str) -> list[Object]:
    """The objects whose controller is the one with this uid."""
    return [
        one
        for one in objects
        if any(
            ref.get("controller") and ref.get("uid") == uid for ref in _meta(one).get("ownerReferences") or []
        )
    ]


def _delay(one: Object, now: datetime) -> str:
    """How long the old pods are still kept, "" when they are not waiting for that."""
    text = (_meta(one).get("annotations") or {}).get(SCALE_DOWN_DEADLINE)
    try:
        deadline = time_of(text)
    except ValueError:
        return ""
    left = (deadline - now).total_seconds() if deadline else 0
    return span(left) if left > 0 and (one.get("spec") or {}).get("replicas") else ""


def _revision(one: Object) -> int:
    text = (_meta(one).get("annotations") or {}).get(REVISION, "")
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def _meta(one: Object) -> Object:
    return one.get("metadata") or {}


def _name(one: Object) -> str:
    return str(_meta(one).get("name", ""))


def _creation(one: Object) -> str:
    return str(_meta(one).get("creationTimestamp") or "")


def without_scaled_down(shown: Tree) -> Tree:
    """The tree without old revisions that have no pods any more, for small screens."""
    kept = tuple(
        node for node in shown.root.children if any(child.status != "ScaledDown" for child in node.children)
    )
    return msgspec.structs.replace(shown, root=msgspec.structs.replace(shown.root, children=kept))
