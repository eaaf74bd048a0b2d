"""Any HTTP server: the template's own body, or a CloudEvent (structured or binary), or a CDEvent in one.

CloudEvents 1.0: https://github.com/cloudevents/spec. With `hmacSecret` every request carries
`X-Surefoot-Signature-256: sha256=HEX`, the HMAC of the body, so that who receives knows who sent it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from rollout.api.codec import encode
from rollout.notify.message import Answer, Note, Post
from rollout.notify.services.base import (
    Unusable,
    answer_of,
    header_safe,
    known_only,
    plain_secret,
    text_of,
    wrong_url,
)
from rollout.notify.services.cdevents import cdevent, cdevent_type

FORMATS = ("template", "cloudevents", "cloudevents-binary", "cdevents")
SIGNATURE = "x-surefoot-signature-256"
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_OPTIONS = frozenset({"url", "headers", "basicAuth", "insecureSkipVerify", "format", "hmacSecret"})


class Webhook:
    fields: frozenset[str] = frozenset()  # by the names of services: `_section` of the caller looks
    incidents = False
    threads = False

    def check(self, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from known_only(options, _OPTIONS)
        if wrong := wrong_url(options.get("url")):
            yield "url", wrong
        if options.get("format", "template") not in FORMATS:
            yield "format", f"must be one of {', '.join(FORMATS)}"
        if options.get("hmacSecret") and (wrong := plain_secret(options["hmacSecret"])):
            yield "hmacSecret", wrong
        headers = options.get("headers")
        if headers is not None and not (
            isinstance(headers, list) and all(isinstance(one, Mapping) and one.get("name") for one in headers)
        ):
            yield "headers", "must be a list of {name, value}"
        if (auth := options.get("basicAuth")) is not None:
            if not isinstance(auth, Mapping) or not auth.get("username"):
                yield "basicAuth", "must be {username, password}"
            elif wrong := plain_secret(auth.get("password")):
                yield "basicAuth.password", wrong

    def post(self, note: Note, options: Mapping[str, Any], recipient: str, thread: str) -> Post:  # noqa: ARG002
        section = note.section
        method = text_of(section, "method", "POST").upper()
        if method not in METHODS:
            raise Unusable(f"the method {method!r} is none of {', '.join(sorted(METHODS))}")
        headers, body = _content(note, str(options.get("format") or "template"))
        headers |= _headers(options)
        if secret := options.get("hmacSecret"):
            digest = hmac.new(str(secret).encode(), body, hashlib.sha256).hexdigest()
            headers[SIGNATURE] = f"sha256={digest}"
        path = text_of(section, "path")
        url = str(options["url"])
        if path:
            url = f"{url.rstrip('/')}/{path.lstrip('/')}"
        return Post(url, body, headers, method, verify=not options.get("insecureSkipVerify", False))

    def read(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer:  # noqa: ARG002
        return answer_of(status, headers)


def _headers(options: Mapping[str, Any]) -> dict[str, str]:
    found = {
        str(one["name"]).lower(): header_safe(str(one.get("value") or ""))
        for one in options.get("headers") or ()
    }
    if auth := options.get("basicAuth"):
        pair = f"{auth.get('username')}:{auth.get('password')}"
        found["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return found


def _content(note: Note, format: str) -> tuple[dict[str, str], bytes]:
    """(headers, body)."""
    if format == "template":
        if body := text_of(note.section, "body"):
            return {"content-type": "application/json", "x-surefoot-notification-id": note.id}, body.encode()
        return {"content-type": "application/json", "x-surefoot-notification-id": note.id}, bytes(
            encode(data_of(note))
        )
    attributes, data = cloudevent(note, cd=format == "cdevents")
    if format == "cloudevents-binary":
        headers = {f"ce-{name}": quote(value, safe=" :/,-._~+%") for name, value in attributes.items()}
        headers["content-type"] = headers.pop("ce-datacontenttype")
        return headers, bytes(encode(data))
    headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
    return headers, bytes(encode({**attributes, "data": data}))


def cloudevent(note: Note, *, cd: bool = False) -> tuple[dict[str, str], dict[str, Any]]:
    """(context attributes, data). With `cd` a CDEvent where there is one for this occurrence."""
    type_ = cdevent_type(note.reason) if cd else ""
    attributes = {
        "specversion": "1.0",
        "id": note.id,
        "source": source_of(note),
        "type": type_ or f"dev.surefoot.{note.kind.lower()}.{note.reason.lower()}.v1",
        "subject": f"{note.namespace}/{note.name}" if note.namespace else note.name,
        "time": note.at,
        "datacontenttype": "application/json",
    }
    return attributes, cdevent(note, attributes, data_of(note)) if type_ else data_of(note)


def source_of(note: Note) -> str:
    """The path of the object in the API, without a host: which cluster it is, is for the receiver's URL to say."""
    space = f"/namespaces/{note.namespace}" if note.namespace else ""
    return f"/apis/{note.api_version}{space}/{note.kind.lower()}s"


def data_of(note: Note) -> dict[str, Any]:
    """A message as plain data. schemaVersion 1; fields are only added."""
    return {
        "schemaVersion": 1,
        "id": note.id,
        "reason": note.reason,
        "trigger": note.trigger,
        "severity": note.severity,
        "time": note.at,
        "title": note.title,
        "message": note.text,
        "object": {
            "apiVersion": note.api_version,
            "kind": note.kind,
            "namespace": note.namespace,
            "name": note.name,
            "uid": note.uid,
        },
        "facts": dict(note.facts),
        "images": list(note.images),
        "evidence": list(note.evidence),
    }
