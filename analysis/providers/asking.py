"""What the providers that ask over HTTP share: headers with secrets in them, and short texts for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rollout.core.arguments import reveal
from rollout.errors import ProviderError

MAX_SHORT = 200


def headers_of(items: Iterable[Mapping[str, Any]] | None, secrets: Mapping[str, str]) -> dict[str, str]:
    """A list of {key, value} as headers, secrets put in. ProviderError when one of those cannot be in a header."""
    headers = {str(item["key"]).lower(): reveal(str(item.get("value", "")), secrets) for item in items or ()}
    check_headers(headers)
    return headers


def check_headers(headers: Mapping[str, str]) -> None:
    if any(char in value for value in headers.values() for char in "\r\n\0"):
        raise ProviderError("a header's value has a line break; look at the Secret behind it")


def short(text: str) -> str:
    """One line of at most MAX_SHORT characters."""
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= MAX_SHORT else f"{one_line[: MAX_SHORT - 1]}…"


def bare(url: str) -> str:
    """A URL without what may be confidential in it: its query and fragment."""
    return url.partition("?")[0].partition("#")[0]
