"""Kinds of faults whose defects cannot hold a run up.

What fails counts as not done, not proved and not gone: so nothing new is begun, and what was begun is given up in the
end, evicted and said loudly, instead of hanging for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from chaos.actions import Action
from chaos.faults.base import Context, Kind, Kinds, Obstacle, Refusal
from chaos.observed import World
from rollout.api.chaos import ChaosRun, Fault, Receipt, Victim

T = TypeVar("T")
OnDefect = Callable[[str, Exception], None]


def guarded(kinds: Kinds, on_defect: OnDefect) -> Kinds:
    """The same kinds; `on_defect` is told which of them failed, and how."""
    return {name: _Guarded(name, kind, on_defect) for name, kind in kinds.items()}


class _Guarded:
    def __init__(self, name: str, kind: Kind, on_defect: OnDefect) -> None:
        self._name = name
        self._kind = kind
        self._on_defect = on_defect

    def victims(self, context: Context, pods: Sequence[Victim], world: World) -> Sequence[Victim]:
        return self._try(lambda: self._kind.victims(context, pods, world), lambda _: pods)

    def receipt(self, context: Context, victim: Victim, world: World) -> Receipt | Refusal:
        return self._try(
            lambda: self._kind.receipt(context, victim, world), lambda error: Refusal(self._said(error))
        )

    def inject(self, receipt: Receipt, context: Context, world: World) -> tuple[Action, ...]:
        return self._try(lambda: self._kind.inject(receipt, context, world), lambda _: ())

    def renew(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        return self._try(lambda: self._kind.renew(receipt, world), lambda _: ())

    def proof(self, receipt: Receipt, world: World) -> str:
        return self._try(lambda: self._kind.proof(receipt, world), lambda _: "")

    def revert(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        return self._try(lambda: self._kind.revert(receipt, world), lambda _: ())

    def begun(self, receipt: Receipt, world: World) -> bool:
        return self._try(lambda: self._kind.begun(receipt, world), lambda _: True)

    def ended(self, receipt: Receipt, world: World) -> str:
        return self._try(lambda: self._kind.ended(receipt, world), lambda _: "")

    def gone(self, receipt: Receipt, world: World) -> str:
        return self._try(lambda: self._kind.gone(receipt, world), lambda _: "")

    def said(self, receipt: Receipt, world: World) -> str:
        return self._try(lambda: self._kind.said(receipt, world), self._said)

    def advice(self, receipt: Receipt) -> str:
        return self._try(lambda: self._kind.advice(receipt), self._said)

    def obstacles(self, fault: Fault, run: ChaosRun, world: World) -> tuple[Obstacle, ...]:
        return self._try(
            lambda: self._kind.obstacles(fault, run, world),
            lambda error: (Obstacle(fault.name, self._said(error)),),
        )

    def _try(self, ask: Callable[[], T], instead: Callable[[Exception], T]) -> T:
        try:
            return ask()
        except Exception as error:  # noqa: BLE001 - one kind's defect must never keep another fault in the world
            self._on_defect(self._name, error)
            return instead(error)

    def _said(self, error: Exception) -> str:
        return f"a defect of {self._name}: {type(error).__name__}: {error}"
