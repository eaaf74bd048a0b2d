"""PagerDuty's Events API v2: alerts that are triggered, acknowledged and resolved by one dedup_key, and change events.

https://developer.pagerduty.com/docs/events-api-v2-overview. What opens an incident triggers, what ends its trouble
resolves; other warnings and errors trigger as well, and everything else is a change event, which wakes nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rollout.notify.message import Answer, Note, Post
from rollout.notify.services.base import (
    Unusable,
    answer_of,
    json_post,
    known_only,
    secret_map,
    text_of,
    wrong_url,
)

API = "https://events.pagerduty.com"
MAX_SUMMARY = 1024
MAX_KEY = 255
SEVERITIES = {"info": "info", "success": "info", "warning": "warning", "error": "critical"}
_ACTIONS = ("trigger", "acknowledge", "resolve", "change")
_OPTIONS = frozenset({"serviceKeys", "apiURL"})


class PagerDuty:
    fields = frozenset(
        {"summary", "severity", "source", "component", "group", "class", "url", "dedupKey", "eventAction"}
    )
    incidents = True
    threads = False

    def check(self, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from known_only(options, _OPTIONS)
        yield from secret_map(options, "serviceKeys", "its integration key")
        if options.get("apiURL") and (wrong := wrong_url(options["apiURL"])):
            yield "apiURL", wrong

    def post(self, note: Note, options: Mapping[str, Any], recipient: str, thread: str) -> Post:  # noqa: ARG002
        key = (options.get("serviceKeys") or {}).get(recipient)
        if not key:
            raise Unusable(f"there is no key for {recipient!r} in serviceKeys")
        action = action_of(note)
        base = str(options.get("apiURL") or API).rstrip("/")
        if action == "change":
            return json_post(f"{base}/v2/change/enqueue", _change(note, str(key)))
        return json_post(f"{base}/v2/enqueue", _alert(note, str(key), action))

    def read(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer:  # noqa: ARG002
        return answer_of(status, headers)


def action_of(note: Note) -> str:
    """What a message does to the incident of its `incident_key`. Unusable for an action that there is not."""
    said = text_of(note.section, "eventAction")
    if said in _ACTIONS:
        return said
    if said:
        raise Unusable(f"eventAction {said!r} is none of {', '.join(_ACTIONS)}")
    if note.incident == "close":
        return "resolve"
    return "trigger" if note.incident == "open" or note.severity in {"warning", "error"} else "change"


def dedup_key(note: Note) -> str:
    return text_of(note.section, "dedupKey", note.incident_key)[:MAX_KEY]


def _alert(note: Note, key: str, action: str) -> dict[str, Any]:
    section = note.section
    alert: dict[str, Any] = {"routing_key": key, "event_action": action, "dedup_key": dedup_key(note)}
    if action != "trigger":
        return alert
    severity = text_of(section, "severity", SEVERITIES[note.severity])
    payload: dict[str, Any] = {
        "summary": text_of(section, "summary", note.text)[:MAX_SUMMARY],
        "source": text_of(section, "source", f"{note.namespace}/{note.name}"),
        "severity": severity if severity in {"critical", "error", "warning", "info"} else "error",
        "timestamp": note.at,
        "component": text_of(section, "component", note.name),
        "group": text_of(section, "group", note.namespace),
        "class": text_of(section, "class", note.reason),
        "custom_details": _details(note),
    }
    url = text_of(section, "url")
    links = [{"href": href, "text": text} for text, href in note.links]
    return alert | {
        "payload": {name: value for name, value in payload.items() if value},
        "client": "Surefoot",
        **({"client_url": url} if url else {}),
        **({"links": links} if links else {}),
    }


def _details(note: Note) -> dict[str, Any]:
    evidence = [
        {
            name: value
            for name, value in (
                ("metric", one.metric), ("phase", one.phase), ("value", one.value), ("rule", one.rule),
                ("query", one.query), ("graph", one.link), ("message", one.message), ("analysisRun", one.run),
            )
            if value
        }
        for one in note.evidence
    ]  # fmt: skip
    return {**dict(note.facts), "message": note.text, **({"evidence": evidence} if evidence else {})}


def _change(note: Note, key: str) -> dict[str, Any]:
    links = [{"href": href, "text": text} for text, href in note.links]
    return {
        "routing_key": key,
        "payload": {
            "summary": text_of(note.section, "summary", note.text)[:MAX_SUMMARY],
            "timestamp": note.at,
            "source": text_of(note.section, "source", f"{note.namespace}/{note.name}"),
            "custom_details": _details(note),
        },
        **({"links": links} if links else {}),
    }
