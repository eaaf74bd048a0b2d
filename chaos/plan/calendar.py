"""When a ChaosSchedule's times are: cron, zone, weeks, windows, excluded dates, bounds and jitter. Pure.

A time has two moments: `nominal`, where the cron expression puts it and by which it is known, and `at`, when it
begins after jitter. Times are strictly ordered by both, and no time's `at` reaches the next one's `nominal`.

Daylight saving follows Debian's cron (https://manpages.debian.org/cron.8): an expression whose minute and hour both
name values ("30 2 * * *") runs once a day whatever the clock does: at the next minute that exists when its own is
left out, and at the first of two when it comes twice. An expression with a star or step in minute or hour
("*/15 * * * *") follows real time: minutes that are left out do not run, minutes that come twice run twice.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain, islice, pairwise

import msgspec

from rollout.api.chaos import ChaosScheduleSpec, Window
from rollout.api.meta import duration
from rollout.core import dates

HORIZON = timedelta(days=5 * 365 + 1)
"""How far ahead is looked for a time."""
MANY = 500
"""More missed times than this are not told one by one."""
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)
_FOLD = timedelta(hours=3)
"""Longer than any clock is put back."""


class Time(msgspec.Struct, frozen=True, order=True):
    """One time of a schedule, in UTC."""

    nominal: datetime
    at: datetime


def next_times(spec: ChaosScheduleSpec, after: datetime, count: int, *, uid: str = "") -> tuple[Time, ...]:
    """The next `count` times whose nominal moment is later than `after`; fewer when the horizon comes first.

    `uid` is the schedule's: jitter is computed from it. ValueError when the spec is not valid.
    """
    return tuple(islice(_times(spec, after, uid), count))


def past_times(
    spec: ChaosScheduleSpec, after: datetime, until: datetime, *, since: datetime, uid: str = ""
) -> tuple[tuple[Time, ...], bool]:
    """The times with nominal > `after` and at <= `until`, oldest first; and whether these are all.

    When they are too many to tell, only those after `since` are returned (and at most the last of `MANY`).
    """
    found = list(islice(_begun(spec, after, until, uid), MANY + 1))
    if len(found) <= MANY:
        return tuple(found), True
    latest = list(_begun(spec, max(after, since), until, uid))
    return tuple(latest[-MANY:]), False


def allows(spec: ChaosScheduleSpec, moment: datetime) -> bool:
    """Whether the weeks, windows, excluded dates and bounds of the schedule let a run begin at this moment."""
    return _Rules(spec).opens(moment) is None


def _begun(spec: ChaosScheduleSpec, after: datetime, until: datetime, uid: str) -> Iterator[Time]:
    for one in _times(spec, after, uid, until):
        if one.at > until:
            return
        yield one


def _times(
    spec: ChaosScheduleSpec, after: datetime, uid: str, until: datetime | None = None
) -> Iterator[Time]:
    """All times up to the horizon; no others than those up to `until` need be looked for."""
    rules = _Rules(spec)
    spread = int(duration(spec.jitter)) if spec.jitter else 0
    if not spread:
        yield from (Time(one, one) for one in rules.nominal(after, until or after + HORIZON))
        return
    nominal = rules.nominal(after, after + HORIZON)
    for one, following in pairwise(chain(nominal, [None])):
        assert one is not None  # None is what comes after the last
        room = spread if following is None else int((following - one).total_seconds())
        yield Time(one, rules.moved(one, min(spread, room), uid))


class _Rules:
    """A spec, read."""

    def __init__(self, spec: ChaosScheduleSpec) -> None:
        self._cron = spec.schedule
        self._zone = dates.zone(spec.time_zone)
        self._every = spec.every_weeks
        self._anchor = _monday(dates.day(spec.anchor_date)) if spec.every_weeks > 1 else date.min
        self._windows = tuple(_Hours(one) for one in spec.windows)
        self._excluded = tuple(dates.dates(one) for one in spec.exclude)
        self._first = dates.moment(spec.not_before) if spec.not_before else None
        self._last = dates.moment(spec.not_after) if spec.not_after else None

    def nominal(self, after: datetime, end: datetime) -> Iterator[datetime]:
        """Allowed moments later than `after` and up to `end`. Stretches that are not allowed are jumped over."""
        since: datetime | None = after
        end = min(end, self._last or end)
        while since is not None and since < end:
            jump = None
            for moment in self._ticks(since):
                if moment > end:
                    return
                if (jump := self.opens(moment)) is not None:
                    break
                yield moment
            since = jump - _MINUTE if jump is not None else None

    def _ticks(self, after: datetime) -> Iterator[datetime]:
        """What the cron expression alone names, later than `after`, in order and each moment once."""
        last = after
        for moment in self._in_order(after):
            if moment > last:
                last = moment
                yield moment

    def _in_order(self, after: datetime) -> Iterator[datetime]:
        """The clock on the wall is walked along; the second round of hours that come twice waits in a heap."""
        wall = after.astimezone(self._zone).replace(tzinfo=None) - _FOLD
        ticks = dates.cron(self._cron, wall)
        minute, hour, *_ = self._cron.split()
        real_time = minute.startswith("*") or hour.startswith("*")
        second: list[datetime] = []
        for tick in ticks:
            local = tick.replace(tzinfo=self._zone)
            early, late = local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)
            exists = early.astimezone(self._zone).replace(tzinfo=None) == tick
            while second and second[0] <= early:
                yield heapq.heappop(second)
            if exists:
                yield early
                if real_time and late > early:
                    heapq.heappush(second, late)
            elif not real_time:
                # The offset from before the change puts a minute that is left out as far behind the change.
                yield self._first_after_gap(late, early)

    def _first_after_gap(self, before: datetime, behind: datetime) -> datetime:
        """The moment of the change: the only one between the two at which the offset differs from the minute before."""
        offset = before.astimezone(self._zone).utcoffset()
        while before < behind and before.astimezone(self._zone).utcoffset() == offset:
            before += _MINUTE
        return before

    def opens(self, moment: datetime) -> datetime | None:
        """None where a run may begin; otherwise a later moment before which none may."""
        if self._first is not None and moment < self._first:
            return max(self._first, moment + _MINUTE)
        if self._last is not None and moment > self._last:
            return moment + HORIZON
        local = moment.astimezone(self._zone)
        today = local.date()
        if any(first <= today <= last for first, last in self._excluded):
            return self._midnight(moment, today + _DAY)
        if self._every > 1 and ((_monday(today) - self._anchor).days // 7) % self._every:
            return self._midnight(moment, _monday(today) + _WEEK)
        if self._windows and not any(one.has(local) for one in self._windows):
            minute = local.hour * 60 + local.minute
            later = [one.begin for one in self._windows if one.begin > minute and one.on(today)]
            if later:
                return self._wall(moment, today, min(later))
            return self._midnight(moment, today + _DAY)
        return None

    def _midnight(self, moment: datetime, day: date) -> datetime:
        return self._wall(moment, day, 0)

    def _wall(self, moment: datetime, day: date, minute: int) -> datetime:
        """A time of the wall as a moment; always later than `moment`."""
        wall = datetime.combine(day, time(), tzinfo=self._zone) + timedelta(minutes=minute)
        return max(wall.astimezone(UTC), moment + _MINUTE)

    def moved(self, nominal: datetime, spread: int, uid: str) -> datetime:
        """A fixed, evenly spread moment less than `spread` seconds later, unless that is not allowed."""
        digest = hashlib.sha256(f"{uid}/{int(nominal.timestamp())}".encode()).digest()
        seconds = int.from_bytes(digest[:8], "big") * spread >> 64
        at = nominal + timedelta(seconds=seconds)
        return at if self.opens(at) is None else nominal


class _Hours:
    """One window: from `begin` until before `end` (minutes of the day), on some days.

    One that ends before it begins goes over midnight and belongs to the day on which it begins.
    """

    def __init__(self, window: Window) -> None:
        self._days = frozenset(map(dates.weekday, window.days)) or frozenset(range(7))
        self.begin = dates.minute_of_day(window.from_) if window.from_ else 0
        self._end = dates.minute_of_day(window.to) if window.to else dates.MINUTES_OF_DAY

    def on(self, day: date) -> bool:
        return day.weekday() in self._days

    def has(self, local: datetime) -> bool:
        minute, today = local.hour * 60 + local.minute, local.date()
        if self.begin < self._end:
            return self.on(today) and self.begin <= minute < self._end
        return (self.on(today) and minute >= self.begin) or (self.on(today - _DAY) and minute < self._end)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())
