"""What must be true of a ChaosSchedule. The run that it makes is checked when it is made (`chaos.plan.template`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from rollout.api.chaos import ChaosScheduleSpec
from rollout.api.fields import fields_of
from rollout.core import dates, structure
from rollout.core.checks import check_duration
from rollout.core.problem import Problem, invalid, required

MIN_DEADLINE, MAX_DEADLINE = 10, 7 * 24 * 3600
_ANY_TIME = datetime(2000, 1, 1)  # noqa: DTZ001 - only to have the expression read
_MODES = {"preChecks": "Start", "postChecks": "End"}


def validate_schedule(obj: Mapping[str, Any]) -> list[Problem]:
    """The problems of a ChaosSchedule (plain data); [] when it is right."""
    spec = obj.get("spec")
    if found := list(structure.check(spec, fields_of(ChaosScheduleSpec), "spec")):
        return found
    assert isinstance(spec, Mapping)
    return [*_when(spec), *_windows(spec), *_run(spec), *_checks(spec)]


def _when(spec: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _read(spec["schedule"], "spec.schedule", lambda text: dates.cron(text, _ANY_TIME))
    yield from _read(spec.get("timeZone", "Etc/UTC"), "spec.timeZone", dates.zone)
    if anchor := spec.get("anchorDate"):
        yield from _read(anchor, "spec.anchorDate", dates.day)
    elif spec.get("everyWeeks", 1) > 1:
        fix = "write a date of a week in which it should run"
        yield required("spec.anchorDate", "everyWeeks counts from the week of this date", fix)
    for index, text in enumerate(spec.get("exclude") or ()):
        yield from _read(text, f"spec.exclude[{index}]", dates.dates)
    yield from _bounds(spec)
    yield from check_duration(spec.get("jitter"), "spec.jitter", positive=False)
    deadline = spec.get("startingDeadlineSeconds")
    if deadline is not None and not MIN_DEADLINE <= deadline <= MAX_DEADLINE:
        rule = f"must be {MIN_DEADLINE} to {MAX_DEADLINE} seconds"
        yield invalid("spec.startingDeadlineSeconds", deadline, rule)


def _bounds(spec: Mapping[str, Any]) -> Iterator[Problem]:
    given = {field: spec[field] for field in ("notBefore", "notAfter") if spec.get(field)}
    wrong = [one for field, text in given.items() for one in _read(text, f"spec.{field}", dates.moment)]
    yield from wrong
    if len(given) == 2 and not wrong and dates.moment(given["notBefore"]) > dates.moment(given["notAfter"]):
        yield invalid("spec.notAfter", given["notAfter"], "is before notBefore: no run could ever begin")


def _windows(spec: Mapping[str, Any]) -> Iterator[Problem]:
    for index, window in enumerate(spec.get("windows") or ()):
        path = f"spec.windows[{index}]"
        for number, day in enumerate(window.get("days") or ()):
            yield from _read(day, f"{path}.days[{number}]", dates.weekday)
        for field in ("from", "to"):
            if text := window.get(field):
                yield from _read(text, f"{path}.{field}", dates.minute_of_day)
        if (begin := window.get("from")) == "24:00":
            yield invalid(f"{path}.from", begin, "is the end of a day", 'write "00:00" and the next day')
        elif begin and begin == window.get("to"):
            yield invalid(
                f"{path}.to", begin, "is also when the window begins", "leave both out for a whole day"
            )


def _run(spec: Mapping[str, Any]) -> Iterator[Problem]:
    run = spec["run"]
    if bool(run.get("templateName")) == (run.get("spec") is not None):
        fix = "write templateName with args, or spec"
        yield required("spec.run", "exactly one of templateName and spec is needed", fix)


def _checks(spec: Mapping[str, Any]) -> Iterator[Problem]:
    seen: set[str] = set()
    for field, mode in _MODES.items():
        for index, check in enumerate(spec.get(field) or ()):
            path = f"spec.{field}[{index}]"
            if check.get("mode", mode) != mode:
                fix = "leave it out, or put the probe into the run itself"
                yield invalid(f"{path}.mode", check["mode"], f"{field} are measured in mode {mode}", fix)
            if check["name"] in seen:
                yield invalid(
                    f"{path}.name", check["name"], "two checks have this name", "rename one of the two"
                )
            seen.add(check["name"])


def _read(value: str, path: str, read: Callable[[str], Any]) -> Iterator[Problem]:
    try:
        read(value)
    except ValueError as error:
        rule, _, fix = str(error).partition("; ")
        yield invalid(path, value, rule, fix)
