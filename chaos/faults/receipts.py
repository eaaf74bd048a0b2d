"""Receipts and what is made for them: computed names, labels, owner, and the lease that ends an effect by itself.

Everything here is a function of the run, the fault and the victim, so that a controller which starts again after a
crash makes the same names and finds what it made before.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from chaos.faults.base import LEASE_SECONDS, Context
from rollout.api.chaos import (
    EXPIRES_AT,
    FAULT_KINDS,
    RECEIPT,
    RUN_LABEL,
    RUN_UID,
    SILENCED_AT,
    ChaosRun,
    Fault,
    Receipt,
    Target,
    Victim,
)
from rollout.api.meta import Object, metadata, time_of, timestamp
from rollout.api.resources import CHAOS_RUNS

LABEL_LENGTH = 63


def kind_of(fault: Fault) -> str:
    """The one kind that the fault names ("podDelete"). ValueError when it names none, or more than one."""
    named = [kind for kind in FAULT_KINDS if getattr(fault, _field(kind)) is not None]
    if len(named) != 1:
        said = " and ".join(named) or "none"
        raise ValueError(
            f"fault {fault.name!r} must name exactly one kind of {', '.join(FAULT_KINDS)}; it names {said}"
        )
    return named[0]


def target_of(fault: Fault, run: ChaosRun) -> Target:
    return fault.target or run.spec.target


def receipt_id(context: Context, victim: Victim) -> str:
    """Of one fault on one victim in one round; unique over all runs of the cluster."""
    whom = victim.uid or f"{victim.kind}/{victim.namespace}/{victim.name}"
    run = context.run.metadata
    source = f"{run.uid or run.key}|{context.step}|{context.fault.name}|{context.round}|{whom}"
    return f"{context.fault.name}-{context.step}-{context.round}-{_digest(source)}"


def receipt(context: Context, victim: Victim, undo: dict[str, Any]) -> Receipt:
    """A planned receipt. `undo` is all that reverting will know, beside the victim and the deadline."""
    return Receipt(
        id=receipt_id(context, victim),
        fault=context.fault.name,
        kind=kind_of(context.fault),
        step=context.step,
        round=context.round,
        victim=victim,
        begin_at=timestamp(context.begin_at),
        deadline=timestamp(context.deadline),
        undo=undo,
    )


def object_name(id: str, suffix: str = "") -> str:
    """The name of what is made for a receipt: a valid name of any object and of a container."""
    return f"surefoot-{_digest(id)}{'-' if suffix else ''}{suffix}"


def made_for(receipt: Receipt, context: Context, now: datetime) -> dict[str, Any]:
    """The metadata of an object that a fault makes beside its victims, with a first lease.

    The run owns it where it may: an owner in another namespace would count as gone, and the object be collected.
    """
    run = context.run.metadata
    namespace = receipt.victim.namespace
    meta: dict[str, Any] = {
        "name": object_name(receipt.id),
        "namespace": namespace,
        "labels": {RUN_LABEL: label_value(run.name), RUN_UID: run.uid},
        "annotations": {RECEIPT: receipt.id, EXPIRES_AT: timestamp(lease_end(receipt, now))},
    }
    if run.namespace == namespace:
        owner = {
            "apiVersion": CHAOS_RUNS.api_version,
            "kind": CHAOS_RUNS.kind,
            "name": run.name,
            "uid": run.uid,
            "controller": True,
        }
        meta["ownerReferences"] = [owner]
    return meta


def label_value(name: str) -> str:
    """A name as a label may hold it: cut and made unique again where it is too long."""
    return name if len(name) <= LABEL_LENGTH else f"{name[: LABEL_LENGTH - 11].rstrip('.-_')}-{_digest(name)}"


def deadline_of(receipt: Receipt) -> datetime:
    """The receipt's absolute deadline. ValueError when it has none: such a receipt is never injected."""
    moment = time_of(receipt.deadline)
    if moment is None:
        raise ValueError(f"receipt {receipt.id} has no deadline")
    return moment


def lease_end(receipt: Receipt, now: datetime) -> datetime:
    """Until when an effect may last that is begun or renewed now."""
    return min(now + timedelta(seconds=LEASE_SECONDS), deadline_of(receipt))


def lease_due(receipt: Receipt, obj: Object, now: datetime) -> str | None:
    """The new end of the object's lease when less than half of it is left; None while it need not be renewed."""
    ends, wanted = expires_at(obj), lease_end(receipt, now)
    if ends is not None and (ends - now).total_seconds() >= LEASE_SECONDS / 2:
        return None
    text = timestamp(wanted)
    return text if ends is None or timestamp(ends) < text else None


def expires_at(obj: Object) -> datetime | None:
    """When the object's lease ends; None when it has none that can be read."""
    return _annotated(obj, EXPIRES_AT)


def over_since(obj: Object) -> datetime | None:
    """From when nobody has any business with the object: its lease over, and silenced if that was later."""
    ends, since = expires_at(obj), silenced(obj)
    return max(ends, since) if ends is not None and since is not None else ends


def silenced(obj: Object) -> datetime | None:
    """Since when it strikes nobody because somebody is undoing it; None while nobody is."""
    return _annotated(obj, SILENCED_AT)


def _annotated(obj: Object, name: str) -> datetime | None:
    try:
        return time_of((metadata(obj).get("annotations") or {}).get(name))
    except ValueError:
        return None


def made_by(receipt: Receipt, obj: Object | None) -> bool:
    """Whether the object is the one made for this receipt."""
    return obj is not None and (metadata(obj).get("annotations") or {}).get(RECEIPT) == receipt.id


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _field(kind: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in kind)


def fault_named(run: ChaosRun, name: str) -> Fault | None:
    """The run's fault of this name."""
    return next((fault for step in run.spec.steps for fault in step.faults if fault.name == name), None)
