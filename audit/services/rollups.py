"""Summing calls up, hour by hour and day by day, in the background. What it makes can be thrown away and made again.

An hour is summed up 20 minutes after its end; by then its calls have ended and are written, but for what a dead
worker left in its journal. Whoever writes a record that is later than that notes its hour, in the record's own
transaction (audit.batch), and the hour is summed up again.
"""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Min, Sum
from django.utils import timezone

from audit.models import CallRecord, LateHour, RolledUp, Traffic, TrafficOfUser
from audit.traffic import (
    AMOUNTS,
    DAY,
    HOUR,
    NAMES,
    Sums,
    decode_times,
    row_of,
    start_of_day,
    start_of_hour,
    summed_up,
)

LAG = timedelta(minutes=20)  # after its end an hour is summed up; a record is late 10 minutes after its time
PAUSE_SECONDS = 0.005  # between hours, so that writers get their turn


def roll_up(*, now: datetime | None = None, seconds: float = 45.0) -> int:
    """Sum up what is due, for so many seconds at most. Returns how many hours were summed up."""
    now, began = now or timezone.now(), time.monotonic()
    hours = _again()
    rolled = RolledUp.objects.first() or _beginning()
    limit = start_of_hour(now - LAG)
    while rolled is not None and rolled.hours < limit and time.monotonic() - began < seconds:
        hour = _next_hour(rolled.hours, limit)
        made = _summed(hour) if hour < limit else []  # before the transaction: nobody waits for it
        with transaction.atomic():
            locked = RolledUp.objects.select_for_update().first()
            if locked is not None and locked.hours != rolled.hours:
                return hours  # somebody else is at it
            if made:
                _keep(hour, made)
                hours += 1
            rolled.hours = min(hour + HOUR, limit)
            for day in _days_between(rolled.days, start_of_day(rolled.hours)):
                roll_day(day)
            rolled.days = max(rolled.days, start_of_day(rolled.hours))
            rolled.save()
        time.sleep(PAUSE_SECONDS)
    return hours


def forget() -> None:
    """Throw all sums away; `roll_up` makes them again."""
    with transaction.atomic():
        for table in (RolledUp, LateHour, Traffic, TrafficOfUser):
            table.objects.all().delete()


def note_late(hours: Iterable[datetime]) -> None:
    """These hours have other records than before. In the transaction of the change."""
    LateHour.objects.bulk_create([LateHour(at=hour) for hour in hours])


def _beginning() -> RolledUp | None:
    first = CallRecord.objects.aggregate(first=Min("at"))["first"]
    return None if first is None else RolledUp(hours=start_of_hour(first), days=start_of_day(first))


def _next_hour(since: datetime, limit: datetime) -> datetime:
    """The first hour from `since` on that has a record; `limit` when there is none before it."""
    first = CallRecord.objects.filter(at__gte=since, at__lt=limit).aggregate(first=Min("at"))["first"]
    return limit if first is None else start_of_hour(first)


def _days_between(since: datetime, until: datetime) -> list[datetime]:
    """Days that have sums to be added up; those in which nothing happened are passed over."""
    hours = Traffic.objects.filter(span="h", at__gte=since, at__lt=until).order_by("at")
    return list(dict.fromkeys(start_of_day(at) for at in hours.values_list("at", flat=True).distinct()))


def _again() -> int:
    """Sum up again what has changed. A note that comes meanwhile stays for the next time."""
    notes = list(LateHour.objects.values_list("pk", "at"))
    rolled = RolledUp.objects.first()
    late = {at for _, at in notes if rolled is not None and at < rolled.hours}
    for hour in sorted(late):
        made = _summed(hour)
        with transaction.atomic():
            RolledUp.objects.select_for_update().first()  # one at a time
            _keep(hour, made)
            if rolled is not None and start_of_day(hour) < rolled.days:
                roll_day(start_of_day(hour))
    LateHour.objects.filter(pk__in=[pk for pk, _ in notes]).delete()
    return len(late)


def _summed(hour: datetime) -> list[Traffic]:
    return summed_up(CallRecord.objects.filter(at__gte=hour, at__lt=hour + HOUR), lambda at: hour)


def _keep(hour: datetime, made: list[Traffic]) -> None:
    Traffic.objects.filter(span="h", at=hour).delete()
    Traffic.objects.bulk_create(made, batch_size=40)


def roll_day(day: datetime) -> None:
    """The day's sums from those of its hours; its end users from its records."""
    kinds: dict[tuple[str, ...], Sums] = {}
    for row in Traffic.objects.filter(span="h", at__gte=day, at__lt=day + DAY):
        sums = kinds.setdefault(tuple(getattr(row, name) for name in NAMES), Sums())
        sums.add(*(getattr(row, name) for name in AMOUNTS))
        for counted, kept in ((sums.times, row.times), (sums.first_tokens, row.first_tokens)):
            if kept:
                counted.update(decode_times(bytes(kept)))
    Traffic.objects.filter(span="d", at=day).delete()
    Traffic.objects.bulk_create([row_of("d", (day, *names), sums) for names, sums in kinds.items()], batch_size=40)
    TrafficOfUser.objects.filter(at=day).delete()
    people = (
        CallRecord.objects.filter(at__gte=day, at__lt=day + DAY, subject__isnull=False)
        .order_by()
        .values_list("workspace_id", "workspace", "subject")
        .annotate(Count("pk"), Sum("cost_nanos"))
    )
    TrafficOfUser.objects.bulk_create(
        [
            TrafficOfUser(at=day, workspace_id=id_, workspace=name, subject=subject or "", calls=calls, cost_nanos=cost)
            for id_, name, subject, calls, cost in people
        ],
        batch_size=100,
    )


def drop_before(workspace_id: str, before: datetime) -> None:
    """Records of this workspace before this moment are gone: their sums go too. In the transaction of the deed."""
    Traffic.objects.filter(workspace_id=workspace_id, at__lt=before).delete()
    TrafficOfUser.objects.filter(workspace_id=workspace_id, at__lt=before).delete()
    if start_of_day(before) != before:
        note_late([start_of_hour(before)])
