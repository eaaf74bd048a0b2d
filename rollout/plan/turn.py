"""Whose turn it is to write for one Rollout: how two controllers without election never work at the same time.

No write can be preconditioned on two objects at once, and most safety rules speak of two: the pods of a version,
and the routes and Services that send it traffic. So whoever acts first takes the turn (an annotation of the Rollout:
a number and a holder) and writes the number into every object that the rules speak of. What another controller has
decided before then fails at its precondition, whenever it arrives; and what it decides afterwards sees a number that
is not its own. Alone, a controller takes the turn once per Rollout. The proof: docs/decisions/006-turns.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from rollout.api.meta import metadata
from rollout.api.resources import REPLICA_SETS, SERVICES
from rollout.api.rollout import TURN, Rollout
from rollout.core.actions import Action, PatchRollout, Stamp
from rollout.core.observed import Observed


class Turn(msgspec.Struct, frozen=True):
    """The turn that a Rollout's annotation tells of. Each number has had one holder, and they only grow."""

    number: int = 0
    holder: str = ""

    def __str__(self) -> str:
        return f"{self.number} {self.holder}"


class _Stamped(msgspec.Struct, frozen=True):
    """An object whose number counts: `stamp` writes another one into it."""

    number: int
    stamp: Stamp


def turn_of(rollout: Rollout) -> Turn:
    """The present turn; one of nobody where there is none, or none that can be read."""
    number, _, holder = rollout.metadata.annotation(TURN).partition(" ")
    return Turn(int(number), holder) if _is_number(number) and holder else Turn()


def is_ours(seen: Observed, identity: str) -> bool:
    """Whether we have the turn, as far as can be seen: no object shows a later one."""
    now = turn_of(seen.rollout)
    return now.holder == identity and all(one.number <= now.number for one in _objects(seen, now.number))


def taken(seen: Observed, identity: str) -> tuple[Action, ...]:
    """Take the turn: its number is higher than any that can be seen, and then stamped on everything."""
    now = turn_of(seen.rollout)
    number = 1 + max((now.number, *(one.number for one in _objects(seen, 0))))
    meta = seen.rollout.metadata
    patch = {"metadata": {"annotations": {TURN: str(Turn(number, identity))}}}
    take = PatchRollout(resource_version=meta.resource_version, patch=patch)
    return (take, *_stamps(seen, number))


def stamps(seen: Observed) -> tuple[Action, ...]:
    """What has to be stamped before the holder of the turn may act; () when it may."""
    return tuple(_stamps(seen, turn_of(seen.rollout).number))


def mark(seen: Observed) -> dict[str, str]:
    """The annotation of an object that is made in the present turn."""
    number = turn_of(seen.rollout).number
    return {TURN: _value({}, _name(seen), number)} if number else {}


def _stamps(seen: Observed, number: int) -> Iterator[Stamp]:
    return (one.stamp for one in _objects(seen, number) if one.number < number)


def _objects(seen: Observed, number: int) -> Iterator[_Stamped]:
    """The routes, the Services, and the sets that have pods, each with its stamp for this number.

    A set without pods carries no traffic and cannot be shrunk: it is stamped once it has some, before it is used.
    """
    name = _name(seen)
    for (resource, key), obj in seen.routes.items():
        meta = metadata(obj)
        version, annotations = str(meta.get("resourceVersion") or ""), meta.get("annotations") or {}
        stamp = Stamp(
            resource=resource,
            namespace=key.namespace,
            name=key.name,
            resource_version=version,
            value=_value(annotations, name, number),
        )
        yield _Stamped(_numbers(annotations).get(name, 0), stamp)
    sets = [one for one in seen.replica_sets if one.spec.replicas > 0]
    owned = [
        *((SERVICES, one.metadata) for one in seen.services.values()),
        *((REPLICA_SETS, one.metadata) for one in sets),
    ]
    for resource, known in owned:
        annotations = known.annotations or {}
        stamp = Stamp(
            resource=resource,
            namespace=known.namespace,
            name=known.name,
            resource_version=known.resource_version,
            value=_value(annotations, name, number),
        )
        yield _Stamped(_numbers(annotations).get(name, 0), stamp)


def _name(seen: Observed) -> str:
    """A route can serve several Rollouts, of other namespaces too: each has a number of its own in it."""
    return str(seen.key)


def _numbers(annotations: Mapping[str, str]) -> dict[str, int]:
    """Rollout -> number, from "prod/web=3,prod/api=1". What cannot be read is left out."""
    pairs = (part.partition("=") for part in str(annotations.get(TURN, "")).split(","))
    return {name: int(number) for name, _, number in pairs if name and _is_number(number)}


def _value(annotations: Mapping[str, str], name: str, number: int) -> str:
    numbers = {**_numbers(annotations), name: number}
    return ",".join(f"{name}={number}" for name, number in numbers.items())


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19
