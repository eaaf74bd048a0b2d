"""Views of a DecisionRecord (surefoot.dev/v1alpha1): what was decided for one Rollout, and from which inputs.

One object per Rollout, of its name and owned by it. Why it is an object of its own, how it is bounded and what
"once" means: docs/decisions/005-decision-record.md.
"""

from __future__ import annotations

from typing import Any, Literal

from rollout.api.analysis import Phase
from rollout.api.meta import ObjectMeta, View
from rollout.api.rollout import RolloutStatus

Kind = Literal["begin", "advance", "hold", "resume", "switch", "promote", "abort", "retry"]


class Stance(View, frozen=True):
    """Where a release stands. A decision is a change of it.

    `hash` is the wanted revision's pod-template hash, `steps` the hash of its canary steps, `stable` the proved
    revision's hash, `active` what a blue/green active Service is meant to select. `step` is the index of the
    present step, None without steps and while aborted. `hold` says why the release waits, "" when it does not.
    """

    hash: str = ""
    steps: str = ""
    step: int | None = None
    stable: str = ""
    active: str = ""
    aborted: bool = False
    hold: str = ""


class Traffic(View, frozen=True):
    """What the router says of its live objects (`rollout.traffic.base.Live`)."""

    low: int = 0
    high: int = 0
    canary_hash: str = ""
    stable_hash: str = ""
    settled: bool = True


class SetSeen(View, frozen=True):
    """A ReplicaSet: its pod-template hash, pods that are wanted, there, ready and available; whether its controller
    has acted on its latest spec (`settled`); when it was made, and its scale-down deadline."""

    name: str
    hash: str = ""
    wanted: int = 0
    pods: int = 0
    ready: int = 0
    available: int = 0
    settled: bool = True
    created: str = ""
    deadline: str = ""
    proved: bool = False
    """Whether its version has been the stable one."""


class RunSeen(View, frozen=True):
    """An AnalysisRun as a gate: its verdict, whether it was told to end, and (while it runs) whether every metric
    that counts was measured and good at last."""

    name: str
    phase: Phase = ""
    message: str = ""
    terminate: bool = False
    measured: bool = False


class Inputs(View, frozen=True):
    """What a decision was made from, beside the spec and the time: the fields that deciding reads, no others.

    `hash`, `collision_count` and `revision` are the wanted revision's; `new` and `stable` name its ReplicaSet and
    the stable one among `sets`. `services` maps each Service to the hash it selects. `refused` says why nothing was
    decided, "" when something was; with `gateless` an abort went on all the same.
    """

    status: RolloutStatus = RolloutStatus()
    hash: str = ""
    collision_count: int | None = None
    revision: int = 0
    new: str = ""
    stable: str = ""
    sets: tuple[SetSeen, ...] = ()
    runs: tuple[RunSeen, ...] = ()
    services: dict[str, str] = {}
    traffic: Traffic | None = None
    refused: str = ""
    gateless: bool = False


class Decision(View, frozen=True):
    """One decision: from which stance to which, and why in words."""

    kind: Kind
    because: str = ""
    before: Stance = Stance()
    after: Stance = Stance()


class Entry(Decision, frozen=True, kw_only=True):
    """A decision as it is kept: `at` (RFC 3339 with microseconds), the revision and generation it is about, the
    key of its `spec` in the record, and its `inputs` (`Inputs` as the text of a JSON object).

    Text, because an API server walks through every field of an object several times at each write of it, and through
    a text not at all.
    """

    at: str
    revision: int = 0
    generation: int = 0
    spec: str = ""
    inputs: str = ""


class DecisionRecord(View, frozen=True):
    """`decisions` by number (zero-padded, so that their order is that of their names); `specs` are the Rollout
    specs, without pod template, that decisions name."""

    metadata: ObjectMeta = ObjectMeta()
    decisions: dict[str, Entry] = {}
    specs: dict[str, Any] = {}

    def in_order(self) -> list[tuple[str, Entry]]:
        """(number, entry), oldest first."""
        return sorted(self.decisions.items())
