"""What a service is, and what most of them share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from rollout.api.codec import decode, encode
from rollout.notify.message import Answer, Note, Post, Refused, Sent

MAX_AFTER = 3600.0


class Unusable(ValueError):
    """The options or the message cannot be made into a request; the text says why and holds no secret."""


class Service(Protocol):
    """One type of service. `options` have their secrets in by then, but for `check`."""

    fields: frozenset[str]
    """What a template's section for it may have."""
    incidents: bool
    """Whether a message opens or closes something that stays open."""
    threads: bool
    """Whether messages of one group are shown together."""

    def check(self, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """(path, what is wrong with it) of options as they were written."""
        ...

    def post(self, note: Note, options: Mapping[str, Any], recipient: str, thread: str) -> Post:
        """The request. Unusable when there can be none; `thread` is what an earlier `Sent` of the group gave."""
        ...

    def read(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
        """What an answer means."""
        ...


def answer_of(status: int, headers: Mapping[str, str]) -> Answer:
    """By status alone: 2xx has arrived; 408, 425, 429 and 5xx may be tried again."""
    if 200 <= status < 300:
        return Sent()
    again = status in {408, 425, 429} or status >= 500
    return Refused(f"HTTP {status}", again=again, after=_after(headers) if again else None)


def _after(headers: Mapping[str, str]) -> float | None:
    """Retry-After (RFC 9110, 10.2.3): seconds, or a date against the answer's own Date."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal() and len(text) < 9:
        return min(float(text), MAX_AFTER)
    try:
        wait = (parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))).total_seconds()
    except (TypeError, ValueError):
        return None
    return min(max(0.0, wait), MAX_AFTER)


def json_post(
    url: str, document: Any, headers: Mapping[str, str] | None = None, *, verify: bool = True
) -> Post:
    return Post(
        url, bytes(encode(document)), {"content-type": "application/json", **(headers or {})}, verify=verify
    )


def wrong_url(value: Any) -> str:
    """What is wrong with an address, "" when nothing is. A reference to a secret is not looked into."""
    if not isinstance(value, str) or not value:
        return "must be a URL"
    if "$" in value:
        return ""
    try:
        parts = urlsplit(value)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        fine = False
    return "" if fine else "must be an http(s) URL"


def plain_secret(value: Any) -> str:
    """What is wrong with a confidential option that is not a reference, "" when it is one."""
    if isinstance(value, str) and value.startswith("$"):
        return ""
    return "is confidential: put it into the Secret and write $name here"


def secret_map(options: Mapping[str, Any], name: str, what: str) -> Iterator[tuple[str, str]]:
    """What is wrong with an option that is a map from a recipient to `what`, all of it confidential."""
    found = options.get(name)
    if not isinstance(found, Mapping) or not found:
        yield name, f"must be a map from a recipient to {what}, as $name"
        return
    for recipient, value in found.items():
        if wrong := plain_secret(value):
            yield f"{name}.{recipient}", wrong


def parsed(text: str, name: str, kind: type) -> Any:
    """The JSON that a template wrote for the field `name`. Unusable when it is none, or not of this type."""
    try:
        found = decode(text)
    except ValueError as error:
        raise Unusable(f"the template's {name} is not JSON: {error}") from None
    if not isinstance(found, kind):
        raise Unusable(f"the template's {name} is not a JSON {'object' if kind is dict else 'list'}")
    return found


def known_only(options: Mapping[str, Any], known: frozenset[str]) -> Iterator[tuple[str, str]]:
    for name in options:
        if name not in known:
            yield str(name), f"not supported; there are {', '.join(sorted(known))}"


def header_safe(value: str) -> str:
    """A value for a header. Unusable when it would break out of it."""
    if any(char in value for char in "\r\n\0") or not value.isascii():
        raise Unusable(
            "a header's value has a line break or letters beyond ASCII; look at the Secret behind it"
        )
    return value


def text_of(section: Mapping[str, Any], name: str, default: str = "") -> str:
    value = section.get(name)
    return default if value in (None, "") else str(value)
