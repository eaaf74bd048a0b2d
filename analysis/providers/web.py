"""The provider `web`: a value out of an HTTP answer. study/argo-rollouts.md 1.7.

value in the conditions: what `jsonPath` leads to (nothing: nil; several: a list), without one the whole document, and the
raw text where the answer is no JSON. Any status but 2xx is an Error. Redirects are not followed.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus, urlencode

from analysis.providers.asking import bare, check_headers, headers_of
from analysis.providers.base import MAX_BODY, Fetch, Reading
from rollout.api.analysis import Metric
from rollout.api.codec import decode, encode
from rollout.core import jsonpath
from rollout.core.arguments import reveal
from rollout.core.checks import whole
from rollout.errors import ProviderError
from rollout.runtime.http import Request

DEFAULT_TIMEOUT_SECONDS = 10


class Web:
    """Asks URLs that users wrote; `fetch` is to be guarded."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    def asked(self, metric: Metric) -> dict[str, str]:
        body = metric.provider["web"]
        asked = {"url": f"{body.get('method') or 'GET'} {bare(str(body['url']))}"}
        return asked | ({"jsonPath": str(body["jsonPath"])} if body.get("jsonPath") else {})

    async def measure(self, metric: Metric, secrets: Mapping[str, str], now: datetime) -> Reading:
        body = metric.provider["web"]
        timeout = float(whole(body.get("timeoutSeconds")) or DEFAULT_TIMEOUT_SECONDS)
        headers = headers_of(body.get("headers"), secrets)
        if oauth := (body.get("authentication") or {}).get("oauth2"):
            headers["authorization"] = f"Bearer {await self._token(oauth, secrets, timeout)}"
        if body.get("jsonBody") is not None:
            headers.setdefault("content-type", "application/json")
        request = Request(
            url=str(body["url"]),
            method=str(body.get("method") or "GET"),
            headers=headers,
            body=_content(body),
            verify=not body.get("insecure", False),
        )
        answer = await self._fetch(request, deadline=timeout, max_bytes=MAX_BODY)
        return read(answer.status, answer.body, str(body.get("jsonPath") or ""), bare(request.url))

    async def _token(self, oauth: Mapping[str, Any], secrets: Mapping[str, str], seconds: float) -> str:
        """An access token by the client credentials grant (RFC 6749, 4.4), the client in HTTP Basic (2.3.1)."""
        client, secret = (
            quote_plus(reveal(str(oauth.get(field, "")), secrets)) for field in ("clientId", "clientSecret")
        )
        form = {"grant_type": "client_credentials"}
        if scopes := oauth.get("scopes"):
            form["scope"] = " ".join(map(str, scopes))
        url = str(oauth["tokenUrl"])
        request = Request(
            url=url,
            method="POST",
            headers={
                "authorization": f"Basic {base64.b64encode(f'{client}:{secret}'.encode()).decode()}",
                "content-type": "application/x-www-form-urlencoded",
                "accept": "application/json",
            },
            body=urlencode(form).encode(),
        )
        answer = await self._fetch(request, deadline=seconds, max_bytes=MAX_BODY)
        try:
            said = decode(answer.body)
        except ValueError:
            said = None
        token = said.get("access_token") if isinstance(said, dict) else None
        if answer.status != 200 or not isinstance(token, str) or not token:
            raise ProviderError(
                f"{bare(url)} gave no access token (HTTP {answer.status}); look at the credentials"
            )
        check_headers({"authorization": token})
        return token


def _content(body: Mapping[str, Any]) -> bytes | None:
    if body.get("jsonBody") is not None:
        return bytes(encode(body["jsonBody"]))
    return str(body["body"]).encode() if body.get("body") else None


def read(status: int, body: bytes, path: str, url: str) -> Reading:
    """The value in an answer. ProviderError when there is none to be trusted; nothing of the answer is in its text."""
    if 300 <= status < 400:
        raise ProviderError(f"{url} answered HTTP {status}, a redirect; give the address that it leads to")
    if not 200 <= status < 300:
        raise ProviderError(f"{url} answered HTTP {status}")
    try:
        document = decode(body)
    except (ValueError, RecursionError):
        if path:
            raise ProviderError(f"{url} did not answer with JSON, so jsonPath {path} leads nowhere") from None
        return Reading(body.decode("utf-8", "replace"))
    if not path:
        return Reading(document)
    try:
        found = jsonpath.find(jsonpath.compiled(path), document)
    except ValueError as error:
        raise ProviderError(str(error)) from None
    return Reading(found[0] if len(found) == 1 else found or None)
