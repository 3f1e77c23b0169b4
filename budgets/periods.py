"""Days, weeks and months as a workspace lives them, and the names of the buckets that count in them.

A period begins at local midnight of its first day, whatever the clock does in between, and is stored as the UTC
instant of that midnight. Where midnight does not exist (a clock put forward at 00:00) the day begins with its first
instant; where it comes twice, with the first of the two. So the periods of a zone follow each other without a gap
and without an overlap, and a day has 23, 24 or 25 hours.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

FOREVER = 253_402_300_800  # the year 10000
KEPT_DAYS = {"day": 3, "week": 10, "month": 40}  # of a period's counters, from its beginning


class Period(NamedTuple):
    """From `start` until before `end`, in UTC epoch seconds."""

    start: int
    end: int


TOTAL = Period(0, FOREVER)


class Clock:
    """The current period of each length in one zone, kept until it ends."""

    __slots__ = ("_current", "zone")

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self._current: dict[str, Period] = {}

    def period(self, per: str, at: float) -> Period:
        """The period (day, week, month, total) that holds this instant."""
        known = self._current.get(per)
        if known is None or not known.start <= at < known.end:
            known = self._current[per] = period(self.zone, per, at)
        return known


@lru_cache(maxsize=256)
def clock(zone: str) -> Clock:
    """The clock of a zone, one for the process."""
    return Clock(zone)


def period(zone: str, per: str, at: float) -> Period:
    """The period that holds the instant `at` (epoch seconds). Raises ValueError for an unknown length."""
    if per == "total":
        return TOTAL
    day = datetime.fromtimestamp(at, ZoneInfo(zone)).date()
    match per:
        case "day":
            first, after = day, day + timedelta(days=1)
        case "week":
            first = day - timedelta(days=day.weekday())
            after = first + timedelta(days=7)
        case "month":
            first = day.replace(day=1)
            after = (first + timedelta(days=32)).replace(day=1)
        case _:
            raise ValueError(f"{per!r} is not a period")
    return Period(midnight(zone, first), midnight(zone, after))


def midnight(zone: str, day: date) -> int:
    """The first instant of a local day, in epoch seconds."""
    local = ZoneInfo(zone)
    wanted = datetime(day.year, day.month, day.day, tzinfo=local)  # fold=0: the first of two midnights
    instant = int(wanted.timestamp())
    if datetime.fromtimestamp(instant, local).date() == day and datetime.fromtimestamp(instant - 1, local).date() < day:
        return instant
    return first_instant(local, day, instant)


def first_instant(local: ZoneInfo, day: date, near: int) -> int:
    """The first second whose local date is `day` or later, searched around an instant near it."""
    low, high = near - 86_400, near + 86_400
    while low < high:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, local).date() >= day:
            high = middle
        else:
            low = middle + 1
    return low


def bucket(workspace_id: str, of: str, subject: str, per: str, start: int, unit: str) -> str:
    """The name of what one subject spends in one period, in nano-dollars ("usd") or tokens.

    The braces make all buckets of a workspace live on one Redis node.
    """
    return f"{{{workspace_id}}}:{of}:{per}:{start}:{unit}:{subject}"


def subject_of(name: str) -> tuple[str, str, str]:
    """(workspace, of, subject) of a bucket's name."""
    workspace_id, of, _, _, _, subject = name.split(":", 5)
    return workspace_id[1:-1], of, subject


def forgotten_at(name: str) -> int:
    """The second from which on nobody asks for this bucket any more: well after its period; 0 for one without an end."""
    _, _, per, start, _, _ = name.split(":", 5)
    return 0 if per == "total" else int(start) + KEPT_DAYS[per] * 86_400


def utc(instant: int) -> datetime:
    return datetime.fromtimestamp(instant, UTC)
