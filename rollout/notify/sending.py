"""Carries a request out, bounded in time and size, and says what became of it without giving anything away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol
from urllib.parse import urlsplit

from rollout.errors import NoAnswer, ProviderError
from rollout.notify.message import Answer, Post, Refused, Sent
from rollout.notify.services.apprise import SCHEME
from rollout.notify.services.base import Service
from rollout.runtime.apprising import send as send_by_apprise
from rollout.runtime.http import Request, Response

SECONDS = 10.0
MAX_ANSWER = 64 * 1024
HIDDEN = "***"
MIN_SECRET = 4
"""Shorter ones are not looked for in texts: they would be found everywhere."""


class Fetch(Protocol):
    """`GuardedFetch.fetch`."""

    async def __call__(self, request: Request, *, deadline: float, max_bytes: int) -> Response: ...


async def send(post: Post, service: Service, fetch: Fetch, secrets: Iterable[str]) -> Answer:
    """Send it once."""
    if post.url.startswith(f"{SCHEME}:"):
        return await _by_apprise(post)
    request = Request(
        url=post.url, method=post.method, headers=dict(post.headers), body=post.body, verify=post.verify
    )
    try:
        answer = await fetch(request, deadline=SECONDS, max_bytes=MAX_ANSWER)
    except ProviderError as error:
        # A host that may not be asked stays forbidden, but a name may be resolved the next time.
        text = scrubbed(bare(str(error), post.url), secrets)
        return Refused(text, again=isinstance(error, NoAnswer) or "resolved" in text)
    return service.read(answer.status, answer.headers, answer.body)


async def _by_apprise(post: Post) -> Answer:
    try:
        async with asyncio.timeout(SECONDS):
            sent = await send_by_apprise(
                post.url.removeprefix(f"{SCHEME}:"),
                post.headers["title"],
                post.body.decode(),
                post.headers["severity"],
            )
    except TimeoutError:
        return Refused(f"no answer within {SECONDS:g} s", again=True)
    except ProviderError as error:
        return Refused(str(error))
    return Sent() if sent else Refused("apprise could not deliver it", again=True)


def bare(text: str, url: str) -> str:
    """A text without what follows the host in `url`: incoming webhooks have their secret in the path."""
    try:
        parts = urlsplit(url)
        host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except ValueError:
        return text.replace(url, HIDDEN)
    return text.replace(f"{host}{parts.path}", host)


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """A text without secrets."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= MIN_SECRET:
            text = text.replace(secret, HIDDEN)
    return text
