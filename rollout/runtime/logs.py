"""Structured logs: JSON lines for machines or coloured lines for people, on standard error.

Code says `structlog.get_logger().info("what happened", field=value)`. The runner binds `controller` and `key` to
whatever is logged inside a reconcile. Values are capped in length: an answer that was quoted must not fill a disk.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog

from rollout.api.codec import encode

MAX_VALUE = 2048
MAX_TRACEBACK = 16_384
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

Level = Literal["debug", "info", "warning", "error"]


def configure(
    *,
    level: Level = "info",
    format: Literal["json", "console"] = "json",
    stream: TextIO | None = None,
) -> None:
    """Set up logging for this process. Call it once, first."""
    out = stream or sys.stderr
    renderers: list[Any]
    if format == "json":
        renderers = [
            structlog.processors.format_exc_info,
            _cap,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(serializer=_json),
        ]
    else:
        renderers = [_cap, structlog.dev.ConsoleRenderer(colors=out.isatty())]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    # What libraries say through the standard module: warnings only, plain.
    logging.basicConfig(level=logging.WARNING, stream=out, force=True)


def set_level(level: Level) -> None:
    """Log from this level on."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]))


def _json(event: Any, **_: Any) -> str:
    return encode(_plain(event)).decode()


def _plain(value: Any) -> Any:
    """JSON data of whatever was logged; what is none is told by its `str`."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)


def _cap(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        limit = MAX_TRACEBACK if name == "exception" else MAX_VALUE
        if name == "exc_info" or value is None or isinstance(value, bool | int | float):
            continue
        text = value if isinstance(value, str) else str(value)
        if len(text) > limit:
            event[name] = f"{text[:limit]}… ({len(text)} characters)"
    return event
