"""What the acting verbs send, and when they refuse. Pure: a Rollout in, a `Plan` out, or `Refused` with the reason.

The patches are those that `kubectl argo rollouts` sends (study/argo-rollouts.md 1.11), so that controllers cannot
tell the two apart. Where a second, late or repeated request could do more than was meant, the patch carries the
resourceVersion it was decided at; the others are idempotent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from rollout.api.meta import timestamp
from rollout.api.resources import ROLLOUTS, Resource
from rollout.api.rollout import REVISION, Rollout
from rollout.cli.exits import Refused
from rollout.cli.phase import held, observed, phase_of
from rollout.cli.summary import is_stable
from rollout.core.template import equivalent, without_hash

Object = Mapping[str, Any]
PROMOTED_BY = "surefoot.dev/promoted-by"


class Place(msgspec.Struct, frozen=True):
    """Where a Rollout's pod template is written: in itself, or (with a `name`) in the workload that it refers to.

    `template` is a JSON pointer; `version` the workload's resourceVersion, which changes of it depend on.
    """

    resource: Resource = ROLLOUTS
    name: str = ""
    template: str = "/spec/template"
    version: str = ""

    def __str__(self) -> str:
        return f" in {self.resource.kind} {self.name}" if self.name else ""


ITSELF = Place()


class Change(msgspec.Struct, frozen=True):
    """One patch, of the Rollout or of its workload. `exact`: only if that is still the one that was looked at."""

    patch: Any
    type: Literal["merge", "json"] = "merge"
    subresource: str = ""
    exact: bool = True
    place: Place = ITSELF

    def body(self, resource_version: str) -> Any:
        """What goes over the wire."""
        if not self.exact or not resource_version:
            return self.patch
        if self.type == "json":
            # A resourceVersion in the result is the precondition; a failed `test` would be a 422, not a 409.
            seen = {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version}
            return [seen, *self.patch]
        return self.patch | {"metadata": {"resourceVersion": resource_version}}


class Plan(msgspec.Struct, frozen=True):
    """The patches to send, in this order, and what to tell the user. Without patches it was done already."""

    said: str
    changes: tuple[Change, ...] = ()


def _status(fields: dict[str, Any], *, exact: bool = True) -> Change:
    return Change({"status": fields}, subresource="status", exact=exact)


def _spec(fields: dict[str, Any], *, exact: bool = True) -> Change:
    return Change({"spec": fields}, exact=exact)


# --- promote ------------------------------------------------------------------------------------------


def promote(rollout: Rollout, *, full: bool = False, skip_step: bool = False) -> Plan:
    """End a pause; with `skip_step` end the current step; with `full` skip all that is left."""
    status = rollout.status
    if status.abort:
        raise Refused(
            f"{_name(rollout)} was aborted, so nothing is under way\nStart it again: rollout retry {_bare(rollout)}"
        )
    if _invalid(rollout):
        raise Refused(f"{_name(rollout)} cannot be acted on: {status.message}")
    if held(rollout):
        raise Refused(
            f"{_name(rollout)} is {status.message}\nTo let releases begin again: rollout chaos resume"
        )
    unpause = (_spec({"paused": False}),) if rollout.spec.paused else ()
    if full:
        return _promote_full(rollout, unpause)
    if status.pause_conditions:
        fields: dict[str, Any] = {"pauseConditions": None}
        if _inconclusive(rollout):
            fields |= {"controllerPause": False, "currentStepIndex": _next_step(rollout)}
        return Plan(f"promoted: {_pause_said(rollout)} ended", (_status(fields), *unpause))
    if unpause:
        return Plan("promoted: no longer paused by hand", unpause)
    if status.controller_pause:
        return Plan("promoted already; the controller has not gone on yet")
    _refuse_unless_under_way(rollout)
    if skip_step:
        return _skip_step(rollout)
    raise Refused(_not_paused(rollout))


def _promote_full(rollout: Rollout, unpause: tuple[Change, ...]) -> Plan:
    if rollout.status.promote_full:
        return Plan("promoted in full already; the controller has not finished yet")
    if is_stable(rollout) and unpause:
        return Plan("promoted: no longer paused by hand", unpause)
    _refuse_unless_under_way(rollout)
    return Plan(
        "promoted in full: steps, pauses and analyses that are left are skipped",
        (_status({"promoteFull": True}), *unpause),
    )


def _skip_step(rollout: Rollout) -> Plan:
    canary = rollout.spec.strategy.canary
    index = rollout.status.current_step_index or 0
    if canary is None or index >= len(canary.steps):
        raise Refused(f"{_name(rollout)} has no step that could be skipped: {phase_of(rollout)}")
    said = f"skipped step {index + 1}/{len(canary.steps)} ({canary.steps[index].kind})"
    return Plan(said, (_status({"pauseConditions": None, "currentStepIndex": index + 1}),))


def _refuse_unless_under_way(rollout: Rollout) -> None:
    if not observed(rollout):
        raise Refused(
            f"the controller has not seen the latest change of {_name(rollout)} yet\nTry again in a moment."
        )
    if is_stable(rollout):
        raise Refused(f"nothing to promote: the wanted version of {_name(rollout)} is the stable one already")


def _not_paused(rollout: Rollout) -> str:
    canary, index = rollout.spec.strategy.canary, rollout.status.current_step_index or 0
    reason = f"{_name(rollout)} is not paused: {phase_of(rollout)}"
    if canary is not None and index < len(canary.steps):
        step = f"step {index + 1}/{len(canary.steps)} ({canary.steps[index].kind})"
        return (
            f"{reason}, at {step}\nTo end that step unfinished: --skip-step; to skip all that is left: --full"
        )
    return f"{reason}\nTo skip what it waits for: --full"


def _pause_said(rollout: Rollout) -> str:
    canary, index = rollout.spec.strategy.canary, rollout.status.current_step_index or 0
    reason = rollout.status.pause_conditions[0].reason
    if canary is not None and index < len(canary.steps):
        return f"the pause at step {index + 1}/{len(canary.steps)} ({reason})"
    return f"the pause ({reason})"


def _inconclusive(rollout: Rollout) -> bool:
    run = rollout.status.canary.current_step_analysis_run_status
    return rollout.spec.strategy.canary is not None and run is not None and run.status == "Inconclusive"


def _next_step(rollout: Rollout) -> int:
    canary = rollout.spec.strategy.canary
    count = len(canary.steps) if canary is not None else 0
    return min((rollout.status.current_step_index or 0) + 1, count)


def promoted_by(who: str, now: datetime, rollout: Rollout, said: str) -> dict[str, Any]:
    """The patch that keeps who promoted, when, and what."""
    record = {
        "by": who,
        "at": timestamp(now),
        "revision": rollout.metadata.annotation(REVISION),
        "what": said,
    }
    return {"metadata": {"annotations": {PROMOTED_BY: msgspec.json.encode(record).decode()}}}


# --- abort, retry, pause, restart -----------------------------------------------------------------------


def abort(rollout: Rollout) -> Plan:
    """Stop the update and go back to the stable version."""
    if rollout.status.abort:
        return Plan("aborted already")
    if not observed(rollout):
        raise Refused(
            f"the controller has not seen the latest change of {_name(rollout)} yet\nTry again in a moment."
        )
    if is_stable(rollout):
        raise Refused(
            f"nothing to abort: {_name(rollout)} runs its stable version only ({phase_of(rollout)})\n"
            f"To go back to an earlier version: rollout undo {_bare(rollout)}"
        )
    if not rollout.status.stable_rs:
        raise Refused(f"nothing to go back to: {_name(rollout)} has no stable version yet")
    return Plan("aborted: going back to the stable version", (_status({"abort": True}, exact=False),))


def retry(rollout: Rollout) -> Plan:
    """Start an aborted update again from its first step."""
    if not rollout.status.abort:
        raise Refused(f"nothing to retry: {_name(rollout)} is not aborted ({phase_of(rollout)})")
    return Plan("retried: the update starts again", (_status({"abort": False}, exact=False),))


def pause(rollout: Rollout) -> Plan:
    """Hold the update where it is, until it is promoted."""
    if rollout.spec.paused:
        return Plan("paused already")
    return Plan("paused: goes on with `rollout promote`", (_spec({"paused": True}, exact=False),))


def restart(now: datetime) -> Plan:
    """Replace all pods without a new version."""
    return Plan(
        "restarted: pods are replaced one after the other",
        (_spec({"restartAt": timestamp(now)}, exact=False),),
    )


# --- undo, set image ------------------------------------------------------------------------------------


def undo(
    rollout: Rollout,
    template: Object,
    replica_sets: Sequence[Object],
    to_revision: int = 0,
    place: Place = ITSELF,
) -> Plan:
    """Put an earlier pod template back. `template` is the present one; `replica_sets` those of this Rollout.

    Without `to_revision` it is the newest revision whose pods differ from what is wanted now.
    """
    olds = {
        number: without_hash((one.get("spec") or {}).get("template") or {})
        for one in replica_sets
        if (number := _revision(one))
    }
    others = [number for number, old in olds.items() if not equivalent(template, old)]
    if to_revision and to_revision not in olds:
        have = ", ".join(map(str, sorted(olds, reverse=True))) or "none"
        raise Refused(f"{_name(rollout)} has no revision {to_revision}; it has {have}")
    if to_revision and to_revision not in others:
        raise Refused(f"{_name(rollout)} wants the pods of revision {to_revision} already")
    if not others:
        raise Refused(f"nothing to go back to: {_name(rollout)} has no other revision")
    wanted = to_revision or max(others)
    operation = {"op": "replace", "path": place.template, "value": olds[wanted]}
    change = Change([operation], type="json", place=place)
    return Plan(f"undone{place}: back to the pods of revision {wanted}", (change,))


def set_images(rollout: Rollout, template: Object, wanted: Mapping[str, str], place: Place = ITSELF) -> Plan:
    """New images by container name; "*" means every container."""
    operations, found = [], set()
    spec = template.get("spec") or {}
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field) or []):
            name = container.get("name", "")
            found.add(name)
            image = wanted.get(name, wanted.get("*") if field == "containers" else None)
            if image is not None and image != container.get("image"):
                path = f"{place.template}/spec/{field}/{index}/image"
                operations.append({"op": "add", "path": path, "value": image})
    if missing := sorted(set(wanted) - found - {"*"}):
        have = ", ".join(sorted(found)) or "none"
        raise Refused(f"{_name(rollout)} has no container {', '.join(missing)}; it has {have}")
    if not operations:
        return Plan("image unchanged")
    return Plan(f"image updated{place}", (Change(operations, type="json", place=place),))


def _revision(one: Object) -> int:
    text = ((one.get("metadata") or {}).get("annotations") or {}).get(REVISION, "")
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def _invalid(rollout: Rollout) -> bool:
    return any(c.type == "InvalidSpec" and c.status == "True" for c in rollout.status.conditions)


def _bare(rollout: Rollout) -> str:
    return f"{rollout.metadata.name} -n {rollout.metadata.namespace}"


def _name(rollout: Rollout) -> str:
    return f'Rollout "{rollout.metadata.name}"'
