"""One Rollout in short: the header of `get`, a row of `list`, the JSON of `status`. Pure.

The fields of `Summary` are the documented JSON (docs/cli.md): names are only ever added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from rollout.api.codec import view
from rollout.api.meta import View
from rollout.api.rollout import HASH_LABEL, REVISION, CanaryStrategy, Rollout, RolloutSpec
from rollout.cli.phase import needs_person, phase_of
from rollout.errors import InvalidSpec

Object = Mapping[str, Any]
SCHEMA_VERSION = 1


class Replicas(View, frozen=True, omit_defaults=False):
    desired: int
    current: int
    updated: int
    ready: int
    available: int


class Weight(View, frozen=True, omit_defaults=False):
    """`set` is what the steps ask for, `actual` what the routes (or the pods' share) give; percent to the canary."""

    set: int
    actual: int


class StepPlace(View, frozen=True, omit_defaults=False):
    """`index` counts finished steps: index == count means that all are done."""

    index: int
    count: int
    current: str


class Image(View, frozen=True, omit_defaults=False):
    image: str
    roles: tuple[str, ...]


class Summary(View, frozen=True, omit_defaults=False):
    """What is known about one Rollout from its own object alone (images: from its ReplicaSets).

    `workload` is what `spec.workloadRef` names and what becomes of it, "" without one.
    """

    schema_version: int
    namespace: str
    name: str
    phase: str
    message: str
    needs_person: bool
    aborted: bool
    strategy: str
    workload: str
    revision: str
    generation: int
    step: StepPlace | None
    weight: Weight | None
    replicas: Replicas
    pauses: tuple[str, ...]
    images: tuple[Image, ...]
    created: str


def rollout_of(raw: Object) -> Rollout:
    """The view of a Rollout as it came; one whose spec cannot be read keeps what its status says."""
    try:
        return view(raw, Rollout)
    except InvalidSpec as error:
        bare = view({"metadata": raw.get("metadata") or {}, "status": _readable(raw.get("status"))}, Rollout)
        phase, message = bare.status.phase or "Degraded", bare.status.message or f"InvalidSpec: {error}"
        return msgspec.structs.replace(
            bare, status=msgspec.structs.replace(bare.status, phase=phase, message=message)
        )


def _readable(status: Any) -> Any:
    known = status if isinstance(status, Mapping) else {}
    texts = {key: known.get(key) for key in ("phase", "message", "observedGeneration")}
    return {key: text for key, text in texts.items() if isinstance(text, str)}


def summarise(rollout: Rollout, replica_sets: Iterable[Object] = ()) -> Summary:
    """The summary of a Rollout and (for its images) of its ReplicaSets, as they came over the wire."""
    phase, status = phase_of(rollout), rollout.status
    canary = rollout.spec.strategy.canary
    return Summary(
        schema_version=SCHEMA_VERSION,
        namespace=rollout.metadata.namespace,
        name=rollout.metadata.name,
        phase=phase.name,
        message=phase.message,
        needs_person=phase.name == "Paused" and needs_person(rollout),
        aborted=status.abort,
        strategy=strategy_of(rollout.spec),
        workload=workload_of(rollout.spec),
        revision=rollout.metadata.annotation(REVISION),
        generation=rollout.metadata.generation,
        step=_step(rollout, canary) if canary is not None and canary.steps else None,
        weight=_weight(rollout, canary) if canary is not None else None,
        replicas=Replicas(
            desired=rollout.replicas,
            current=status.replicas,
            updated=status.updated_replicas,
            ready=status.ready_replicas,
            available=status.available_replicas,
        ),
        pauses=tuple(one.reason for one in status.pause_conditions),
        images=images(rollout, replica_sets),
        created=rollout.metadata.creation_timestamp,
    )


def strategy_of(spec: RolloutSpec) -> str:
    if spec.strategy.canary is not None:
        return "Canary"
    return "BlueGreen" if spec.strategy.blue_green is not None else ""


def workload_of(spec: RolloutSpec) -> str:
    ref = spec.workload_ref
    return f"{ref.kind} {ref.name} (scaleDown: {ref.scale_down or 'never'})" if ref is not None else ""


def is_stable(rollout: Rollout) -> bool:
    """Whether the wanted revision is the stable one: no update is under way."""
    return bool(rollout.status.stable_rs) and rollout.status.stable_rs == rollout.status.current_pod_hash


def _step(rollout: Rollout, canary: CanaryStrategy) -> StepPlace:
    count = len(canary.steps)
    index = min(rollout.status.current_step_index or 0, count)
    current = canary.steps[index].kind if index < count else ""
    return StepPlace(index=index, count=count, current=current)


def _weight(rollout: Rollout, canary: CanaryStrategy) -> Weight:
    return Weight(set=_set_weight(rollout, canary), actual=_actual_weight(rollout))


def _set_weight(rollout: Rollout, canary: CanaryStrategy) -> int:
    """The latest setWeight at or before the current step; 100 when all steps are done."""
    status = rollout.status
    if status.abort:
        return 0
    index = status.current_step_index
    if is_stable(rollout) or not canary.steps or (index is not None and index >= len(canary.steps)):
        return 100
    weights = [step.set_weight for step in canary.steps[: (index or 0) + 1] if step.set_weight is not None]
    return weights[-1] if weights else 0


def _actual_weight(rollout: Rollout) -> int:
    status = rollout.status
    if is_stable(rollout):
        return 100
    if status.canary.weights is not None:
        return status.canary.weights.canary.weight
    return status.updated_replicas * 100 // status.replicas if status.replicas else 0


def roles_of(rollout: Rollout, pod_hash: str) -> tuple[str, ...]:
    """What a ReplicaSet is to the Rollout: stable, canary, active, preview."""
    status, roles = rollout.status, []
    if not pod_hash:
        return ()
    if rollout.spec.strategy.blue_green is not None:
        if pod_hash == status.stable_rs:
            roles.append("stable")
        if pod_hash == status.blue_green.active_selector:
            roles.append("active")
        elif pod_hash == status.blue_green.preview_selector:
            roles.append("preview")
    elif pod_hash == status.stable_rs:
        roles.append("stable")
    elif pod_hash == status.current_pod_hash:
        roles.append("canary")
    return tuple(roles)


def images(rollout: Rollout, replica_sets: Iterable[Object]) -> tuple[Image, ...]:
    """The images of all ReplicaSets that have or want pods, with the roles of those sets; newest revision first."""
    found: dict[str, list[str]] = {}
    for one in replica_sets:
        spec, meta = one.get("spec") or {}, one.get("metadata") or {}
        if not (spec.get("replicas") or (one.get("status") or {}).get("replicas")):
            continue
        roles = roles_of(rollout, (meta.get("labels") or {}).get(HASH_LABEL, ""))
        for image in images_of(spec.get("template")):
            known = found.setdefault(image, [])
            known += [role for role in roles if role not in known]
    return tuple(Image(image=image, roles=tuple(roles)) for image, roles in found.items())


def images_of(template: Any) -> tuple[str, ...]:
    """The images of a pod template's containers, each once."""
    spec = (template or {}).get("spec") or {}
    return tuple(dict.fromkeys(str(one.get("image", "")) for one in spec.get("containers") or []))
