"""Tries notifications out: what a template would say of an object, and which triggers it would fire. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from rollout.api.codec import decode
from rollout.api.meta import View
from rollout.cli.exits import USAGE, Failure
from rollout.notify import builtin
from rollout.notify.config import Config, Service, TemplateSpec, references, reveal
from rollout.notify.due import Due, Seen, due
from rollout.notify.message import Post
from rollout.notify.occurrences import REASONS, Object, Occurrence, occurrences
from rollout.notify.rendering import note_of
from rollout.notify.services import TYPES
from rollout.notify.services.base import Unusable
from rollout.notify.subscriptions import Destination, Subscription
from rollout.notify.template import TemplateError

HIDDEN = "***"


class Shown(View, frozen=True, omit_defaults=False):
    """A request as `--dry-run` shows it: what comes from the Secret is hidden."""

    schema_version: int
    service: str
    type: str
    recipient: str
    method: str
    url: str
    headers: dict[str, str]
    body: Any


class Fired(View, frozen=True, omit_defaults=False):
    """What the present state of an object means for a trigger. `id` is what makes it once, "" when nothing is sent."""

    trigger: str
    reason: str
    message: str
    templates: tuple[str, ...]
    id: str


def hidden(config: Config) -> dict[str, str]:
    """The secrets that the services refer to, all of them hidden."""
    names = {name for service in config.services.values() for name in references(service.options)}
    return dict.fromkeys(sorted(names), HIDDEN)


def destination_of(config: Config, text: str) -> tuple[Destination, Service]:
    """`SERVICE[:RECIPIENT]`. Failure (usage) when there is no such service."""
    name, _, recipient = text.partition(":")
    if name not in config.services:
        known = ", ".join(sorted(config.services)) or "none"
        raise Failure(
            USAGE, f"there is no notification service {name!r} in the configuration; there are: {known}"
        )
    return Destination(name, recipient), config.services[name]


def template_of(config: Config, name: str) -> TemplateSpec:
    if name not in config.templates:
        raise Failure(
            USAGE, f"there is no template {name!r}; `rollout notifications template get` lists them"
        )
    return config.templates[name]


def occurrence_for(template: str, obj: Object) -> Occurrence:
    """What a template is tried with: what has happened to the object, else what the template is for."""
    happened = occurrences(obj)
    fitting = [one for one in happened if one.trigger == f"on-{template}"]
    if fitting or happened:
        return (fitting or happened)[-1]
    reason = next((one for one in REASONS if template == builtin.template_of(one)), "RolloutUpdated")
    return Occurrence(reason, "try", f"A try: {REASONS[reason]}")


def message(
    config: Config,
    template: str,
    destination: Destination,
    seen: Seen,
    *,
    secrets: Mapping[str, str],
    now: datetime,
) -> Post:
    """The request that carries the template's message. Failure when there can be none."""
    template_of(config, template)
    service = config.services[destination.service]
    occurrence = occurrence_for(template, seen.object)
    one = Due(f"try-{now:%Y%m%dT%H%M%S}", occurrence, now, occurrence.trigger, (template,), destination)
    try:
        note = note_of(one, seen, config, secrets)
        return TYPES[service.type].post(note, reveal(service.options, secrets), destination.recipient, "")
    except (TemplateError, Unusable) as error:
        raise Failure(USAGE, f"template {template}: {error}") from None
    except KeyError as error:
        raise Failure(
            USAGE, f"the Secret has no {error.args[0]!r}, which service {service.name} needs"
        ) from None


def shown(post: Post, service: Service, recipient: str) -> Shown:
    """A request to be printed; it was made with hidden secrets."""
    try:
        body = decode(post.body)
    except ValueError:
        body = post.body.decode("utf-8", "replace")
    return Shown(1, service.name, service.type, recipient, post.method, post.url, dict(post.headers), body)


def fired(config: Config, name: str, seen: Seen, now: datetime) -> tuple[list[Fired], list[str]]:
    """What a trigger would send about the object as it is, if somebody were subscribed; and what is wrong."""
    if name not in config.triggers:
        raise Failure(USAGE, f"there is no trigger {name!r}; `rollout notifications trigger get` lists them")
    somebody = Subscription((Destination("try"),), (name,))
    alone = {"try": Service("webhook", "try", {"url": "http://try"})}
    tried = Config(alone, config.templates, config.triggers, {}, (somebody,), config.context)
    happened = [msgspec.structs.replace(one, at=now) for one in occurrences(seen.object)]  # however long ago
    decided = due(happened, seen, tried, now)
    found = [
        Fired(one.trigger, one.occurrence.reason, one.occurrence.message, one.templates, one.key)
        for one in decided.messages
        if one.trigger == name
    ]
    return found, list(decided.problems)


def fired_lines(name: str, found: Sequence[Fired], happened: Sequence[Occurrence]) -> Iterator[str]:
    if not found:
        said = ", ".join(one.reason for one in happened) or "nothing"
        yield f"{name} would not be sent now. What the object tells of: {said}."
    for one in found:
        yield f"{name} would be sent ({', '.join(one.templates)}): {one.message}"
