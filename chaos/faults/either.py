"""A kind of fault that can be done in two ways, as the fault asks for it. A receipt knows which it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chaos.actions import Action
from chaos.faults.base import Context, Kind, Obstacle, Refusal
from chaos.observed import World
from rollout.api.chaos import ChaosRun, Fault, Receipt, Victim


class Either:
    """`first`, or `second` where the fault `asks` for it: then `mark` is a field of the receipt's undo data."""

    def __init__(self, first: Kind, second: Kind, *, asks: Callable[[Fault], bool], mark: str) -> None:
        self._first = first
        self._second = second
        self._asks = asks
        self._mark = mark

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
        return self._second if self._asks(fault) else self._first

    def _made(self, receipt: Receipt) -> Kind:
        return self._second if self._mark in receipt.undo else self._first
