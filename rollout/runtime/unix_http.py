"""HTTP over a unix socket: what admin interfaces that must not be on TCP are asked through."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from rollout.errors import Timeout, Unavailable


class UnixHttp:
    """A client of one server on a unix socket. Make it inside a running event loop; close it there."""

    def __init__(self, path: Path, *, deadline: float = 5.0) -> None:
        self._path = path
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path=str(path)),
            timeout=aiohttp.ClientTimeout(total=deadline),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def get(self, target: str) -> bytes:
        """The body of a 200 answer. Raises Unavailable for anything else, Timeout after the deadline."""
        return await self._request("GET", target)

    async def post(self, target: str) -> bytes:
        """As `get`, with POST and no body."""
        return await self._request("POST", target)

    async def _request(self, method: str, target: str) -> bytes:
        try:
            async with self._session.request(method, f"http://localhost{target}") as answer:
                body = await answer.read()
                if answer.status != 200:
                    raise Unavailable(
                        f"{method} {target} on {self._path}: HTTP {answer.status}: {body[:300]!r}"
                    )
                return body
        except TimeoutError as error:
            raise Timeout(f"{method} {target} on {self._path}: no answer in time") from error
        except aiohttp.ClientError as error:
            raise Unavailable(f"{method} {target} on {self._path}: {error}") from error

    async def close(self) -> None:
        await self._session.close()
