"""Why a pod of a measurement does not start, and whether it is worth waiting for. Pure.

A container that cannot be started is no failure to Kubernetes: its pod stays Pending, and its Job waits with it until a
deadline that may be a day away. The reasons are those of the kubelet, in `state.waiting` of a container's status:
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-state-waiting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from rollout.api.meta import metadata, time_of
from rollout.runtime.kube import Object

NO_POD_SECONDS = 120.0
"""So long after its controller has begun with a Job it may have no pod: a quota may be full, a node slow."""
GRACE_SECONDS = 60.0
"""So long after its node has taken the pod a container may wait for what can still be made: a ConfigMap, a Secret."""

Cause = Literal["passing", "image", "config"]
_STARTS = frozenset({"", "ContainerCreating", "PodInitializing"})
_IMAGE = frozenset({"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
"""ErrImagePull is none of them: it is tried again first."""
_CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_ROOT = re.compile("runAsNonRoot|non-root policy")
_FIX_IMAGE = "put the image where the nodes find it, or correct its name or its pull secret"
_FIX_ROOT = (
    "say who it runs as by number, securityContext.runAsUser: 65534 (or USER in the image), "
    "or runAsNonRoot: false where the namespace admits root"
)
_FIX_CONFIG = "make what is missing, or correct the pod's template"


class Trouble(msgspec.Struct, frozen=True):
    """A container that waits for something other than its turn.

    `cause`: the image cannot be had, the container can never be made as its pod wants it, or it may pass.
    """

    pod: str
    container: str
    reason: str
    detail: str
    cause: Cause
    fix: str

    @property
    def said(self) -> str:
        """For people: pod, container, reason and, where waiting does not help, what does."""
        detail = f": {self.detail}" if self.detail else ""
        fix = f"; {self.fix}" if self.fix else ""
        return f"pod {self.pod}, container {self.container}: {self.reason}{detail}{fix}"


def trouble(pods: Iterable[Object], now: datetime) -> Trouble | None:
    """The worst that keeps a container of these pods from starting, if anything does."""
    found = [one for pod in pods for one in _troubles(pod, now)]
    return next((one for one in found if one.cause != "passing"), found[0] if found else None)


def unmade(job: Object, now: datetime) -> str:
    """What is said of a Job without pods when none will come: admission refuses them, or a quota is full. "" until then.

    A suspended Job has no `startTime`, and may wait.
    """
    status = job.get("status") or {}
    began = time_of(status.get("startTime"))
    ever = any(status.get(field) for field in ("active", "succeeded", "failed", "terminating"))
    if ever or began is None or (now - began).total_seconds() <= NO_POD_SECONDS:
        return ""
    meta = metadata(job)
    look = f"kubectl describe job {meta.get('name')} -n {meta.get('namespace')}"
    return f"no pod came of the Job within {NO_POD_SECONDS:g} s; why is in its events: {look}"


def _troubles(pod: Object, now: datetime) -> Iterable[Trouble]:
    if metadata(pod).get("deletionTimestamp"):
        return
    status = pod.get("status") or {}
    for one in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        state = (one.get("state") or {}).get("waiting") or {}
        reason = str(state.get("reason") or "")
        if reason in _STARTS:
            continue
        detail = str(state.get("message") or "")
        cause, fix = _cause(reason, detail, status, now)
        yield Trouble(
            pod=str(metadata(pod).get("name", "")),
            container=str(one.get("name", "")),
            reason=reason,
            detail=detail,
            cause=cause,
            fix=fix,
        )


def _cause(reason: str, detail: str, status: Mapping[str, Any], now: datetime) -> tuple[Cause, str]:
    if reason in _IMAGE:
        return "image", _FIX_IMAGE
    if reason not in _CONFIG:
        return "passing", ""
    if _ROOT.search(detail):  # neither the pod nor its image can change any more
        return "config", _FIX_ROOT
    taken = time_of(status.get("startTime"))
    late = taken is not None and (now - taken).total_seconds() > GRACE_SECONDS
    return ("config", _FIX_CONFIG) if late else ("passing", "")
