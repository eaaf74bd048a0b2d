"""Durations as kubectl shows them: two or three significant figures."""

from __future__ import annotations

from datetime import datetime

from rollout.api.meta import time_of

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def human(seconds: float) -> str:
    """`8s`, `2m30s`, `5h10m`, `3d4h`, `2y10d`; "<invalid>" when clearly negative (clock skew below 2 s is 0s)."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 10 * _MINUTE:
        return _two(whole, _MINUTE, "m", 1, "s")
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        return _two(whole, _HOUR, "h", _MINUTE, "m")
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    if whole < 8 * _DAY:
        return _two(whole, _DAY, "d", _HOUR, "h")
    if whole < 2 * _YEAR:
        return f"{whole // _DAY}d"
    return _two(whole, _YEAR, "y", _DAY, "d") if whole < 8 * _YEAR else f"{whole // _YEAR}y"


def _two(seconds: int, big: int, big_unit: str, small: int, small_unit: str) -> str:
    rest = seconds % big // small
    return f"{seconds // big}{big_unit}" + (f"{rest}{small_unit}" if rest else "")


def since(stamp: object, now: datetime) -> str:
    """The age of an API timestamp; "<unknown>" without one, "<invalid>" when it is malformed."""
    if not stamp:
        return "<unknown>"
    moment = _moment(stamp)
    return human((now - moment).total_seconds()) if moment else "<invalid>"


def between(start: object, end: object, now: datetime) -> str:
    """How long something took, or has been going on without `end`; "" before `start`."""
    began, ended = _moment(start), _moment(end)
    return human(((ended or now) - began).total_seconds()) if began else ""


def _moment(stamp: object) -> datetime | None:
    try:
        return time_of(stamp) if isinstance(stamp, str) else None
    except (ValueError, OverflowError):
        return None
