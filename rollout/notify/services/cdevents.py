"""CDEvents 0.5 (https://cdevents.dev) for the occurrences that have one; the rest are plain CloudEvents.

| reason | event |
|---|---|
| RolloutCompleted | service.upgraded |
| RolloutRolledBack | service.rolledback |
| RolloutAborted | incident.detected |

`artifactId`, which the first two require, is the package URL of the first container's image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from rollout.notify.message import Note

SPEC = "0.5.0"
_TYPES = {
    "RolloutCompleted": "dev.cdevents.service.upgraded.0.3.0",
    "RolloutRolledBack": "dev.cdevents.service.rolledback.0.3.0",
    "RolloutAborted": "dev.cdevents.incident.detected.0.3.0",
}


def cdevent_type(reason: str) -> str:
    """The type of the CDEvent, or ""."""
    return _TYPES.get(reason, "")


def cdevent(note: Note, attributes: Mapping[str, str], data: Mapping[str, Any]) -> dict[str, Any]:
    """The event; `attributes` are those of the CloudEvent that carries it."""
    environment = {"id": note.namespace, "source": "/namespaces"}
    artifact = purl(note.images[0]) if note.images else ""
    if ".incident." in attributes["type"]:
        content: dict[str, Any] = {
            "description": note.text,
            "environment": environment,
            "service": {"id": attributes["subject"], "source": attributes["source"]},
        }
        subject = note.incident_key
    else:
        content = {"environment": environment}
        subject = attributes["subject"]
    return {
        "context": {
            "specversion": SPEC,
            "id": attributes["id"],
            "source": attributes["source"],
            "type": attributes["type"],
            "timestamp": attributes["time"],
        },
        "subject": {
            "id": subject,
            "source": attributes["source"],
            "content": content | ({"artifactId": artifact} if artifact else {}),
        },
        "customData": data,
        "customDataContentType": "application/json",
    }


def purl(image: str) -> str:
    """The package URL (type oci) of an image: `pkg:oci/NAME@DIGEST?repository_url=...&tag=...`."""
    rest, _, digest = image.partition("@")
    path, slash, last = rest.rpartition("/")
    name, _, tag = last.partition(":")
    version = f"@{quote(digest, safe='')}" if digest else ""
    qualifiers = [f"repository_url={quote(f'{path}{slash}{name}', safe='/.')}"] if path else []
    qualifiers += [f"tag={quote(tag, safe='')}"] if tag else []
    return f"pkg:oci/{quote(name.lower(), safe='')}{version}" + (
        f"?{'&'.join(qualifiers)}" if qualifiers else ""
    )
