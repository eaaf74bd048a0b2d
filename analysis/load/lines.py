"""The lines that a load test prints, and what they mean. One JSON object per line, marked by its first key.

{"surefoot": "progress", "seconds": 42, "of": 60, "users": 9, "rps": 198.2, "p95": 41.3, "requests": ..., "failRatio": ...}
{"surefoot": "timeline", "start": ..., "step": 1, "duration": 60, "rows": [{"t": 0, "rps": ..., "failRatio": ..., "p95": ...}]}
{"surefoot": "result", "rps": ..., "requests": ..., ...}     the last one
{"surefoot": "failed", "reason": "..."}                      instead, when there is no result
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

Kind = Literal["progress", "timeline", "result", "failed"]
_MARK = "surefoot"


class Said(msgspec.Struct, frozen=True):
    """What a load test has said so far; empty where it has not said that yet. `other` are lines of anybody else."""

    progress: Mapping[str, Any] = {}
    timeline: Mapping[str, Any] = {}
    result: Mapping[str, Any] = {}
    failed: str = ""
    other: tuple[str, ...] = ()

    @property
    def last_words(self) -> str:
        """The last lines that are not ours: where locust says why it ended."""
        return " | ".join(self.other[-3:])[-600:]


def line(kind: Kind, data: Mapping[str, Any]) -> str:
    """One line."""
    return json.dumps({_MARK: kind, **data}, ensure_ascii=False, separators=(",", ":"))


def read(lines: Iterable[str]) -> Said:
    """The latest of each kind. A line that was cut, or that somebody else wrote, is one of the others."""
    latest: dict[str, Mapping[str, Any]] = {}
    other: list[str] = []
    for text in lines:
        found = _ours(text)
        if found is not None:
            latest[found.pop(_MARK)] = found
        elif text.strip():
            other.append(text.strip())
    return Said(
        latest.get("progress", {}),
        latest.get("timeline", {}),
        latest.get("result", {}),
        str(latest.get("failed", {}).get("reason", "")),
        tuple(other),
    )


def _ours(text: str) -> dict[str, Any] | None:
    if not text.startswith(f'{{"{_MARK}":'):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    known = isinstance(found, dict) and found.get(_MARK) in ("progress", "timeline", "result", "failed")
    return found if known else None


def progress_text(progress: Mapping[str, Any]) -> str:
    """A sentence for people: "42 s of 60 s, 198 requests/s, 0.3 % failed, p95 41 ms"."""
    return (
        f"{progress['seconds']} s of {progress['of']} s, {number(progress['rps'])} requests/s, "
        f"{percent(progress['failRatio'])} failed, p95 {number(progress['p95'])} ms"
    )


def summary_text(result: Mapping[str, Any]) -> str:
    """The result as one sentence."""
    wanted = f" (wanted {number(result['wantedRps'])})" if result.get("wantedRps") else ""
    return (
        f"{result['requests']} requests in {number(result['duration'])} s, "
        f"{number(result['achievedRps'])}/s{wanted}, {percent(result['failRatio'])} failed, "
        f"p50 {number(result['p50'])} ms, p95 {number(result['p95'])} ms, p99 {number(result['p99'])} ms"
    )


def undecided(result: Mapping[str, Any]) -> str:
    """Why a result decides nothing; "" when the wanted load was there."""
    if result["reached"]:
        return ""
    if result["model"] == "open":
        dropped = f", {result['dropped']} found no free user" if result["dropped"] else ""
        return (
            f"the load was not reached: {number(result['achievedRps'])} of {number(result['wantedRps'])} requests/s"
            f"{dropped}; add workers, or ask for less"
        )
    if not result["requests"]:
        return "the load was not reached: no request was made"
    return f"the load was not reached: only {result['users']} users were started; spawn faster, or run longer"


def number(value: float) -> str:
    """Three significant digits are enough to look at: 198, 41.3, 0.52."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percent(ratio: float) -> str:
    """A ratio (0..1) in percent; never "0 %" for more than none, never "100 %" for less than all."""
    share = ratio * 100
    if 0 < share < 0.01:
        return "<0.01 %"
    if 99.99 < share < 100:
        return ">99.99 %"
    return f"{share:.2f}".rstrip("0").rstrip(".") + " %"
