"""Which messages are due: from what has happened, who wants to be told, and what was told already. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from rollout.api.meta import metadata
from rollout.core import expr
from rollout.notify import evidence
from rollout.notify.config import Condition, Config
from rollout.notify.occurrences import CLOSES, REASONS, Object, Occurrence, trigger_of
from rollout.notify.services import TYPES
from rollout.notify.subscriptions import Destination, problems_of, subscribed

HORIZON = timedelta(hours=24)
"""What happened longer ago is not told any more, and need not be remembered."""
_BUILT_IN = frozenset(map(trigger_of, REASONS))


class Seen(msgspec.Struct, frozen=True):
    """An object that something has happened to, and what belongs to it.

    `owner` is the Rollout of an AnalysisRun or the ChaosSchedule of a ChaosRun; `runs` the AnalysisRuns of the
    Rollout (of `object` or of `owner`).
    """

    object: Object
    owner: Object | None = None
    runs: tuple[Object, ...] = ()

    @property
    def root(self) -> Object:
        return self.owner if self.owner is not None else self.object

    @property
    def uid(self) -> str:
        return str(metadata(self.object).get("uid") or "")


class Due(msgspec.Struct, frozen=True):
    """One message to send. `key` is the same whenever it is decided: it is what the record remembers."""

    key: str
    occurrence: Occurrence
    at: datetime
    trigger: str
    templates: tuple[str, ...]
    destination: Destination


class Decided(msgspec.Struct, frozen=True):
    """The messages, oldest first, and what of the subscriptions could not be followed, as sentences."""

    messages: tuple[Due, ...] = ()
    problems: tuple[str, ...] = ()


def due(
    happened: Iterable[Occurrence],
    seen: Seen,
    config: Config,
    now: datetime,
    *,
    told: Container[str] = (),
    since: datetime | None = None,
) -> Decided:
    """What is to be sent about `happened`. Nothing from before `since`, or older than HORIZON."""
    first = now - HORIZON if since is None else max(since.replace(microsecond=0), now - HORIZON)
    fresh = [(one, one.at or now) for one in happened if (one.at or now) >= first]
    if not fresh:
        return Decided()
    objects = [seen.object] if seen.owner is None else [seen.object, seen.owner]
    wanted = subscribed(objects, config.subscriptions, config.defaults_of, config.services)
    if not wanted:
        return Decided()
    problems = problems_of(wanted, config.triggers, config.services)
    found: dict[str, Due] = {}
    for one, at in fresh:
        for trigger, destinations in _fired(one, wanted, config).items():
            for index, condition in enumerate(config.triggers.get(trigger, ())):
                identity, problem = _identity(one, f"{trigger}[{index}]", condition, seen, config)
                if problem:
                    problems.append(f"trigger {trigger}: {problem}")
                if identity is None:
                    continue
                for destination in sorted(destinations):
                    if destination.service not in config.services:
                        continue
                    key = key_of(seen.uid, identity, str(destination))
                    if key not in told and key not in found:
                        found[key] = Due(key, one, at, trigger, condition.send, destination)
    return Decided(tuple(sorted(found.values(), key=lambda one: one.at)), tuple(dict.fromkeys(problems)))


def _fired(
    one: Occurrence, wanted: Mapping[str, set[Destination]], config: Config
) -> dict[str, set[Destination]]:
    """The triggers that an occurrence fires: the one of its name, and all that are of the users' own making."""
    found = {
        trigger: set(destinations)
        for trigger, destinations in wanted.items()
        if trigger == one.trigger or trigger not in _BUILT_IN
    }
    if one.incident == CLOSES:
        # Who was told of the trouble is told of its end, where it is something that stays open.
        for destination in {one for destinations in wanted.values() for one in destinations}:
            service = config.services.get(destination.service)
            if service is not None and TYPES[service.type].incidents:
                found.setdefault(one.trigger, set()).add(destination)
    return found


def _identity(
    one: Occurrence, own: str, condition: Condition, seen: Seen, config: Config
) -> tuple[str | None, str]:
    """What a message of a trigger's condition (`own`) is sent once for, None when it does not hold; and what is wrong.

    A trigger of the users' own is sent once per generation of the spec, unless it says `oncePer`.
    """
    named = own.startswith(f"{one.trigger}[")
    plain = f"{own}:{one.id}" if named else f"{own}:generation:{_generation(seen)}"
    if not condition.when and not condition.once_per:
        return plain, ""
    sources = [source for source in (condition.when, condition.once_per) if source]
    names = frozenset().union(*(expr.compile(source).names for source in sources))
    if names & frozenset(_NAMES.values()) - _objects(seen).keys():
        return None, ""  # it is about objects of another kind
    values = variables(seen, one, config, evidence_of(seen, config) if "evidence" in names else ())
    try:
        if condition.when and not expr.compile(condition.when).evaluate_bool(values):
            return None, ""
        if condition.once_per:
            return f"{own}:once:{expr.compile(condition.once_per).evaluate(values)!r}", ""
    except expr.ExprError as error:
        return None, error.sentence
    return plain, ""


def _generation(seen: Seen) -> str:
    return str(metadata(seen.object).get("generation") or "")


def key_of(*parts: str) -> str:
    """A short name for a message, the same for the same parts; fit for a ConfigMap's key."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


# --- what conditions and templates see ----------------------------------------------------------------

_NAMES = {
    "Rollout": "rollout",
    "AnalysisRun": "analysisRun",
    "ChaosRun": "chaosRun",
    "ChaosSchedule": "chaosSchedule",
    "ChaosSwitch": "chaosSwitch",
}


def variables(
    seen: Seen,
    occurrence: Occurrence,
    config: Config,
    proof: Iterable[evidence.Evidence],
    *,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The names in conditions and templates. What there is not is nil. `proof` is `evidence_of(seen, config)`."""
    values: dict[str, Any] = dict.fromkeys(_NAMES.values()) | _objects(seen)
    values |= {
        "object": seen.object,
        "analysisRuns": list(seen.runs),
        "event": {
            "reason": occurrence.reason,
            "message": occurrence.message,
            "severity": occurrence.severity,
            "trigger": occurrence.trigger,
            "id": occurrence.id,
        },
        "evidence": [msgspec.to_builtins(one) for one in proof],
        "context": dict(config.context),
        "secrets": {},
        "serviceType": "",
        "recipient": "",
    }
    return values | dict(more or {})


def evidence_of(seen: Seen, config: Config) -> tuple[evidence.Evidence, ...]:
    """What speaks against the release or the run."""
    base = config.context.get("prometheusUrl", "")
    if seen.object.get("kind") == "AnalysisRun":
        return evidence.of_run(seen.object, base)
    if seen.object.get("kind") == "Rollout":
        return evidence.of_release(seen.object, seen.runs, base)
    return ()


def _objects(seen: Seen) -> dict[str, Object]:
    """What there is of the objects that have a name of their own."""
    found = [obj for obj in (seen.owner, seen.object) if obj is not None]
    return {_NAMES[kind]: obj for obj in found if (kind := str(obj.get("kind"))) in _NAMES}


def baseline(before: Sequence[Due], after: Sequence[Due]) -> Iterator[str]:
    """The keys that are due only because somebody has subscribed since: a subscription tells what happens from now on."""
    old = {one.key for one in before}
    return (one.key for one in after if one.key not in old)
