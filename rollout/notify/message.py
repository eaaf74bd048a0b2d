"""What is told, before it is put into the words of a service; and what a service makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rollout.notify.evidence import Evidence
from rollout.notify.occurrences import Severity


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One message. `id` is the same for every attempt to send it, so that who receives can tell a repetition.

    `group` names the release or run that it belongs to (a thread), `incident_key` the trouble that it opens or closes.
    `section` is the template's own part for the service's type, filled in. `objects` are the namespaces, names and so
    on of the object, `facts` what a person wants to see beside the text.
    """

    id: str
    reason: str
    text: str
    title: str
    severity: Severity
    at: str
    kind: str
    api_version: str
    namespace: str
    name: str
    uid: str
    trigger: str = ""
    incident: str = ""
    incident_key: str = ""
    group: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    evidence: tuple[Evidence, ...] = ()
    images: tuple[str, ...] = ()
    section: Mapping[str, Any] = {}

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """(text, URL) of the graphs behind the evidence."""
        return tuple((f"Graph of {one.metric}", one.link) for one in self.evidence if one.link)


class Post(msgspec.Struct, frozen=True):
    """A request to make. Confidential as a whole: addresses and headers hold secrets."""

    url: str
    body: bytes
    headers: Mapping[str, str] = {}
    method: str = "POST"
    verify: bool = True


class Sent(msgspec.Struct, frozen=True):
    """It has arrived. `thread` is what later messages of the same group need in order to join it, or ""."""

    thread: str = ""


class Refused(msgspec.Struct, frozen=True):
    """It has not arrived. `again`: trying again may help, after `after` seconds where the service says so.

    `why` is for people and holds nothing that the service was told.
    """

    why: str
    again: bool = False
    after: float | None = None


Answer = Sent | Refused
