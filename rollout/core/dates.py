"""Words of a calendar: time zones, days of the week, times of day, dates and ranges of dates, cron expressions.

Each reader raises ValueError with a sentence that says what to write instead. Nothing here knows what time it is.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
"""By `date.weekday()`."""
MINUTES_OF_DAY = 24 * 60
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


def zone(name: str) -> ZoneInfo:
    """An IANA time zone."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ValueError(
            'is not a time zone of the IANA database; write for example "Europe/Berlin" or "Etc/UTC"'
        ) from None


def weekday(name: str) -> int:
    """0 (Mon) to 6 (Sun)."""
    if name not in DAYS:
        raise ValueError(f"is not a day of the week; write one of {', '.join(DAYS)}")
    return DAYS.index(name)


def minute_of_day(text: str) -> int:
    """Minutes since midnight on the clock on the wall; "24:00" is the end of the day."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError('is not a time of day; write for example "09:00"')
    return int(found[1]) * 60 + int(found[2]) if found[1] else MINUTES_OF_DAY


def day(text: str) -> date:
    if not _DATE.fullmatch(text):
        raise ValueError('is not a date; write for example "2026-12-24"')
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("is a date that does not exist") from None


def moment(text: str) -> datetime:
    """A time as in RFC 3339, in UTC."""
    try:
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # a day, an hour or an offset that does not exist
    raise ValueError('is not a time as in RFC 3339; write for example "2026-12-24T14:00:00Z"')


def dates(text: str) -> tuple[date, date]:
    """The first and the last day of a date or of a range "FIRST/LAST", both included."""
    first, slash, last = text.partition("/")
    begin = day(first)
    end = day(last) if slash else begin
    if end < begin:
        raise ValueError("ends before it begins")
    return begin, end


def cron(text: str, after: datetime) -> CronSim:
    """The moments after `after` that five cron fields name; of a naive `after`: on the clock on the wall.

    Names of days and months may be used, as well as L, LW and # (https://github.com/cuu508/cronsim).
    """
    if len(text.split()) != 5:
        raise ValueError(
            'must have five fields (minute hour day month weekday); write for example "0 14 * * TUE"'
        )
    try:
        return CronSim(text, after)
    except CronSimError as error:
        raise ValueError(f"is not a cron expression ({error})") from None
