"""Microsoft Teams by a workflow ("When a Teams webhook request is received"): an Adaptive Card in a message.

Office 365 connectors and their MessageCards are shut down, so `service.teams` is the same as `teams-workflows`.
https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rollout.notify.evidence import lines
from rollout.notify.message import Answer, Note, Post
from rollout.notify.services.base import (
    Unusable,
    answer_of,
    json_post,
    known_only,
    parsed,
    secret_map,
    text_of,
)

CARD = "application/vnd.microsoft.card.adaptive"
COLORS = {"info": "Accent", "success": "Good", "warning": "Warning", "error": "Attention"}


class Teams:
    fields = frozenset({"adaptiveCard", "title", "summary", "text", "facts"})
    incidents = False
    threads = False

    def check(self, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from known_only(options, frozenset({"recipientUrls"}))
        yield from secret_map(options, "recipientUrls", "the URL of its workflow")

    def post(self, note: Note, options: Mapping[str, Any], recipient: str, thread: str) -> Post:  # noqa: ARG002
        url = (options.get("recipientUrls") or {}).get(recipient)
        if not url:
            raise Unusable(f"there is no URL for {recipient!r} in recipientUrls")
        attachment = {"contentType": CARD, "contentUrl": None, "content": _card(note)}
        return json_post(str(url), {"type": "message", "attachments": [attachment]})

    def read(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer:  # noqa: ARG002
        return answer_of(status, headers)


def _card(note: Note) -> Any:
    if written := text_of(note.section, "adaptiveCard"):
        return parsed(written, "adaptiveCard", dict)
    title = text_of(note.section, "title", note.title)
    body: list[dict[str, Any]] = [
        {"type": "TextBlock", "text": title, "weight": "Bolder", "size": "Medium", "wrap": True,
         "color": COLORS[note.severity]},
        {"type": "TextBlock", "text": text_of(note.section, "text", note.text), "wrap": True},
    ]  # fmt: skip
    facts = [{"title": name, "value": value} for name, value in note.facts]
    if written := text_of(note.section, "facts"):
        facts = [
            {"title": str(one.get("name") or one.get("title") or ""), "value": str(one.get("value") or "")}
            for one in parsed(written, "facts", list)
            if isinstance(one, Mapping)
        ]
    if facts:
        body.append({"type": "FactSet", "facts": facts})
    body += [
        {"type": "TextBlock", "text": line, "wrap": True, "fontType": "Monospace", "size": "Small"}
        for line in lines(note.evidence)
    ]
    actions = [{"type": "Action.OpenUrl", "title": text, "url": url} for text, url in note.links]
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "msteams": {"width": "Full"},
    }
    return card | ({"actions": actions} if actions else {})
