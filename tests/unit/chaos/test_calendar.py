"""When a schedule's times are: examples for every rule, and properties against a slow and obvious reading."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.plan.calendar import HORIZON, MANY, Time, allows, next_times, past_times
from rollout.api.chaos import ChaosScheduleSpec, TemplateUse, Window

BERLIN = "Europe/Berlin"
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def spec(schedule, zone="Etc/UTC", **more):
    return ChaosScheduleSpec(schedule=schedule, run=TemplateUse(template_name="x"), time_zone=zone, **more)


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


def wall(one, after, count=3, **more):
    """The next times as the clock on the wall shows them, with the offset."""
    zone = ZoneInfo(one.time_zone)
    return [
        time.at.astimezone(zone).strftime("%a %m-%d %H:%M %z")
        for time in next_times(one, after, count, **more)
    ]


# --- cron and zone ------------------------------------------------------------------------------------


def test_a_weekly_time_keeps_its_hour_of_the_wall_over_a_change_of_clocks():
    assert wall(spec("0 14 * * TUE", BERLIN), utc(2026, 10, 15)) == [
        "Tue 10-20 14:00 +0200",
        "Tue 10-27 14:00 +0100",
        "Tue 11-03 14:00 +0100",
    ]


def test_a_time_is_later_than_after_never_equal():
    at = utc(2026, 10, 20, 12)
    assert next_times(spec("0 14 * * TUE", BERLIN), at - MINUTE, 1)[0].at == at
    assert next_times(spec("0 14 * * TUE", BERLIN), at, 1)[0].at > at


def test_a_time_that_the_clock_leaves_out_is_at_the_next_minute_that_exists():
    assert wall(spec("30 2 * * *", BERLIN), utc(2026, 3, 28, 12), 2) == [
        "Sun 03-29 03:00 +0200",
        "Mon 03-30 02:30 +0200",
    ]


def test_several_times_that_are_left_out_are_one():
    assert wall(spec("0,15,30 2-3 * * *", BERLIN), utc(2026, 3, 28, 12), 4) == [
        "Sun 03-29 03:00 +0200",
        "Sun 03-29 03:15 +0200",
        "Sun 03-29 03:30 +0200",
        "Mon 03-30 02:00 +0200",
    ]


def test_a_time_that_comes_twice_runs_once_at_the_first():
    one = spec("30 2 * * *", BERLIN)
    assert wall(one, utc(2026, 10, 24, 12), 2) == ["Sun 10-25 02:30 +0200", "Mon 10-26 02:30 +0100"]
    between = utc(2026, 10, 25, 1, 10)  # 02:10 for the second time
    assert wall(one, between, 1) == ["Mon 10-26 02:30 +0100"]


def test_steps_follow_real_time_through_the_doubled_hour():
    found = next_times(spec("*/30 * * * *", BERLIN), utc(2026, 10, 24, 23, 50), 6)
    assert [time.at for time in found] == [utc(2026, 10, 25, 0) + 30 * n * MINUTE for n in range(6)]


def test_steps_within_a_left_out_hour_do_not_run():
    assert wall(spec("*/30 2 * * *", BERLIN), utc(2026, 3, 28, 12), 1) == ["Mon 03-30 02:00 +0200"]


def test_a_clock_that_is_changed_by_half_an_hour():
    one = spec("*/15 2 * * *", "Australia/Lord_Howe")
    assert wall(one, utc(2026, 10, 3, 12), 2) == ["Sun 10-04 02:30 +1100", "Sun 10-04 02:45 +1100"]


def test_a_day_that_begins_at_one():
    assert wall(spec("0 0 * * *", "Africa/Cairo"), utc(2026, 4, 23), 2) == [
        "Fri 04-24 01:00 +0300",
        "Sat 04-25 00:00 +0300",
    ]


# --- weeks, windows, exclusions -----------------------------------------------------------------------


def test_every_second_week_is_counted_from_the_week_of_the_anchor():
    found = wall(spec("0 15 * * THU", BERLIN, every_weeks=2, anchor_date="2026-10-13"), utc(2026, 10, 1), 3)
    assert found == ["Thu 10-01 15:00 +0200", "Thu 10-15 15:00 +0200", "Thu 10-29 15:00 +0100"]


def test_weeks_are_the_zones_weeks():
    one = spec("30 0 * * MON", "Pacific/Auckland", every_weeks=2, anchor_date="2026-10-12")
    assert wall(one, utc(2026, 10, 10), 2) == ["Mon 10-12 00:30 +1300", "Mon 10-26 00:30 +1300"]


def test_windows_let_through_their_hours_from_the_first_minute_until_before_the_last():
    hours = Window(days=("Mon", "Fri"), from_="09:00", to="10:00")
    assert wall(spec("*/30 * * * *", windows=(hours,)), utc(2026, 10, 18), 5) == [
        "Mon 10-19 09:00 +0000",
        "Mon 10-19 09:30 +0000",
        "Fri 10-23 09:00 +0000",
        "Fri 10-23 09:30 +0000",
        "Mon 10-26 09:00 +0000",
    ]


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins():
    night = spec("0 * * * *", windows=(Window(days=("Sat",), from_="22:00", to="02:00"),))
    assert wall(night, utc(2026, 10, 15), 4) == [
        "Sat 10-17 22:00 +0000",
        "Sat 10-17 23:00 +0000",
        "Sun 10-18 00:00 +0000",
        "Sun 10-18 01:00 +0000",
    ]


def test_excluded_dates_and_ranges_are_left_out_to_their_last_day_in_the_zone():
    one = spec("0 0 * * *", BERLIN, exclude=("2026-12-22", "2026-12-24/2027-01-02"))
    assert wall(one, utc(2026, 12, 20, 23), 3) == [
        "Wed 12-23 00:00 +0100",
        "Sun 01-03 00:00 +0100",
        "Mon 01-04 00:00 +0100",
    ]


def test_no_time_comes_before_the_first_moment_or_after_the_last():
    one = spec("0 14 * * *", not_before="2026-10-21T14:00:00Z", not_after="2026-10-23T14:00:00Z")
    assert wall(one, utc(2026, 10, 1), 9) == [
        "Wed 10-21 14:00 +0000",
        "Thu 10-22 14:00 +0000",
        "Fri 10-23 14:00 +0000",
    ]
    assert not allows(one, utc(2026, 10, 21, 13, 59))
    assert not allows(one, utc(2026, 10, 23, 14, 1))


@pytest.mark.parametrize(("first", "expected"), [("00", "14:00"), ("30", "14:01")])
def test_a_bound_between_two_minutes_is_kept_to_the_second(first, expected):
    one = spec("* * * * *", not_before=f"2026-10-21T14:00:{first}Z")
    assert wall(one, utc(2026, 10, 1), 1) == [f"Wed 10-21 {expected} +0000"]


def test_a_bound_beyond_the_horizon_means_that_nothing_comes():
    assert next_times(spec("* * * * *", not_before="9999-12-31T23:59:59Z"), utc(2026, 10, 1), 1) == ()


def test_jitter_does_not_move_a_time_behind_the_last_moment():
    one = spec("0 14 * * *", jitter="6h", not_after="2026-10-23T14:00:00Z")
    found = next_times(one, utc(2026, 10, 1), 50, uid="x")
    assert found[-1].at == found[-1].nominal == utc(2026, 10, 23, 14)


def test_allows_asks_of_any_moment_not_only_of_times():
    one = spec("0 14 * * *", BERLIN, windows=(Window(from_="14:00", to="16:00"),), exclude=("2026-10-22",))
    assert allows(one, utc(2026, 10, 20, 13, 59))
    assert not allows(one, utc(2026, 10, 20, 14))
    assert not allows(one, utc(2026, 10, 22, 12, 30))


@pytest.mark.parametrize(
    "never",
    [
        spec("0 0 29 2 *", exclude=("2026-01-01/2060-01-01",)),
        spec("* 3 * * *", windows=(Window(from_="09:00", to="17:00"),)),
        spec("0 0 1 1 *", every_weeks=400, anchor_date="2026-06-01"),
    ],
)
def test_what_never_comes_ends_the_search(never):
    assert next_times(never, utc(2026, 10, 1), 5) == ()


def test_a_far_time_is_found_and_one_beyond_the_horizon_is_not():
    assert [time.at for time in next_times(spec("0 0 29 2 *"), utc(2026, 10, 1), 5)] == [utc(2028, 2, 29)]


@pytest.mark.parametrize("bad", ["0 14 * *", "@daily", "61 * * * *", "0 0 0 * * *", ""])
def test_what_is_no_cron_expression_of_five_fields_is_refused(bad):
    with pytest.raises(ValueError, match=r"five fields|not a cron expression"):
        next_times(spec(bad), utc(2026, 10, 1), 1)


# --- jitter -------------------------------------------------------------------------------------------


def test_jitter_is_the_same_each_time_it_is_asked_and_differs_between_schedules_and_times():
    one = spec("0 14 * * *", jitter="1h")
    first = next_times(one, utc(2026, 10, 1), 5, uid="a")
    assert first == next_times(one, utc(2026, 10, 1), 5, uid="a")
    assert first[1:] == next_times(one, first[0].nominal, 4, uid="a")
    moves = {time.at - time.nominal for time in first}
    assert len(moves) == 5
    assert all(timedelta(0) <= move < timedelta(hours=1) for move in moves)
    assert first != next_times(one, utc(2026, 10, 1), 5, uid="b")


def test_jitter_never_leaves_a_window():
    one = spec("0 14 * * *", jitter="12h", windows=(Window(from_="14:00", to="14:30"),))
    for time in next_times(one, utc(2026, 10, 1), 50, uid="a"):
        assert time.nominal <= time.at < time.nominal + timedelta(minutes=30)


# --- the past -----------------------------------------------------------------------------------------


def test_past_times_are_those_that_have_begun():
    one = spec("0 14 * * *")
    found, all_of_them = past_times(one, utc(2026, 10, 1, 14), utc(2026, 10, 3, 14), since=utc(2026, 10, 3))
    assert [time.nominal for time in found] == [utc(2026, 10, 2, 14), utc(2026, 10, 3, 14)]
    assert all_of_them


def test_a_time_that_waits_for_its_jitter_has_not_begun():
    one = spec("0 14 * * *", jitter="1h")
    (time,) = next_times(one, utc(2026, 10, 1), 1, uid="a")
    assert time.at > time.nominal
    assert (
        past_times(one, utc(2026, 10, 1), time.at - timedelta(seconds=1), since=utc(2026, 10, 1), uid="a")[0]
        == ()
    )
    assert past_times(one, utc(2026, 10, 1), time.at, since=utc(2026, 10, 1), uid="a")[0] == (time,)


def test_very_many_missed_times_are_not_told_one_by_one():
    now = utc(2026, 10, 1)
    found, all_of_them = past_times(spec("* * * * *"), now - 300 * DAY, now, since=now - 5 * MINUTE)
    assert not all_of_them
    assert [time.nominal for time in found] == [now - n * MINUTE for n in (4, 3, 2, 1, 0)]
    assert len(past_times(spec("* * * * *"), now - 300 * DAY, now, since=now - DAY)[0]) == MANY


# --- properties ---------------------------------------------------------------------------------------

ZONES = [
    BERLIN,
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Etc/UTC",
    "Asia/Kolkata",
    "America/Santiago",
]
CHANGES = [
    utc(2026, 3, 7),
    utc(2026, 3, 28),
    utc(2026, 4, 4),
    utc(2026, 4, 23),
    utc(2026, 9, 5),
    utc(2026, 10, 3),
    utc(2026, 10, 24),
    utc(2026, 10, 30),
    utc(2026, 11, 1),
]


@st.composite
def field(draw, low, high):
    kind = draw(st.sampled_from(["*", "value", "list", "range", "step"]))
    value = st.integers(low, high)
    match kind:
        case "*":
            return "*", set(range(low, high + 1))
        case "value":
            one = draw(value)
            return str(one), {one}
        case "list":
            some = draw(st.lists(value, min_size=1, max_size=4))
            return ",".join(map(str, some)), set(some)
        case "range":
            first, last = sorted((draw(value), draw(value)))
            return f"{first}-{last}", set(range(first, last + 1))
        case _:
            step = draw(st.integers(1, 30))
            return f"*/{step}", set(range(low, high + 1, step))


def oracle(minutes, hours, weekdays, real_time, zone, start, end):
    """Minute by minute: every moment whose wall time matches, by the rules in the module's docstring."""
    found, moment = [], start + MINUTE

    def matches(local):
        return local.minute in minutes and local.hour in hours and local.isoweekday() % 7 in weekdays

    def local_of(moment):
        return moment.astimezone(zone)

    while moment <= end:
        local, before = local_of(moment), local_of(moment - MINUTE)
        hit = matches(local)
        if not real_time:
            if local.fold:
                hit = False
            gap = local.replace(tzinfo=None) - before.replace(tzinfo=None) - MINUTE
            skipped = [before.replace(tzinfo=None) + n * MINUTE for n in range(1, int(gap / MINUTE) + 1)]
            hit = hit or any(matches(one) for one in skipped)
        if hit:
            found.append(moment)
        moment += MINUTE
    return found


@settings(max_examples=40, deadline=None)
@given(
    field(0, 59),
    field(0, 23),
    field(0, 6),
    st.sampled_from(ZONES),
    st.sampled_from(CHANGES),
    st.integers(0, 1440),
)
def test_cron_in_a_zone_is_what_a_walk_over_all_minutes_finds(minute, hour, weekday, zone, start, shift):
    start += shift * MINUTE
    end = start + 2 * DAY
    one = spec(f"{minute[0]} {hour[0]} * * {weekday[0]}", zone)
    real_time = minute[0].startswith("*") or hour[0].startswith("*")
    expected = oracle(minute[1], hour[1], weekday[1], real_time, ZoneInfo(zone), start, end)
    found = [time.at for time in next_times(one, start, len(expected) + 1)]
    assert [moment for moment in found if moment <= end] == expected


days = st.dates(date(2026, 9, 1), date(2026, 12, 1))
hours = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))
windows = st.builds(
    Window,
    days=st.lists(st.sampled_from(["Mon", "Wed", "Sat", "Sun"]), unique=True).map(tuple),
    from_=hours,
    to=hours,
)
SPECS = st.builds(
    spec,
    st.sampled_from(["0 14 * * *", "*/17 * * * *", "30 2 * * 0,3", "5 0,12 * * *"]),
    st.sampled_from(ZONES),
    every_weeks=st.integers(1, 3),
    anchor_date=days.map(str),
    windows=st.lists(windows, max_size=2).map(tuple),
    exclude=st.lists(days.map(str), max_size=3).map(tuple),
    not_before=st.just("") | days.map("{}T07:03:20Z".format),
    not_after=st.just("") | days.map("{}T19:30:00+02:00".format),
    jitter=st.sampled_from(["", "90s", "45m", "6h"]),
)


@settings(max_examples=50, deadline=None)
@given(SPECS, days, st.text(max_size=3))
def test_times_are_allowed_ordered_and_found_again_from_any_of_them(one, start, uid):
    after = datetime(start.year, start.month, start.day, tzinfo=UTC)
    found = next_times(one, after, 6, uid=uid)
    assert all(allows(one, time.nominal) and allows(one, time.at) for time in found)
    assert all(after < time.nominal <= time.at <= after + HORIZON + DAY for time in found)
    for earlier, later in pairwise(found):
        assert earlier.at < later.nominal
        assert next_times(one, earlier.nominal, 1, uid=uid) == (later,)
    if found:
        seen, whole = past_times(one, after, found[-1].at, since=after, uid=uid)
        assert (seen, whole) == (found, True)


@settings(max_examples=40, deadline=None)
@given(SPECS, days)
def test_jumping_over_what_is_not_allowed_loses_nothing(one, start):
    """The same schedule without rules, each of its times asked on its own."""
    after = datetime(start.year, start.month, start.day, tzinfo=UTC)
    free = ChaosScheduleSpec(schedule=one.schedule, run=one.run, time_zone=one.time_zone)
    every = [time.at for time in next_times(free, after, 300)]
    expected = [moment for moment in every if allows(one, moment)]
    found = [time.nominal for time in next_times(one, after, len(expected) + 1)]
    assert [moment for moment in found if moment <= every[-1]] == expected


def test_a_time_is_ordered_by_its_nominal_moment():
    early, late = utc(2026, 1, 1), utc(2026, 1, 2)
    assert Time(early, late) < Time(late, late)
