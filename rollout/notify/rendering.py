"""A message that is due, in words: the templates filled in, and the facts beside them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rollout.api.meta import metadata, timestamp
from rollout.api.rollout import REVISION
from rollout.notify.config import Config, Service
from rollout.notify.due import Due, Seen, evidence_of, variables
from rollout.notify.message import Note
from rollout.notify.occurrences import Object
from rollout.notify.template import compile as compile_template

MAX_TEXT = 10_000
_ALIASES = {"teams": ("teams-workflows", "teams"), "teams-workflows": ("teams-workflows", "teams")}


def note_of(one: Due, seen: Seen, config: Config, secrets: Mapping[str, str]) -> Note:
    """The message. TemplateError when a template cannot be filled in."""
    service = config.services[one.destination.service]
    more = {"secrets": dict(secrets), "serviceType": service.type, "recipient": one.destination.recipient}
    proof = evidence_of(seen, config)
    values = variables(seen, one.occurrence, config, proof, more=more)
    specs = [config.templates[name] for name in one.templates if name in config.templates]
    text = next((spec.message for spec in specs if spec.message), one.occurrence.message)
    section: dict[str, Any] = {}
    for spec in specs:
        section |= _filled(_section(spec.sections, service), values)
    meta, occurrence = metadata(seen.object), one.occurrence
    rendered = compile_template(text).render(values).strip()[:MAX_TEXT]
    return Note(
        id=one.key,
        reason=occurrence.reason,
        trigger=one.trigger,
        text=rendered or occurrence.message,
        title=_title(seen.object, occurrence.reason),
        severity=occurrence.severity,
        at=timestamp(one.at),
        kind=str(seen.object.get("kind")),
        api_version=str(seen.object.get("apiVersion")),
        namespace=str(meta.get("namespace") or ""),
        name=str(meta.get("name") or ""),
        uid=seen.uid,
        incident=occurrence.incident,
        incident_key=incident_key(seen, occurrence.reason),
        group=str(section.get("groupingKey") or group_of(seen)),
        facts=tuple(_facts(seen.root)),
        evidence=proof,
        images=_images(seen.root),
        section=section,
    )


def incident_key(seen: Seen, reason: str) -> str:
    """What the trouble is with: a Rollout, a schedule, or a run of its own. Faults that stay are each run's own."""
    if reason == "RevertUnverified":
        return f"surefoot/{seen.uid}/revert"
    return f"surefoot/{metadata(seen.root).get('uid')}"


def group_of(seen: Seen) -> str:
    """A release, or a run: what belongs together."""
    meta = metadata(seen.root)
    return f"{meta.get('uid')}/{(meta.get('annotations') or {}).get(REVISION, '')}"


def _section(sections: Mapping[str, Any], service: Service) -> Mapping[str, Any]:
    if service.type == "webhook":
        found = (sections.get("webhook") or {}).get(service.name)
    else:
        names = _ALIASES.get(service.type, (service.type,))
        found = next((sections[name] for name in names if isinstance(sections.get(name), Mapping)), None)
    return found if isinstance(found, Mapping) else {}


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    match value:
        case str():
            return compile_template(value).render(values)
        case Mapping():
            return {key: _filled(one, values) for key, one in value.items()}
        case list():
            return [_filled(one, values) for one in value]
        case _:
            return value


def _title(obj: Object, reason: str) -> str:
    meta = metadata(obj)
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", reason.removeprefix(str(obj.get("kind")))).lower()
    space = f"{meta['namespace']}/" if meta.get("namespace") else ""
    return f"{obj.get('kind')} {space}{meta.get('name')}: {words}"


def _facts(obj: Object) -> list[tuple[str, str]]:
    meta, status = metadata(obj), obj.get("status") or {}
    spec = obj.get("spec") or {}
    facts = [("Namespace", str(meta.get("namespace") or ""))]
    if obj.get("kind") == "Rollout":
        strategy = spec.get("strategy") or {}
        steps, index = (strategy.get("canary") or {}).get("steps") or [], status.get("currentStepIndex")
        weight = (((status.get("canary") or {}).get("weights") or {}).get("canary") or {}).get("weight")
        facts += [
            ("Strategy", next((name for name in ("canary", "blueGreen") if name in strategy), "")),
            ("Revision", str((meta.get("annotations") or {}).get(REVISION) or "")),
            ("Step", f"{index}/{len(steps)}" if steps and index is not None else ""),
            ("Weight", "" if weight is None else f"{weight} %"),
            ("Image", ", ".join(_images(obj))),
        ]
    return [(name, value) for name, value in facts if value]


def _images(obj: Object) -> tuple[str, ...]:
    template = (obj.get("spec") or {}).get("template") or {}
    containers = (template.get("spec") or {}).get("containers") if isinstance(template, Mapping) else None
    return tuple(
        str(one["image"]) for one in containers or () if isinstance(one, Mapping) and one.get("image")
    )
