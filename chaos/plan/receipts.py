"""The life of each receipt, from the saved status to what is done about it now.

Planned -> Injected -> Proved -> Reverted, and the ways off it: Refused (it never happened), Unverified (nobody could
show that it is gone: its pod is evicted, and it is said loudly). Everything that is done here rests on receipts that
were saved before.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from chaos.actions import RemovePod, SetFinalizer, Trouble
from chaos.faults.base import Context, Kind
from chaos.faults.pods import alive, pod_of, ready
from chaos.faults.receipts import fault_named
from chaos.plan.choose import floor
from chaos.plan.draft import OVER, Draft, moment, noted
from chaos.plan.workloads import owner_name, ready_below, ready_of, top
from rollout.api.chaos import FINALIZER, ChaosRun, ChaosRunStatus, Fault, Receipt
from rollout.api.meta import duration, timestamp
from rollout.core.validate_chaos import FAMILY

UNVERIFIED = "RevertUnverified"
"""Reason of the Event and type of the condition when a fault could not be shown to be gone."""


def advance(draft: Draft, *, injecting: bool) -> None:
    """Move every receipt on. `injecting`: planned ones may still be begun."""
    taken: dict[tuple[str, str], int] = {}
    for receipt in draft.run.status.receipts:
        if receipt.state == "Unverified":
            _evict(draft, receipt)
            continue
        if receipt.state in OVER:
            continue
        kind = draft.kinds.get(receipt.kind)
        ends = ending(draft, receipt)
        if ends is not None or not injecting:
            since = ends or draft.now
            draft.put(_revert(draft, receipt, kind, since))
        elif receipt.state == "Planned":
            draft.put(_inject(draft, receipt, kind, taken))
        else:
            draft.put(_watch(draft, receipt, kind))


def ending(draft: Draft, receipt: Receipt) -> datetime | None:
    """Since when the receipt is to be undone: its deadline, or when the run was stopped; None before that."""
    stopped = draft.run.status.stopping_at
    moments = [moment(receipt.deadline or None, draft.now)]
    if draft.run.status.stopping:
        moments.append(moment(stopped, draft.now))
    first = min(moments)
    return first if first <= draft.now else None


def context_for(run: ChaosRun, fault: Fault, receipt: Receipt, now: datetime) -> Context:
    return Context(
        run=run,
        fault=fault,
        step=receipt.step,
        round=receipt.round,
        begin_at=moment(receipt.begin_at, now),
        deadline=moment(receipt.deadline or None, now),
        seed=run.status.seed or 0,
    )


# --- forward ------------------------------------------------------------------------------------------


def _inject(draft: Draft, receipt: Receipt, kind: Kind | None, taken: dict[tuple[str, str], int]) -> Receipt:
    fault = fault_named(draft.run, receipt.fault)
    if kind is None or fault is None or not receipt.deadline:
        return _refused(draft, receipt, f"there is no fault of the kind {receipt.kind} to be done")
    if FINALIZER not in draft.run.metadata.finalizers:
        if not any(isinstance(one, SetFinalizer) for one in draft.actions):
            version = draft.run.metadata.resource_version
            draft.act([SetFinalizer(present=True, resource_version=version)])
        return receipt
    if held := _held(draft, receipt, taken):
        if receipt.message != held:
            draft.note("Held", f"{receipt.id}: {held}")
        return msgspec.structs.replace(receipt, message=held)
    draft.act(kind.inject(receipt, context_for(draft.run, fault, receipt, draft.now), draft.seen.world))
    done = msgspec.structs.replace(receipt, state="Injected", injected_at=timestamp(draft.now), message="")
    if draft.status.injected_at is None:
        draft.set(injected_at=timestamp(draft.now))
    return done


def _held(draft: Draft, receipt: Receipt, taken: dict[tuple[str, str], int]) -> str:
    """Why a pod may not be taken at this moment: its workload would keep too few that are ready."""
    victim, world = receipt.victim, draft.seen.world
    if receipt.kind == "scaleDown":
        return _held_as_a_whole(draft, receipt, taken)
    if FAMILY.get(receipt.kind) != "pods" or victim.kind != "Pod":
        return ""
    pod = pod_of(victim, world)
    if pod is None or not alive(pod):
        return ""
    owner = owner_name(pod)
    place = victim.namespace, owner
    there = len(ready_of(victim.namespace, owner, world))
    left = there - taken.get(place, 0) - ready(pod)
    least = floor(draft.spec.limits)
    if left < least:
        return f"{owner} would keep {left} ready pods, and {least} must stay"
    for each in {place, (victim.namespace, top(victim.namespace, owner, world))}:
        taken[each] = taken.get(each, 0) + ready(pod)
    return ""


def _held_as_a_whole(draft: Draft, receipt: Receipt, taken: dict[tuple[str, str], int]) -> str:
    """The same for a workload that is to be scaled down: pods may have been lost since that was planned."""
    victim, undo = receipt.victim, receipt.undo
    place = victim.namespace, f"{victim.kind}/{victim.name}"
    fewer = int(undo.get("original") or 0) - int(undo.get("replicas") or 0)
    left = len(ready_below(*place, draft.seen.world)) - taken.get(place, 0) - fewer
    least = floor(draft.spec.limits)
    if left < least:
        return f"{place[1]} would keep {max(left, 0)} ready pods, and {least} must stay"
    taken[place] = taken.get(place, 0) + fewer
    return ""


def _watch(draft: Draft, receipt: Receipt, kind: Kind | None) -> Receipt:
    """An active fault: look for the proof, and keep its lease alive."""
    if kind is None:
        return receipt
    draft.act(kind.renew(receipt, draft.seen.world))
    receipt = _proved(draft, receipt, kind)
    said = "" if receipt.proof else kind.said(receipt, draft.seen.world)
    return msgspec.structs.replace(receipt, message=said or receipt.message)


def _proved(draft: Draft, receipt: Receipt, kind: Kind) -> Receipt:
    if receipt.proof or not (proof := kind.proof(receipt, draft.seen.world)):
        return receipt
    draft.tell("FaultProved", f"{receipt.id}: {proof}")
    state = "Proved" if receipt.state in {"Planned", "Injected"} else receipt.state
    injected = receipt.injected_at or timestamp(draft.now)
    return msgspec.structs.replace(receipt, state=state, proof=proof, injected_at=injected, message="")


# --- back ---------------------------------------------------------------------------------------------


def _revert(draft: Draft, receipt: Receipt, kind: Kind | None, since: datetime) -> Receipt:
    """Undo until it is shown to be gone. One that was only planned may have been done by a pass that was cut off."""
    if kind is None:
        return _unverified(draft, receipt, None, since, f"there is no kind {receipt.kind} to undo it")
    world = draft.seen.world
    receipt = _proved(draft, receipt, kind)
    actions = kind.revert(receipt, world)
    if receipt.state == "Planned" and not actions and not kind.begun(receipt, world):
        return _refused(draft, receipt, receipt.message or "it was not done in time")
    said = kind.said(receipt, world) or receipt.message
    if gone := (kind.gone(receipt, world) if not actions else ""):
        draft.tell("FaultReverted", f"{receipt.id}: {gone}")
        now, proof = timestamp(draft.now), kind.proof(receipt, world) or receipt.proof
        return msgspec.structs.replace(
            receipt, state="Reverted", proof=proof, gone=gone, reverted_at=now, message="" if proof else said
        )
    draft.act(actions)
    receipt = msgspec.structs.replace(receipt, gone=kind.ended(receipt, world) or receipt.gone, message=said)
    if receipt.state == "Planned":
        # There is something to undo: a pass that was cut off has done it.
        begun = receipt.begin_at or timestamp(draft.now)
        receipt = msgspec.structs.replace(receipt, state="Injected", injected_at=begun)
    return _unverified(draft, receipt, kind, since, receipt.message)


def _unverified(draft: Draft, receipt: Receipt, kind: Kind | None, since: datetime, why: str) -> Receipt:
    """The receipt while it is being undone; given up, and its pod to be evicted, when revertTimeout is over."""
    limit = duration(draft.spec.revert_timeout)
    if draft.now < since + timedelta(seconds=limit):
        return receipt
    said = f"{receipt.id}: not shown to be gone within {draft.spec.revert_timeout}"
    said += f" ({why})" if why else ""
    said += f"; {_last_resort(draft, receipt, kind)}"
    draft.tell(UNVERIFIED, said, warning=True)
    draft.condition(UNVERIFIED, said)
    return msgspec.structs.replace(
        receipt, state="Unverified", reverted_at=timestamp(draft.now), message=why or said
    )


def _last_resort(draft: Draft, receipt: Receipt, kind: Kind | None) -> str:
    victim, world = receipt.victim, draft.seen.world
    where = f"{victim.kind} {victim.namespace}/{victim.name}"
    if victim.kind != "Pod":
        return (kind.advice(receipt) if kind is not None else "") or f"look at {where} yourself"
    pod = pod_of(victim, world)
    if pod is not None and not alive(pod):
        return f"{where} has been asked to end, and does not"
    return f"{where} is evicted"


def _evict(draft: Draft, receipt: Receipt) -> None:
    """The last resort: a pod that is gone takes everything that was done to it along."""
    pod = pod_of(receipt.victim, draft.seen.world) if receipt.victim.kind == "Pod" else None
    if pod is not None and alive(pod):
        victim = receipt.victim
        draft.act(
            [
                RemovePod(
                    receipt=receipt.id,
                    namespace=victim.namespace,
                    name=victim.name,
                    uid=victim.uid,
                    evict=True,
                )
            ]
        )


def to_be_evicted(draft: Draft) -> list[str]:
    """The pods with a fault that could not be shown to be gone, while they are there; and why, if that is known."""
    found = []
    for one in draft.status.receipts:
        pod = pod_of(one.victim, draft.seen.world) if one.victim.kind == "Pod" else None
        if one.state == "Unverified" and pod is not None and alive(pod):
            why = f" ({one.message})" if one.message else ""
            found.append(f"Pod/{one.victim.name} is still to be evicted{why}")
    return found


def _refused(draft: Draft, receipt: Receipt, why: str) -> Receipt:
    draft.tell("FaultRefused", f"{receipt.id}: {why}", warning=True)
    return msgspec.structs.replace(receipt, state="Refused", message=why)


# --- what came of it ----------------------------------------------------------------------------------


def settled(
    before: ChaosRunStatus, after: ChaosRunStatus, troubles: tuple[Trouble, ...], now: datetime
) -> ChaosRunStatus:
    """The status to save when some of the actions were not carried out.

    A receipt whose injection failed stays Planned, and is tried again; whatever failed is in its message and, once,
    in the journal.
    """
    old = {one.id: one for one in before.receipts}
    new = {one.id: one for one in after.receipts}
    journal = after.journal
    message = after.message
    for trouble in troubles:
        known = old.get(trouble.action.receipt)
        what = "NotNow" if trouble.refused else "ActionFailed"
        journal = noted(journal, what, f"{trouble.action.receipt or 'the run'}: {trouble.message}", now)
        if known is None:
            message = trouble.message
            continue
        present = new[known.id]
        kept = known if known.state == "Planned" and present.state == "Injected" else present
        new[known.id] = msgspec.structs.replace(kept, message=trouble.message)
    return msgspec.structs.replace(after, receipts=tuple(new.values()), journal=journal, message=message)
