"""Every rule of a ChaosSchedule: one wrong value, one problem that names it."""

from __future__ import annotations

import pytest

from rollout.core.validate_schedule import validate_schedule

WEB = {"web": {"url": "http://myapp/health"}}


def schedule(**changes):
    spec = {
        "schedule": "0 14 * * TUE",
        "timeZone": "Europe/Berlin",
        "everyWeeks": 2,
        "anchorDate": "2026-10-13",
        "jitter": "5m",
        "windows": [{"days": ["Tue"], "from": "09:00", "to": "24:00"}],
        "exclude": ["2026-12-24", "2026-12-27/2027-01-03"],
        "notBefore": "2026-10-01T00:00:00+02:00",
        "notAfter": "2027-10-01T00:00:00Z",
        "startingDeadlineSeconds": 600,
        "run": {"templateName": "kill"},
        "preChecks": [{"name": "health", "provider": WEB}],
        "postChecks": [{"name": "latency", "mode": "End", "provider": WEB}],
    }
    return {"spec": {name: value for name, value in (spec | changes).items() if value is not ...}}


def test_a_schedule_that_uses_everything_is_right():
    assert validate_schedule(schedule()) == []


def test_the_smallest_schedule_is_right():
    assert validate_schedule({"spec": {"schedule": "0 0 * * *", "run": {"spec": {}}}}) == []


@pytest.mark.parametrize(
    ("changes", "path", "said"),
    [
        ({"schedule": ...}, "spec.schedule", "must be set"),
        ({"schedule": "@weekly"}, "spec.schedule", "five fields"),
        ({"schedule": "0 25 * * *"}, "spec.schedule", "Bad hour"),
        ({"timeZone": "Berlin"}, "spec.timeZone", "IANA"),
        ({"timeZone": "../etc/passwd"}, "spec.timeZone", "IANA"),
        ({"timeZone": ""}, "spec.timeZone", "IANA"),
        ({"anchorDate": ...}, "spec.anchorDate", "everyWeeks counts from"),
        ({"anchorDate": "13.10.2026"}, "spec.anchorDate", "is not a date"),
        ({"anchorDate": "2026-02-30"}, "spec.anchorDate", "does not exist"),
        ({"everyWeeks": 0}, "spec.everyWeeks", "at least 1"),
        ({"jitter": "5 minutes"}, "spec.jitter", "is not a duration"),
        ({"jitter": "-5m"}, "spec.jitter", "longer than nothing"),
        ({"exclude": ["2027-01-03/2026-12-27"]}, "spec.exclude[0]", "ends before it begins"),
        ({"notBefore": "2026-10-01"}, "spec.notBefore", "RFC 3339"),
        ({"notBefore": "2026-10-01T12:00:00"}, "spec.notBefore", "RFC 3339"),
        ({"notBefore": "0001-01-01T00:00:00+14:00"}, "spec.notBefore", "RFC 3339"),
        ({"notAfter": "2027-13-01T00:00:00Z"}, "spec.notAfter", "RFC 3339"),
        ({"notAfter": "2026-09-30T21:59:59Z"}, "spec.notAfter", "before notBefore"),
        ({"startingDeadlineSeconds": 5}, "spec.startingDeadlineSeconds", "10 to 604800"),
        ({"windows": [{"days": ["tuesday"]}]}, "spec.windows[0].days[0]", "Mon, Tue"),
        ({"windows": [{"from": "9:00"}]}, "spec.windows[0].from", "09:00"),
        ({"windows": [{"from": "24:00"}]}, "spec.windows[0].from", "end of a day"),
        (
            {"windows": [{"from": "09:00", "to": "09:00"}]},
            "spec.windows[0].to",
            "also when the window begins",
        ),
        ({"run": {}}, "spec.run", "exactly one"),
        ({"run": {"templateName": "x", "spec": {}}}, "spec.run", "exactly one"),
        ({"preChecks": [{"name": "a", "mode": "During"}]}, "spec.preChecks[0].mode", "mode Start"),
        ({"postChecks": [{"name": "a", "mode": "Start"}]}, "spec.postChecks[0].mode", "mode End"),
        ({"preChecks": [{"name": "latency"}]}, "spec.postChecks[0].name", "two checks"),
        ({"concurrencyPolicy": "Allow"}, "spec.concurrencyPolicy", "Forbid"),
        ({"colour": "red"}, "spec.colour", "unknown field"),
    ],
)
def test_what_is_wrong_is_named_with_its_path(changes, path, said):
    (problem,) = validate_schedule(schedule(**changes))
    assert problem.path == path
    assert said in problem.message


def test_a_schedule_without_a_spec_is_a_problem():
    assert validate_schedule({})[0].path == "spec"
