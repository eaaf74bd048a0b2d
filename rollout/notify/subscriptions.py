"""Who wants to be told of what: annotations on objects, and subscriptions for all objects of a selector.

Annotations (https://argoproj.github.io/argo-rollouts/features/notifications):
`notifications.argoproj.io/subscribe.<trigger>.<service>: recipient;recipient`,
`notifications.argoproj.io/subscribe.<service>: recipient` (the default triggers), and
`notifications.argoproj.io/subscriptions` with a list of {trigger, destinations: [{service, recipients}]}.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
import yaml

from rollout.api.meta import LabelSelector, LabelSelectorRequirement, metadata

PREFIX = "notifications.argoproj.io/"
SUBSCRIBE = f"{PREFIX}subscribe."
LIST = f"{PREFIX}subscriptions"
_TERM = re.compile(
    r"\s*(?P<not>!?)(?P<key>[^\s,!=()]+)"
    r"(?:\s*(?P<sign>==|=|!=)\s*(?P<value>[^\s,()]*)|\s+(?P<word>in|notin)\s*\((?P<set>[^()]*)\))?"
)

_WRONG = "must be a label selector such as app=web,tier!=db"


class Destination(msgspec.Struct, frozen=True, order=True):
    """A service by its name, and a recipient in its words (a channel, a key's name); "" where it needs none."""

    service: str
    recipient: str = ""

    def __str__(self) -> str:
        return f"{self.service}:{self.recipient}" if self.recipient else self.service


class Subscription(msgspec.Struct, frozen=True):
    """For every object that the selector matches. Without triggers: the default ones."""

    destinations: tuple[Destination, ...]
    triggers: tuple[str, ...] = ()
    selector: LabelSelector = LabelSelector()


def selector_of(text: str) -> LabelSelector:
    """A label selector as kubectl writes it; "" matches all. ValueError when it cannot be read."""
    terms, at = [], 0
    text = text.strip()
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None:
            raise ValueError(_WRONG)
        terms.append(_requirement(match))
        rest = text[match.end() :].lstrip()
        if rest and not rest.startswith(","):
            raise ValueError(_WRONG)
        at = len(text) - len(rest) + 1 if rest else len(text)
    return LabelSelector(match_expressions=tuple(terms))


def _requirement(term: re.Match[str]) -> LabelSelectorRequirement:
    if not term["sign"] and not term["word"]:
        return LabelSelectorRequirement(key=term["key"], operator="DoesNotExist" if term["not"] else "Exists")
    if term["not"]:
        raise ValueError(_WRONG)
    values = (term["value"],) if term["sign"] else tuple(part.strip() for part in term["set"].split(","))
    wanted = term["sign"] != "!=" and term["word"] != "notin"
    return LabelSelectorRequirement(key=term["key"], operator="In" if wanted else "NotIn", values=values)


def split_recipients(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


Defaults = Callable[[str], tuple[str, ...]]
"""The default triggers of a service."""


def subscribed(
    objects: Iterable[Mapping[str, Any]],
    subscriptions: Iterable[Subscription],
    defaults: Defaults,
    services: Iterable[str],
) -> dict[str, set[Destination]]:
    """Trigger -> who is to be told, by the annotations of all `objects` and what is there for all.

    The objects are the one that something happened to and those it belongs to (a run's Rollout).
    """
    found: dict[str, set[Destination]] = {}
    known = frozenset(services)
    for obj in objects:
        meta = metadata(obj)
        labels = meta.get("labels") or {}
        for trigger, destination in _annotated(meta.get("annotations") or {}, defaults, known):
            found.setdefault(trigger, set()).add(destination)
        for one in subscriptions:
            if one.selector.matches(labels):
                for destination in one.destinations:
                    for trigger in one.triggers or defaults(destination.service):
                        found.setdefault(trigger, set()).add(destination)
    return found


def annotated(obj: Mapping[str, Any]) -> bool:
    """Whether the object subscribes anybody; cheap, for it is asked at every change of every object."""
    return any(name.startswith(PREFIX) for name in metadata(obj).get("annotations") or ())


def _annotated(
    annotations: Mapping[str, Any], defaults: Defaults, services: frozenset[str]
) -> Iterator[tuple[str, Destination]]:
    for name, value in annotations.items():
        if name.startswith(SUBSCRIBE):
            rest = name.removeprefix(SUBSCRIBE)
            trigger, service = _names(rest, services)
            for recipient in split_recipients(str(value)) or ("",):
                for one in (trigger,) if trigger else defaults(service):
                    yield one, Destination(service, recipient)
        elif name == LIST:
            yield from _listed(str(value), defaults)


def _names(rest: str, services: frozenset[str]) -> tuple[str, str]:
    """`<trigger>.<service>` or `<service>`; the names of services may have dots in them."""
    if rest in services:
        return "", rest
    for service in sorted(services, key=len, reverse=True):
        if rest.endswith(f".{service}"):
            return rest.removesuffix(f".{service}"), service
    trigger, _, service = rest.partition(".")
    return (trigger, service) if service else ("", trigger)


def _listed(text: str, defaults: Defaults) -> Iterator[tuple[str, Destination]]:
    try:
        items = yaml.load(text, yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return  # `problems_of` says so
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, Mapping):
            continue
        triggers = item.get("trigger")
        names = [triggers] if isinstance(triggers, str) else triggers or []
        for destination in item.get("destinations") or []:
            if not isinstance(destination, Mapping):
                continue
            service = str(destination.get("service") or "")
            for recipient in destination.get("recipients") or [""]:
                for name in names or defaults(service):
                    yield str(name), Destination(service, str(recipient))


def problems_of(
    found: Mapping[str, Iterable[Destination]], triggers: Iterable[str], services: Iterable[str]
) -> list[str]:
    """What of the subscriptions leads nowhere, as sentences."""
    known, there = set(triggers), set(services)
    said = [f"there is no trigger {name}" for name in sorted(found) if name not in known]
    asked = {one.service for destinations in found.values() for one in destinations}
    return said + [f"there is no notification service {name}" for name in sorted(asked - there)]
