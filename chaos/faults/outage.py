"""dependencyOutage: by the mesh or by a NetworkPolicy, as the fault's `method` says. A receipt knows which it was."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.actions import Action
from chaos.faults.base import Context, Kind, Obstacle, Refusal
from chaos.observed import World
from rollout.api.chaos import ChaosRun, Fault, Receipt, Victim


class Outage:
    def __init__(self, mesh: Kind, policy: Kind) -> None:
        self._mesh = mesh
        self._policy = policy

    def victims(self, context: Context, pods: Sequence[Victim], world: World) -> Sequence[Victim]:
        return self._meant(context.fault).victims(context, pods, world)

    def receipt(self, context: Context, victim: Victim, world: World) -> Receipt | Refusal:
        return self._meant(context.fault).receipt(context, victim, world)

    def inject(self, receipt: Receipt, context: Context, world: World) -> tuple[Action, ...]:
        return self._made(receipt).inject(receipt, context, world)

    def renew(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        return self._made(receipt).renew(receipt, world)

    def proof(self, receipt: Receipt, world: World) -> str:
        return self._made(receipt).proof(receipt, world)

    def revert(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        return self._made(receipt).revert(receipt, world)

    def begun(self, receipt: Receipt, world: World) -> bool:
        return self._made(receipt).begun(receipt, world)

    def ended(self, receipt: Receipt, world: World) -> str:
        return self._made(receipt).ended(receipt, world)

    def gone(self, receipt: Receipt, world: World) -> str:
        return self._made(receipt).gone(receipt, world)

    def said(self, receipt: Receipt, world: World) -> str:
        return self._made(receipt).said(receipt, world)

    def advice(self, receipt: Receipt) -> str:
        return self._made(receipt).advice(receipt)

    def obstacles(self, fault: Fault, run: ChaosRun, world: World) -> tuple[Obstacle, ...]:
        return self._meant(fault).obstacles(fault, run, world)

    def _meant(self, fault: Fault) -> Kind:
        how = fault.dependency_outage
        return self._policy if how is not None and how.method == "networkPolicy" else self._mesh

    def _made(self, receipt: Receipt) -> Kind:
        return self._policy if "addresses" in receipt.undo else self._mesh
