"""What a kind of fault is: plan -> receipt, inject, prove, revert, prove gone. All pure.

The life of a receipt (`rollout.api.chaos.ReceiptState`), driven by `chaos.plan` and saved before each act:
Planned (intent, deadline and undo data are in the status) -> Injected (the actions were carried out) -> Proved (the
world shows that it happened) -> Reverted (the world shows that it is gone); Unverified when that could not be shown
within the run's revertTimeout (its pod is evicted then); Refused when a budget, a lock or the world forbade it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from chaos.actions import Action
from chaos.observed import World
from rollout.api.chaos import ChaosRun, Fault, Receipt, Victim

LEASE_SECONDS = 20.0
"""How long the effect of a mesh or network fault outlives a controller that has stopped renewing it."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What the receipts of one fault are made for. `begin_at` and `deadline` are absolute."""

    run: ChaosRun
    fault: Fault
    step: int
    round: int
    begin_at: datetime
    deadline: datetime
    seed: int


class Obstacle(msgspec.Struct, frozen=True):
    """Why a fault cannot be done in this cluster, and what to use instead. Said before any damage."""

    fault: str
    reason: str
    instead: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """A fault that must not be done to a victim now."""

    reason: str


class Kind(Protocol):
    """One kind of fault. Stateless; found by its field's name in `chaos.faults.kinds`."""

    def victims(self, context: Context, pods: Sequence[Victim], world: World) -> Sequence[Victim]:
        """Whom the receipts are about: the chosen pods, or what stands for all of them (one EnvoyFilter's workload)."""
        ...

    def receipt(self, context: Context, victim: Victim, world: World) -> Receipt | Refusal:
        """The receipt to save before the act, with everything that undoing needs in `undo`."""
        ...

    def inject(self, receipt: Receipt, context: Context, world: World) -> tuple[Action, ...]:
        """The act. Idempotent: done twice it is done once."""
        ...

    def renew(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        """Extend the lease of an active fault, when it is due (never beyond its deadline)."""
        ...

    def proof(self, receipt: Receipt, world: World) -> str:
        """How the world shows that it happened; "" while it does not. The receipt's own data are the baseline.

        Asked again when the fault is gone, for the final numbers: then it says no less than the receipt's proof.
        """
        ...

    def revert(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        """What undoes it; () when there is nothing left to undo. Must work from the receipt alone."""
        ...

    def begun(self, receipt: Receipt, world: World) -> bool:
        """Whether something of it is there, so that a receipt which is only Planned was acted upon all the same."""
        ...

    def ended(self, receipt: Receipt, world: World) -> str:
        """How the world shows that it has no effect any more, while something of it is still there; "" otherwise.

        For a fault that nobody can be asked about once its last trace is removed: `revert` does that only when this
        was saved as the receipt's `gone`.
        """
        ...

    def gone(self, receipt: Receipt, world: World) -> str:
        """How the world shows that it is no more; "" while it does not. For a pod-delete: its uid has gone."""
        ...

    def said(self, receipt: Receipt, world: World) -> str:
        """What whoever carries it out says about it that a person should know, while it is not proved or not gone."""
        ...

    def advice(self, receipt: Receipt) -> str:
        """What a person can do about a fault that could not be shown to be gone; "" where the pod is evicted."""
        ...

    def obstacles(self, fault: Fault, run: ChaosRun, world: World) -> tuple[Obstacle, ...]:
        """The preflight: everything that would stand in the way in this cluster."""
        ...


class Plain:
    """For kinds whose faults have no lease, no carrier and leave no trace: what they need not say."""

    def renew(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        return ()

    def begun(self, receipt: Receipt, world: World) -> bool:
        return False

    def ended(self, receipt: Receipt, world: World) -> str:
        return ""

    def said(self, receipt: Receipt, world: World) -> str:
        return ""

    def advice(self, receipt: Receipt) -> str:
        return ""


Kinds = Mapping[str, Kind]
