"""Sends by the library apprise, if it is installed. It opens its own connections, so it runs here, in a thread."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from rollout.errors import ProviderError

_KINDS = {"info": "info", "success": "success", "warning": "warning", "error": "failure"}


async def send(url: str, title: str, body: str, severity: str) -> bool:
    """Whether the message was delivered. ProviderError when apprise is not there or cannot read the URL; no text of
    ours repeats the URL, which is confidential."""
    try:
        apprise: Any = importlib.import_module("apprise")
    except ImportError:
        raise ProviderError(
            "apprise is not installed; add the extra: pip install 'surefoot[notify]'"
        ) from None
    client = apprise.Apprise()
    if not client.add(url):
        raise ProviderError("apprise cannot read the URL behind this recipient")
    kind = _KINDS.get(severity, "info")
    return bool(await asyncio.to_thread(client.notify, body=body, title=title, notify_type=kind))
