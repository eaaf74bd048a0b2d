"""Slack: chat.postMessage with a bot's token, or an incoming webhook.

https://docs.slack.dev/reference/methods/chat.postMessage. With a token the messages of one release are one thread:
`ts` of the first is kept by the caller. A webhook cannot answer in threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rollout.api.codec import decode
from rollout.notify.evidence import lines
from rollout.notify.message import Answer, Note, Post, Refused, Sent
from rollout.notify.services.base import (
    Unusable,
    answer_of,
    header_safe,
    json_post,
    known_only,
    parsed,
    plain_secret,
    secret_map,
    text_of,
    wrong_url,
)

API = "https://slack.com/api"
COLORS = {"info": "#4A90D9", "success": "#18BE52", "warning": "#ECB22E", "error": "#E01E5A"}
MAX_TEXT = 3000
PASSING = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
_OPTIONS = frozenset(
    {"token", "webhookUrl", "webhookUrls", "username", "icon", "apiURL", "insecureSkipVerify", "signingSecret",
     "disableUnfurl"}
)  # fmt: skip


class Slack:
    fields = frozenset(
        {"attachments", "blocks", "groupingKey", "notifyBroadcast", "username", "icon", "deliveryPolicy"}
    )
    incidents = False
    threads = True

    def check(self, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from known_only(options, _OPTIONS)
        ways = [name for name in ("token", "webhookUrl", "webhookUrls") if options.get(name)]
        if len(ways) != 1:
            yield "", "needs exactly one of token, webhookUrl and webhookUrls"
        for name in ("token", "webhookUrl"):
            if options.get(name) and (wrong := plain_secret(options[name])):
                yield name, wrong
        if options.get("webhookUrls"):
            yield from secret_map(options, "webhookUrls", "a URL")
        if options.get("apiURL") and (wrong := wrong_url(options["apiURL"])):
            yield "apiURL", wrong

    def post(self, note: Note, options: Mapping[str, Any], recipient: str, thread: str) -> Post:
        message = _message(note, options)
        verify = not options.get("insecureSkipVerify", False)
        if not options.get("token"):
            url = (options.get("webhookUrls") or {}).get(recipient) or options.get("webhookUrl")
            if not url:
                raise Unusable(f"there is no webhook for {recipient!r} in webhookUrls")
            return json_post(str(url), message, verify=verify)
        if not recipient:
            raise Unusable("Slack needs a channel as the recipient")
        message["channel"] = recipient
        if thread:
            # Threads belong to a channel by its id, which the first answer told.
            message["channel"], _, message["thread_ts"] = thread.partition(" ")
            if str(note.section.get("notifyBroadcast", "")).lower() == "true":
                message["reply_broadcast"] = True
        url = str(options.get("apiURL") or API).rstrip("/") + "/chat.postMessage"
        token = header_safe(f"Bearer {options['token']}")
        headers = {"authorization": token, "content-type": "application/json; charset=utf-8"}
        return json_post(url, message, headers, verify=verify)

    def read(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
        answer = answer_of(status, headers)
        if isinstance(answer, Refused):
            return answer
        try:
            said = decode(body)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            return answer  # a webhook says "ok"
        if not said.get("ok"):
            error = str(said.get("error") or "no reason")[:80]
            return Refused(f"Slack says {error}", again=error in PASSING)
        return Sent(f"{said['channel']} {said['ts']}" if said.get("channel") and said.get("ts") else "")


def _message(note: Note, options: Mapping[str, Any]) -> dict[str, Any]:
    section = note.section
    message: dict[str, Any] = {"text": note.text[:MAX_TEXT]}
    for name in ("username", "icon"):
        if value := text_of(section, name, str(options.get(name) or "")):
            key = name if name == "username" else "icon_emoji" if value.startswith(":") else "icon_url"
            message[key] = value
    if options.get("disableUnfurl"):
        message |= {"unfurl_links": False, "unfurl_media": False}
    policy = text_of(section, "deliveryPolicy", "Post")
    if policy != "Post":
        raise Unusable(f"deliveryPolicy {policy} is not supported; there is Post")
    for name in ("attachments", "blocks"):
        if value := text_of(section, name):
            message[name] = parsed(value, f"slack.{name}", list)
    if "attachments" not in message and "blocks" not in message:
        message["attachments"] = [_attachment(note)]
    return message


def _attachment(note: Note) -> dict[str, Any]:
    fields = [{"title": name, "value": value, "short": True} for name, value in note.facts]
    attachment: dict[str, Any] = {"color": COLORS[note.severity], "title": note.title, "fields": fields}
    if note.evidence:
        attachment["text"] = "\n".join(lines(note.evidence))[:MAX_TEXT]
    return attachment | {"fallback": note.text[:MAX_TEXT]}
