"""`plan`: from a snapshot of one Rollout to everything that should be done about it now.

It is a pure function. Applied to its own outcome it comes to rest: at the end of a release the plan is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from rollout.api.meta import timestamp
from rollout.api.rollout import Condition, RolloutStatus
from rollout.core import conditions
from rollout.core.actions import (
    Action,
    CreateReplicaSet,
    Event,
    PatchReplicaSet,
    PatchRoute,
    PointService,
    RetireRun,
    StartRun,
)
from rollout.core.desired import Desired
from rollout.core.observed import Observed
from rollout.core.problem import Problem
from rollout.errors import InvalidSpec, InvariantBroken
from rollout.plan import runs
from rollout.plan.decide import Choice, decide
from rollout.plan.decisions import Outcome, in_spite_of, outcome_of, refusal
from rollout.plan.diff import diff
from rollout.plan.draft import Draft
from rollout.plan.housekeeping import chores
from rollout.plan.references import problems as reference_problems
from rollout.plan.references import router_for
from rollout.plan.safety import check
from rollout.plan.sets import revision_marks, stable_marks
from rollout.plan.status import BROKEN, phase_of
from rollout.traffic.base import Live, Router
from rollout.traffic.services import selected_hash

INVALID_RETRY_SECONDS = 20
BROKEN_RETRY_SECONDS = 60


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do: actions in order, then the status, then the events; and when to look again at the latest.

    `again` asks for another look at once: the status holds a decision (abort, promotion) that comes before
    its acts. `hold` says in words why the release does not move, "" when it does. `broken` names the safety rules
    that the decision would have broken: a defect of ours, "" otherwise. `outcome` is what may have to be recorded
    before any of it is done; None at rest.
    """

    status: RolloutStatus
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    wake_at: datetime | None = None
    again: bool = False
    hold: str = ""
    problems: tuple[Problem, ...] = ()
    broken: str = ""
    outcome: Outcome | None = None


def plan(seen: Observed, spec_problems: Sequence[Problem] = ()) -> Plan:
    """The plan for one Rollout. `spec_problems` are what `core.validate` says of its spec.

    When the decision would break a safety rule, nothing of it is done: `broken` says which.
    """
    found = tuple(spec_problems) or tuple(reference_problems(seen))
    if found:
        return _invalid(seen, found)
    try:
        return _valid(seen)
    except InvalidSpec as error:
        return _invalid(seen, tuple(Problem("", sentence) for sentence in error.problems))
    except InvariantBroken as error:
        return _broken(seen, str(error))


def plan_abort(seen: Observed, problems: Sequence[Problem]) -> Plan:
    """The plan for a Rollout that a person has aborted although its spec is invalid.

    `seen` is without the gates that cannot be read (`references.without_gates`): going home needs none. What is
    wrong is said all the same.
    """
    rollout, router = seen.rollout, router_for(seen.rollout)
    if seen.sets.hash != rollout.status.current_pod_hash or (router is not None and router.problems(seen)):
        return _invalid(seen, tuple(problems))
    try:
        decision = _valid(seen, gateless=True)
    except InvariantBroken as error:
        return _broken(seen, str(error))
    before = conditions.find(rollout.status.conditions, "InvalidSpec")
    kept = (*decision.status.conditions, *([before] if before is not None else []))
    status = msgspec.structs.replace(decision.status, conditions=kept)
    after = msgspec.structs.replace(seen, rollout=msgspec.structs.replace(rollout, status=status))
    told = _invalid(after, tuple(problems))
    return msgspec.structs.replace(
        told,
        actions=decision.actions,
        events=(*decision.events, *told.events),
        wake_at=min(moment for moment in (decision.wake_at, told.wake_at) if moment is not None),
        again=decision.again,
        hold=decision.hold,
        outcome=in_spite_of(told.outcome.refused, decision.outcome) if told.outcome is not None else None,
    )


def _valid(seen: Observed, *, gateless: bool = False) -> Plan:
    router = router_for(seen.rollout)
    live = router.live(seen) if router is not None else None
    choice = decide(seen, live, gateless=gateless)
    if choice.desired is None:
        made = _saving(seen, choice)
    else:
        made = _acting(seen, choice.draft, choice.desired, router, live)
    waits = router.waits(seen) if router is not None and live is not None and not live.settled else ""
    if waits:
        message = "; ".join(filter(None, (made.status.message, waits)))
        made = msgspec.structs.replace(made, status=msgspec.structs.replace(made.status, message=message))
    return msgspec.structs.replace(made, outcome=outcome_of(seen, choice))


def _saving(seen: Observed, choice: Choice) -> Plan:
    """Save what was decided, and look again. A new attempt first puts away the evidence of the one before it."""
    draft = choice.draft
    over = [run for name in choice.over if (run := seen.run(name)) is not None]
    retired = tuple(RetireRun(name=run.metadata.name, terminate=not run.completed) for run in over)
    return Plan(status=draft.status, actions=retired, events=tuple(draft.events), again=True, hold=draft.hold)


def _acting(seen: Observed, draft: Draft, desired: Desired, router: Router | None, live: Live | None) -> Plan:
    start = tuple(runs.build(seen, role, analysis) for role, analysis in draft.start)
    desired = msgspec.structs.replace(desired, start=start, chores=chores(seen, draft, live))
    # The mark of the stable set comes last: folded into a patch of the set, it does not move that one forward.
    actions = _merged((*revision_marks(seen), *diff(desired, seen, router, live), *stable_marks(seen)))
    check(seen, actions, live)
    told = tuple(event for action in actions for event in _events(seen, action, live))
    return Plan(
        status=draft.status,
        actions=actions,
        events=tuple(sorted((*draft.events, *told), key=_order)),
        wake_at=draft.wake_at,
        hold=draft.hold,
    )


_FIRST = ("RolloutAddedToInformer", "RolloutUpdated", "RolloutRetry", "SkipSteps")
_LAST = ("RolloutStepCompleted", "RolloutCompleted", "RolloutPaused")


def _order(event: Event) -> int:
    """The place of an event among those of one pass (study/argo-rollouts.md 2.6: their order is a contract)."""
    match event.reason:
        case reason if reason in _FIRST:
            return 0
        case "NewReplicaSetCreated":
            return 1
        case "RolloutNotCompleted":
            return 2
        case reason if reason in _LAST:
            return 4
    return 3


def _invalid(seen: Observed, problems: tuple[Problem, ...]) -> Plan:
    """Say what is wrong, touch nothing, look again soon: what is missing may appear."""
    sentences = "; ".join(map(str, problems))
    message = f'The Rollout "{seen.rollout.metadata.name}" is invalid: {sentences}'
    told = _complaint(seen, "InvalidSpec", message, INVALID_RETRY_SECONDS)
    return msgspec.structs.replace(told, problems=problems)


def _broken(seen: Observed, rules: str) -> Plan:
    """Say which safety rule our own decision would break, touch nothing, and decide again after a while."""
    message = f"Refused to act, for it would break a safety rule (a defect of the controller): {rules}"
    told = _complaint(seen, BROKEN, message, BROKEN_RETRY_SECONDS)
    return msgspec.structs.replace(told, broken=rules)


def _complaint(seen: Observed, type: str, message: str, seconds: float) -> Plan:
    """A condition of this type, and one warning for as long as the message stays the same."""
    now = timestamp(seen.now)
    condition = Condition(
        type=type,
        status="True",
        reason=type,
        message=message,
        last_update_time=now,
        last_transition_time=now,
    )
    before = seen.rollout.status
    status = msgspec.structs.replace(
        before,
        observed_generation=str(seen.rollout.metadata.generation),
        conditions=conditions.put(before.conditions, condition),
    )
    phase, text = phase_of(seen, status)
    told = conditions.find(before.conditions, type)
    is_new = told is None or told.message != message
    return Plan(
        status=msgspec.structs.replace(status, phase=phase, message=text),
        events=(Event(type, message, warning=True),) if is_new else (),
        wake_at=seen.now + timedelta(seconds=seconds),
        outcome=refusal(seen, f"{type}: {message}"),
    )


def _merged(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """One write per ReplicaSet: a later patch of the same set is folded into the first.

    The second would fail anyway: the first one changes the resourceVersion that both were computed from.
    """
    result: list[Action] = []
    place: dict[str, int] = {}
    for action in actions:
        if not isinstance(action, PatchReplicaSet):
            result.append(action)
            continue
        if action.name not in place:
            place[action.name] = len(result)
            result.append(action)
            continue
        first = result[place[action.name]]
        assert isinstance(first, PatchReplicaSet)
        result[place[action.name]] = msgspec.structs.replace(
            first,
            replicas=first.replicas if action.replicas is None else action.replicas,
            annotations={**(first.annotations or {}), **(action.annotations or {})} or None,
        )
    return tuple(result)


def _events(seen: Observed, action: Action, live: Live | None) -> tuple[Event, ...]:
    """What people are told of an action."""
    revision = seen.sets.revision
    match action:
        case CreateReplicaSet(object=obj):
            name, replicas = obj["metadata"]["name"], obj["spec"]["replicas"]
            created = Event("NewReplicaSetCreated", f"Created ReplicaSet {name} (revision {revision})")
            if not replicas:
                return (created,)
            return (created, Event("ScalingReplicaSet", _scaled(name, revision, 0, replicas)))
        case PatchReplicaSet(name=name, replicas=int(replicas)):
            one = next(one for one in seen.replica_sets if one.metadata.name == name)
            number = one.metadata.annotation("rollout.argoproj.io/revision")
            return (Event("ScalingReplicaSet", _scaled(name, number, one.spec.replicas, replicas)),)
        case PointService(name=name, hash=pod_hash):
            old = selected_hash(seen, name)
            return (
                Event(
                    "SwitchService", f"Switched selector for service '{name}' from '{old}' to '{pod_hash}'"
                ),
            )
        case PatchRoute(weight=int(weight)):
            before = live.high if live is not None else 0
            return (Event("TrafficWeightUpdated", f"Traffic weight updated from {before} to {weight}"),)
        case PatchRoute(name=name, binds=(canary_hash, stable_hash)):
            return (
                Event(
                    "UpdatedDestinationRule",
                    f"{action.resource.kind} {name} subsets updated: canary {canary_hash}, stable {stable_hash}",
                ),
            )
        case StartRun(object=obj):
            return (Event("AnalysisRunStarted", f"Started AnalysisRun {obj['metadata']['name']}"),)
    return ()


def _scaled(name: str, revision: object, old: int, new: int) -> str:
    return (
        f"Scaled {'up' if new > old else 'down'} ReplicaSet {name} (revision {revision}) from {old} to {new}"
    )
