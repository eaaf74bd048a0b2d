"""Faults in Envoy proxies by one object of ours, which has a lease: made, renewed, silenced, shown to be without effect, deleted.

What the object is (`resource`, its spec, when it is silent) and whom it strikes is for those who inherit. Nobody's own
objects are touched.
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime, timedelta
from typing import Any

from chaos.actions import Action, Create, Delete, Patch
from chaos.faults import receipts
from chaos.faults.base import Context, Plain
from chaos.observed import Evidence, World
from rollout.api.chaos import EXPIRES_AT, SILENCED_AT, Receipt
from rollout.api.meta import Object, duration, metadata, timestamp
from rollout.api.resources import Resource

PATIENCE = timedelta(seconds=10)
"""How long the proxies may take to say that a silenced fault has ended, after which its lease alone is believed."""


class Leased(Plain):
    """The undo data of its receipts has the object's `name`, and either `delay` (seconds) or `status`."""

    resource: Resource

    @abstractmethod
    def spec(self, receipt: Receipt, *, silent: bool) -> dict[str, Any]:
        """The object's spec while the fault is active, or while it is being undone and strikes 0 %."""

    @abstractmethod
    def silent(self, made: Object) -> bool:
        """Whether the object strikes no request."""

    def inject(self, receipt: Receipt, context: Context, world: World) -> tuple[Action, ...]:
        if self._made(receipt, world) is not None or world.now >= receipts.deadline_of(receipt):
            return ()
        made = {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": receipts.made_for(receipt, context, world.now),
            "spec": self.spec(receipt, silent=False),
        }
        return (Create(receipt=receipt.id, resource=self.resource, object=made),)

    def renew(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        made = self._made(receipt, world)
        if made is None or self.silent(made):
            return ()
        until = receipts.lease_due(receipt, made, world.now)
        return (
            ()
            if until is None
            else (self._patch(receipt, {"metadata": {"annotations": {EXPIRES_AT: until}}}),)
        )

    def proof(self, receipt: Receipt, world: World) -> str:
        seen, delay = world.evidence.get(receipt.id), receipt.undo.get("delay")
        if seen is None or (seen.partial and receipt.proof):
            return receipt.proof
        status = receipt.undo.get("status")
        count, did = (seen.delayed, "delayed") if delay else (seen.aborted, f"answered {status} to")
        return f"Envoy {did} {count} requests of {_whose(receipt)}" if count else receipt.proof

    def revert(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        """Silence it, and delete it once `gone` is on record: what is deleted can no more be asked about."""
        made = self._made(receipt, world)
        if made is None:
            return ()
        ended = _inactive(receipt, world)
        if not self.silent(made) and not (ended and _expired(made, world.now)):
            said = {SILENCED_AT: timestamp(world.now)}
            return (
                self._patch(
                    receipt, {"spec": self.spec(receipt, silent=True), "metadata": {"annotations": said}}
                ),
            )
        if (ended and receipt.gone) or self._unheard(made, world.now):
            uid = metadata(made).get("uid") or ""
            name, namespace = _name(receipt), receipt.victim.namespace
            return (
                Delete(receipt=receipt.id, resource=self.resource, namespace=namespace, name=name, uid=uid),
            )
        return ()

    def begun(self, receipt: Receipt, world: World) -> bool:
        return self._made(receipt, world) is not None

    def ended(self, receipt: Receipt, world: World) -> str:
        made, seen = self._made(receipt, world), world.evidence.get(receipt.id)
        if made is None or seen is None or seen.active is not False:
            return ""
        over = self.silent(made) or _expired(made, world.now)
        return self._without_effect(receipt, seen) if over else ""

    def gone(self, receipt: Receipt, world: World) -> str:
        if not world.serves(self.resource) or self._made(receipt, world) is not None:
            return ""
        name, seen = self._shown(receipt), world.evidence.get(receipt.id) or Evidence()
        if receipt.gone or seen.active is False:
            return f"{receipt.gone or self._without_effect(receipt, seen)}; it is deleted"
        over = seen.expired or world.now >= receipts.deadline_of(receipt) + PATIENCE
        if seen.active is None and not seen.settling and over:
            return f"{name} is deleted and its lease is over; the proxies could not be asked whether it has ended"
        return ""

    def advice(self, receipt: Receipt) -> str:
        command = (
            f"kubectl delete {self.resource.kind.lower()} {_name(receipt)} -n {receipt.victim.namespace}"
        )
        return f"see that {self._shown(receipt)} is away: {command}"

    def _made(self, receipt: Receipt, world: World) -> Object | None:
        """The receipt's own object, while it is there."""
        found = world.get(self.resource, receipt.victim.namespace, _name(receipt))
        return found if receipts.made_by(receipt, found) else None

    def _patch(self, receipt: Receipt, patch: dict[str, object]) -> Patch:
        return Patch(
            receipt=receipt.id,
            resource=self.resource,
            namespace=receipt.victim.namespace,
            name=_name(receipt),
            patch=patch,
        )

    def _unheard(self, made: Object, now: datetime) -> bool:
        """Whether it is silent, its lease is over, and nobody has told of its end for PATIENCE."""
        over = receipts.over_since(made)
        return self.silent(made) and over is not None and now >= over + PATIENCE

    def _shown(self, receipt: Receipt) -> str:
        return f"{self.resource.kind} {_name(receipt)}"

    def _without_effect(self, receipt: Receipt, seen: Evidence) -> str:
        return f"{self._shown(receipt)} has no effect any more: {seen.how}"


def delay_of(text: str) -> float:
    """How long requests shall wait, in seconds. ValueError when that is no sensible time."""
    seconds = duration(text)
    if not 0.001 <= seconds <= 3600:
        raise ValueError(f"delay must be between 1ms and 1h, not {text!r}")
    return seconds


def check(percent: int, status: int) -> None:
    """ValueError when that share of the requests, or that answer (0 = none), is none."""
    if not 1 <= percent <= 100:
        raise ValueError(f"percent must be 1..100 of the requests, not {percent}")
    if status and not 200 <= status < 600:
        raise ValueError(f"status must be 200..599, not {status}")


def _name(receipt: Receipt) -> str:
    return str(receipt.undo["name"])


def _inactive(receipt: Receipt, world: World) -> bool:
    seen = world.evidence.get(receipt.id)
    return seen is not None and seen.active is False


def _expired(made: Object, now: datetime) -> bool:
    ends = receipts.expires_at(made)
    return ends is not None and now >= ends


def _whose(receipt: Receipt) -> str:
    return f"{receipt.victim.kind} {receipt.victim.name}"
