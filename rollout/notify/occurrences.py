"""What has happened to an object, read from its own status: the crash-safe source of notifications.

`occurrences(obj)` lists what the present state tells of: a release that has begun, the pause it is in, its abort, how
an analysis ended. Each has an id that is the same whenever, and by whichever process, it is read from this object, so
that a record of ids makes "once". `edges(old, new)` adds the few that a state alone does not tell (resumed, retried).
A kind is told by what the controllers save before they act upon it; nothing rests on Events, which a crash loses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from rollout.api.codec import view
from rollout.api.meta import map_of, maps_of, metadata, time_of
from rollout.api.rollout import REVISION, WORKLOAD_GENERATION, Rollout
from rollout.core import pauses
from rollout.errors import InvalidSpec
from rollout.plan.runs import RUN_TYPE

Object = Mapping[str, Any]
Severity = Literal["info", "success", "warning", "error"]
OPENS, CLOSES = "open", "close"
DEGRADED = frozenset({"ProgressDeadlineExceeded", "InvariantBroken"})


class Occurrence(msgspec.Struct, frozen=True):
    """Something that has happened. `id` is unique for the object's uid; `at` is when, None where the state does not
    tell (then: when it is first seen).

    `incident`: "open" for what should wake a person up, "close" for what ends that trouble, "" for neither.
    """

    reason: str
    id: str
    message: str
    severity: Severity = "info"
    at: datetime | None = None
    incident: str = ""

    @property
    def trigger(self) -> str:
        """The name of the trigger that it fires: `on-` and the reason in kebab case."""
        return trigger_of(self.reason)


def trigger_of(reason: str) -> str:
    kebab = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in reason)
    return f"on{kebab if kebab.startswith('-') else f'-{kebab}'}"


def occurrences(obj: Object) -> list[Occurrence]:
    """What the state of an object tells of, oldest first as far as it says when. Unknown kinds tell nothing."""
    reader = _LEVELS.get(str(obj.get("kind")))
    return list(reader(obj)) if reader is not None else []


def edges(old: Object, new: Object) -> list[Occurrence]:
    """What only the change from one state of an object to the next tells of."""
    reader = _EDGES.get(str(new.get("kind")))
    return list(reader(old, new)) if reader is not None else []


# --- Rollouts -----------------------------------------------------------------------------------------


def _rollout(obj: Object) -> Iterator[Occurrence]:
    status = map_of(obj.get("status"))
    conditions = {str(one.get("type")): one for one in maps_of(status.get("conditions"))}
    name = metadata(obj).get("name")
    if (wrong := conditions.get("InvalidSpec")) is not None and wrong.get("status") == "True":
        generation = metadata(obj).get("generation")
        yield Occurrence(
            "InvalidSpec", f"invalid/{generation}", f"Rollout {name} has an invalid spec: {wrong.get('message')}",
            "error", _at(wrong.get("lastTransitionTime")),
        )  # fmt: skip
    if not _settled(obj, status):
        return
    completed, progressing = conditions.get("Completed", {}), conditions.get("Progressing", {})
    release, revision = _release(obj), _revision(obj)
    under_way = completed.get("status") == "False"
    if under_way and not status.get("abort"):
        yield Occurrence(
            "RolloutUpdated", f"updated/{release}", f"Rollout {name} is being updated to revision {revision}",
            at=_at(completed.get("lastTransitionTime")),
        )  # fmt: skip
        yield from _step(obj, status, _at(progressing.get("lastUpdateTime")))
        yield from _pauses(obj, status)
    if status.get("abort"):
        yield from _abort(obj, status, progressing)
    if progressing.get("reason") in DEGRADED and status.get("phase") == "Degraded":
        yield Occurrence(
            "RolloutDegraded",
            f"degraded/{progressing.get('lastTransitionTime')}",
            f"Rollout {name} is degraded: {progressing.get('message')}",
            "error",
            _at(progressing.get("lastTransitionTime")),
        )
    if completed.get("status") == "True":
        yield Occurrence(
            "RolloutCompleted", f"completed/{release}", f"Rollout {name} has completed the update to revision {revision}",
            "success", _at(completed.get("lastTransitionTime")), CLOSES,
        )  # fmt: skip


def _settled(obj: Object, status: Object) -> bool:
    """Whether the status is about the present revision: the revision's annotation is written just before it."""
    meta = metadata(obj)
    said = str(map_of(meta.get("annotations")).get(WORKLOAD_GENERATION) or "")
    return (
        str(status.get("observedGeneration") or "") == str(meta.get("generation") or "")
        and bool(status.get("currentPodHash"))
        and said == str(status.get("workloadObservedGeneration") or "")
    )


def _revision(obj: Object) -> str:
    return str(map_of(metadata(obj).get("annotations")).get(REVISION) or "")


def _release(obj: Object) -> str:
    """Names one release of a Rollout: a revision's number is never given twice."""
    return f"{_revision(obj)}/{map_of(obj.get('status')).get('currentPodHash')}"


def _steps(obj: Object) -> list[Any]:
    spec = map_of(obj.get("spec"))
    found = map_of(map_of(spec.get("strategy")).get("canary")).get("steps")
    return found if isinstance(found, list) else []


def _step(obj: Object, status: Object, at: datetime | None) -> Iterator[Occurrence]:
    index, steps = status.get("currentStepIndex"), _steps(obj)
    if isinstance(index, int) and 0 < index < len(steps):
        yield _passed(obj, index, steps, at)


def _passed(obj: Object, index: int, steps: list[Any], at: datetime | None) -> Occurrence:
    name, step = metadata(obj).get("name"), steps[index - 1]
    kind = next(iter(step), "") if isinstance(step, Mapping) else ""
    said = f"{kind}: {step[kind]}" if kind == "setWeight" else kind
    return Occurrence(
        "RolloutStepCompleted",
        f"step/{_release(obj)}/{index}",
        f"Rollout {name} has completed step {index} of {len(steps)} ({said})",
        at=at,
    )


def _pauses(obj: Object, status: Object) -> Iterator[Occurrence]:
    name = metadata(obj).get("name")
    for pause in maps_of(status.get("pauseConditions")):
        reason, start = pause.get("reason"), pause.get("startTime")
        at, own = _at(start), f"{reason}/{start}"
        yield Occurrence(
            "RolloutPaused", f"paused/{own}", f"Rollout {name} is paused ({reason})", "warning", at
        )
        if _waits_for_a_person(obj, str(reason)):
            yield Occurrence(
                "RolloutWaitingForApproval",
                f"approval/{own}",
                f"Rollout {name} waits for approval ({reason}); `rollout promote {name}` lets it go on",
                "warning",
                at,
            )


def _waits_for_a_person(obj: Object, reason: str) -> bool:
    """Whether no clock ends this pause. A Rollout that cannot be read is not carried on, so only a person ends its."""
    try:
        return pauses.length(view(obj, Rollout), reason) is None
    except InvalidSpec:
        return True


def _abort(obj: Object, status: Object, progressing: Object) -> Iterator[Occurrence]:
    name, at = metadata(obj).get("name"), status.get("abortedAt")
    if not at or progressing.get("reason") != "RolloutAborted":
        return  # not yet said why
    message = progressing.get("message") or f"Rollout aborted update to revision {_revision(obj)}"
    yield Occurrence("RolloutAborted", f"aborted/{at}", f"{name}: {message}", "error", _at(at), OPENS)
    if _back(status):
        yield Occurrence(
            "RolloutRolledBack",
            f"rolledback/{at}",
            f"Rollout {name} is back on its stable version: no traffic goes to revision {_revision(obj)}",
            "warning",
            _at(at),
        )


def _back(status: Object) -> bool:
    """Whether an aborted release has given all its traffic back, by what its status says."""
    stable = status.get("stableRS")
    if not stable or stable == status.get("currentPodHash"):
        return False
    if active := map_of(status.get("blueGreen")).get("activeSelector"):
        return bool(active == stable)
    if weights := map_of(map_of(status.get("canary")).get("weights")):
        return not map_of(weights.get("canary")).get("weight")
    return not status.get("updatedReplicas")


def _rollout_edges(old: Object, new: Object) -> Iterator[Occurrence]:
    before, after = map_of(old.get("status")), map_of(new.get("status"))
    name, same = metadata(new).get("name"), before.get("currentPodHash") == after.get("currentPodHash")
    aborted, pauses = before.get("abortedAt"), maps_of(before.get("pauseConditions"))
    if same and aborted and not after.get("abort") and not after.get("abortedAt"):
        yield Occurrence(
            "RolloutRetry",
            f"retry/{aborted}",
            f"Rollout {name} retries the update to revision {_revision(new)}",
        )
    if same and pauses and not after.get("pauseConditions") and not after.get("abort"):
        yield Occurrence(
            "RolloutResumed", f"resumed/{pauses[0].get('startTime')}", f"Rollout {name} is resumed"
        )
    index, steps = after.get("currentStepIndex"), _steps(new)
    was, full = before.get("currentStepIndex"), before.get("promoteFull") or after.get("promoteFull")
    if same and _settled(new, after) and isinstance(was, int) and index == len(steps) > was and not full:
        yield _passed(new, len(steps), steps, None)
    stable = after.get("stableRS")
    went_home = (
        stable
        and not before.get("abort")
        and before.get("currentPodHash") != stable == after.get("currentPodHash")
    )
    if (
        went_home
        and before.get("stableRS") == stable
        and _settled(new, after)
        and before.get("currentPodHash")
    ):
        yield Occurrence(
            "RolloutRolledBack",
            f"rolledback/{_release(new)}",
            f"Rollout {name} goes back to its stable version as revision {_revision(new)}",
            "warning",
        )


# --- AnalysisRuns -------------------------------------------------------------------------------------

_RUN_SEVERITIES: Mapping[str, Severity] = {
    "Running": "info",
    "Successful": "success",
    "Failed": "error",
    "Error": "error",
    "Inconclusive": "warning",
}
GATES = frozenset({"Step", "PrePromotion", "PostPromotion"})


def _analysis(obj: Object) -> Iterator[Occurrence]:
    status, meta = map_of(obj.get("status")), metadata(obj)
    phase, name = str(status.get("phase") or ""), meta.get("name")
    if phase not in _RUN_SEVERITIES:
        return
    yield Occurrence(
        "AnalysisRunRunning", "running", f"Analysis {name} is running", at=_at(status.get("startedAt"))
    )
    if phase == "Running":
        return
    at, why = _at(status.get("completedAt")), f": {status['message']}" if status.get("message") else ""
    yield Occurrence(
        f"AnalysisRun{phase}",
        f"phase/{phase}",
        f"Analysis {name} is {phase}{why}",
        _RUN_SEVERITIES[phase],
        at,
    )
    if phase == "Successful" and map_of(meta.get("labels")).get(RUN_TYPE) in GATES:
        yield Occurrence("GatePassed", "gate", f"The gate {name} has passed", "success", at)


# --- chaos --------------------------------------------------------------------------------------------

_VERDICTS: Mapping[str, tuple[str, Severity, str]] = {
    "Successful": ("ChaosRunSucceeded", "success", CLOSES),
    "Failed": ("ChaosRunFailed", "error", OPENS),
    "Inconclusive": ("ChaosRunInconclusive", "warning", ""),
    "Error": ("ChaosRunError", "error", OPENS),
}


def _chaos_run(obj: Object) -> Iterator[Occurrence]:
    status, name = map_of(obj.get("status")), metadata(obj).get("name")
    if started := status.get("startedAt"):
        yield Occurrence("ChaosRunStarted", "started", f"Chaos run {name} has started", at=_at(started))
    if stopping := status.get("stopping"):
        halted = str(stopping).startswith("Switch")
        yield Occurrence(
            "ChaosRunHalted" if halted else "ChaosRunStopped",
            "stopping",
            f"Chaos run {name} ends before its time: {stopping}",
            "warning",
            _at(status.get("stoppingAt")),
        )
    left = [one for one in maps_of(status.get("receipts")) if one.get("state") == "Unverified"]
    if left:
        names = ", ".join(str(one.get("id")) for one in left[:5])
        yield Occurrence(
            "RevertUnverified", "unverified", f"Chaos run {name}: not shown to be undone: {names}",
            "error", _at(left[0].get("revertedAt")), OPENS,
        )  # fmt: skip
    if status.get("phase") == "Completed" and status.get("verdict") in _VERDICTS:
        reason, severity, incident = _VERDICTS[str(status["verdict"])]
        why = f": {status['message']}" if status.get("message") else ""
        yield Occurrence(
            reason, "completed", f"Chaos run {name} is {status['verdict']}{why}", severity,
            _at(status.get("completedAt")), incident,
        )  # fmt: skip


def _chaos_schedule(obj: Object) -> Iterator[Occurrence]:
    name = metadata(obj).get("name")
    for entry in maps_of(map_of(obj.get("status")).get("skipped")):
        what, at = entry.get("what"), entry.get("at")
        missed = what in {"Missed", "NotMade", "InvalidSpec"}
        yield Occurrence(
            "ChaosRunMissed" if missed else "ChaosRunSkipped",
            f"skipped/{at}/{what}",
            f"Schedule {name} started no run for {at} ({what}): {entry.get('message')}",
            "warning" if missed else "info",
            _at(at),
        )


def _chaos_switch(obj: Object) -> Iterator[Occurrence]:
    spec, meta = map_of(obj.get("spec")), metadata(obj)
    why, own = spec.get("reason") or "no reason given", f"{meta.get('generation')}"
    if spec.get("engaged"):
        yield Occurrence(
            "ChaosHalted", f"halted/{own}", f"Switch {meta.get('name')} halts all chaos: {why}", "warning"
        )
    if spec.get("holdReleases"):
        yield Occurrence(
            "ReleasesHeld", f"held/{own}", f"Switch {meta.get('name')} holds all releases: {why}", "warning"
        )


def _switch_edges(old: Object, new: Object) -> Iterator[Occurrence]:
    before, after, name = map_of(old.get("spec")), map_of(new.get("spec")), metadata(new).get("name")
    own = metadata(new).get("generation")
    if before.get("engaged") and not after.get("engaged"):
        yield Occurrence("ChaosResumed", f"resumed/{own}", f"Switch {name} lets chaos begin again")
    if before.get("holdReleases") and not after.get("holdReleases"):
        yield Occurrence("ReleasesResumed", f"released/{own}", f"Switch {name} lets releases begin again")


# --- inside: objects are read as they came, so anything may be missing or of another type -----------------


def _at(text: Any) -> datetime | None:
    try:
        return time_of(text) if isinstance(text, str) else None
    except ValueError:
        return None


_LEVELS: Mapping[str, Callable[[Object], Iterator[Occurrence]]] = {
    "Rollout": _rollout,
    "AnalysisRun": _analysis,
    "ChaosRun": _chaos_run,
    "ChaosSchedule": _chaos_schedule,
    "ChaosSwitch": _chaos_switch,
}
_EDGES: Mapping[str, Callable[[Object, Object], Iterator[Occurrence]]] = {
    "Rollout": _rollout_edges,
    "ChaosSwitch": _switch_edges,
}
KINDS = frozenset(_LEVELS)
REASONS: Mapping[str, str] = {
    "RolloutUpdated": "a release begins",
    "RolloutStepCompleted": "a canary step is done",
    "RolloutPaused": "a release is paused, for a time or for a person",
    "RolloutWaitingForApproval": "a release is paused until a person promotes it",
    "RolloutResumed": "a pause is over",
    "RolloutAborted": "a release is given up",
    "RolloutRolledBack": "no traffic goes to a release that was given up, or somebody has gone back to the stable version",
    "RolloutRetry": "a release that was given up is tried again",
    "RolloutDegraded": "a release makes no progress, or a safety rule would be broken",
    "RolloutCompleted": "a release is promoted: the new version is the stable one",
    "InvalidSpec": "a Rollout's spec cannot be acted upon",
    "AnalysisRunRunning": "an analysis begins to measure",
    "AnalysisRunSuccessful": "an analysis has succeeded",
    "AnalysisRunFailed": "an analysis has failed",
    "AnalysisRunInconclusive": "an analysis has ended without an answer",
    "AnalysisRunError": "an analysis could not be measured",
    "GatePassed": "the analysis of a step, before or after a promotion has succeeded",
    "ChaosRunStarted": "a chaos run was let in",
    "ChaosRunStopped": "a chaos run ends before its time",
    "ChaosRunHalted": "a chaos run ends because of the switch",
    "ChaosRunSucceeded": "a chaos run has the verdict Successful",
    "ChaosRunFailed": "a chaos run has the verdict Failed",
    "ChaosRunInconclusive": "a chaos run has the verdict Inconclusive",
    "ChaosRunError": "a chaos run has the verdict Error",
    "RevertUnverified": "a fault was not shown to be undone",
    "ChaosRunMissed": "a scheduled run was not made, and should have been",
    "ChaosRunSkipped": "a scheduled run was left out on purpose",
    "ChaosHalted": "a switch halts all chaos",
    "ChaosResumed": "a switch lets chaos begin again",
    "ReleasesHeld": "a switch holds all releases",
    "ReleasesResumed": "a switch lets releases begin again",
}
"""Every reason there is, and when it happens. Each fires the trigger `trigger_of(reason)`."""
