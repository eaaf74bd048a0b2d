"""Litmus ChaosSchedule -> ours: one cron line in UTC. Facts: study/chaos.md 2.7."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from chaos.plan.calendar import next_times
from rollout.api.chaos import ChaosScheduleSpec
from rollout.api.codec import view
from rollout.api.meta import time_of, timestamp
from rollout.core.validate_schedule import validate_schedule
from rollout.importers.litmus.engine import Options, runs
from rollout.importers.report import Reader

Json = dict[str, Any]
_TOLD = 5
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def convert(reader: Reader, schedule: Json, catalogue: Mapping[str, Json], options: Options) -> list[Json]:
    """ChaosSchedules, or ChaosRuns for what runs once. Raises `report.Refused`."""
    engine = {
        "kind": "ChaosEngine",
        "metadata": dict(schedule["metadata"]),
        "spec": reader.get("spec", "engineTemplateSpec"),
    }
    if not isinstance(engine["spec"], Mapping):
        raise reader.refuse(("spec", "engineTemplateSpec"), "the engine's spec is needed here")
    inner = Reader(engine)
    try:
        made = runs(
            inner, {**engine, "spec": {**engine["spec"], "engineState": "active"}}, catalogue, options
        )
    finally:
        inner.leftovers()
        reader.notes += [_moved(note, reader.source) for note in inner.notes]
    reader.drop("spec", "concurrencyPolicy", why="Litmus ignores it too; ours forbids runs side by side")
    if reader.has("spec", "schedule", "now"):
        reader.get("spec", "schedule", "now")
        return made
    if reader.has("spec", "schedule", "once"):
        return _once(reader, made)
    return [_repeating(reader, schedule, one, options.now) for one in made]


def _moved(note: Any, source: str) -> Any:
    import msgspec

    path = (
        note.path.replace("spec", "spec.engineTemplateSpec", 1) if note.path.startswith("spec") else note.path
    )
    return msgspec.structs.replace(note, source=source, path=path)


def _once(reader: Reader, made: list[Json]) -> list[Json]:
    at = ("spec", "schedule", "once", "executionTime")
    moment = _moment(reader, at)
    for one in made:
        one["spec"]["startAt"] = moment
        reader.approximate(at, "the run waits for its time; delete it if the time is over")
    return made


def _repeating(reader: Reader, schedule: Json, run: Json, now: datetime | None) -> Json:
    base = ("spec", "schedule", "repeat")
    if not reader.has(*base):
        raise reader.refuse(("spec", "schedule"), "needs now, once or repeat")
    spec: Json = {"schedule": _cron(reader, base), "timeZone": "Etc/UTC", "concurrencyPolicy": "Forbid"}
    for field, ours in (("startTime", "notBefore"), ("endTime", "notAfter")):
        if reader.has(*base, "timeRange", field):
            spec[ours] = _moment(reader, (*base, "timeRange", field))
    reader.drop(*base, "properties", "random", why="Litmus ignores it too; `jitter` moves runs here")
    reader.approximate(
        base, "Litmus starts its first run at once when the window is open; here it waits for the cron time"
    )
    state = reader.text("spec", "scheduleState")
    if state in {"halt", "stop", "complete"}:
        spec["suspend"] = True
    spec["run"] = {"spec": run["spec"]}
    reader.info(base, f'the cron line is "{spec["schedule"]}" in UTC{_ahead(spec, now)}')
    meta = {key: value for key, value in run["metadata"].items() if key != "annotations"}
    name = schedule["metadata"].get("name", "")
    meta["annotations"] = {"surefoot.dev/imported-from": f"litmuschaos.io ChaosSchedule {name}"}
    return {"apiVersion": "surefoot.dev/v1alpha1", "kind": "ChaosSchedule", "metadata": meta, "spec": spec}


def _ahead(spec: Json, now: datetime | None) -> str:
    """The next times, in words; "" where they cannot be told (what is wrong is said when the whole is checked)."""
    if now is None or validate_schedule({"spec": spec}):
        return ""
    ahead = next_times(view(spec, ChaosScheduleSpec), now, _TOLD)
    return f"; the next times: {', '.join(timestamp(one.at) for one in ahead) or 'none'}"


def _cron(reader: Reader, base: tuple[str, ...]) -> str:
    """Minutes, hours and days of week from Litmus' three places."""
    every = (*base, "properties", "minChaosInterval")
    hours, days = _hours(reader, base), _days(reader, base)
    if reader.has(*every, "hour"):
        n = _number(reader, (*every, "hour", "everyNthHour"), 1, 23)
        minute = _number(reader, (*every, "hour", "minuteOfTheHour"), 0, 59)
        field = f"{hours}/{n}" if hours != "*" else f"*/{n}"
        return f"{minute} {field if n > 1 else hours} * * {days}"
    n = _number(reader, (*every, "minute", "everyNthMinute"), 1, 59)
    return f"{f'*/{n}' if n > 1 else '*'} {hours} * * {days}"


def _hours(reader: Reader, base: tuple[str, ...]) -> str:
    at = (*base, "workHours", "includedHours")
    text = reader.text(*at).replace(" ", "")
    if not text:
        return "*"
    if not re.fullmatch(r"[0-9]{1,2}(-[0-9]{1,2})?(,[0-9]{1,2}(-[0-9]{1,2})?)*", text):
        raise reader.refuse(at, f'"{text}" are no hours such as "9-17"')
    if "," in text and reader.has(*base, "properties", "minChaosInterval", "hour"):
        raise reader.refuse(
            at, "several ranges of hours together with everyNthHour cannot be said in one cron line"
        )
    return text


def _days(reader: Reader, base: tuple[str, ...]) -> str:
    at = (*base, "workDays", "includedDays")
    names = [part.strip().lower()[:3] for part in reader.text(*at).split(",") if part.strip()]
    if any(name not in _DAYS for name in names):
        raise reader.refuse(at, 'must be days such as "Mon,Tue"')
    return ",".join(names) or "*"


def _number(reader: Reader, at: tuple[str, ...], low: int, high: int) -> int:
    value = reader.get(*at, default=low)
    if not str(value).isdigit() or not low <= int(value) <= high:
        raise reader.refuse(at, f"must be {low} to {high}")
    return int(value)


def _moment(reader: Reader, at: tuple[str, ...]) -> str:
    text = reader.text(*at)
    try:
        moment = time_of(text)
    except ValueError:
        moment = None
    if moment is None:
        raise reader.refuse(at, f'"{text}" is no time such as "2026-11-21T14:00:00Z"')
    return timestamp(moment)
