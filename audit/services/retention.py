"""Dropping what is over its time, in small batches that hold no writer up, leaving a signed trace.

Records go when the time they were promised at their making is over (`keep_until`, which the database itself holds
them to); bodies likewise, and their keys with them. Nothing of a workspace under a legal hold goes. On PostgreSQL a month
that is over for every workspace with records in it goes at once, as a partition.
"""

import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Max, Min, Q
from django.utils import timezone

from audit import partitions
from audit.batch import CALL, EVENT
from audit.models import AuditEvent, BodyKey, CallBody, CallRecord, Feedback, JournalPosition, LegalHold
from audit.origin import Origin
from audit.rows import micros
from audit.services import rollups, sealing
from audit.services.bodies import workspace_by_id
from audit.services.changes import record_event
from audit.services.verification import drop_statement
from gateway.core.crypto import Keyring

log = logging.getLogger(__name__)

BATCH_ROWS = 50
PAUSE_SECONDS = 0.02  # between batches at the least, so that writers get their turn
PAUSE_FOR_WORK = 9.0  # and so many times as long as the batch took: calls share processor and disk with this
JOB = Origin("", "the retention job", "scheduled")
POSITIONS_DAYS = 40


def drop_what_is_over(*, keyring: Keyring, now: datetime | None = None) -> dict[str, int]:
    """Delete records, changes and bodies whose time is over. Returns how many rows of each went.

    May be stopped at any moment and started again: what is left goes the next time.
    """
    now = now or timezone.now()
    held = set(LegalHold.objects.filter(released_at=None).values_list("workspace_id", flat=True))
    dropped = {"bodies": _drop_bodies(now, held), "calls": 0, "changes": 0}
    for kind, table, name in ((CALL, CallRecord, "calls"), (EVENT, AuditEvent, "changes")):
        over = dict(_over(table, now, held))
        for workspace_id, before in over.items():
            _leave_trace(keyring, workspace_id=workspace_id, kind=kind, before=before)
        if kind == CALL:
            _drop_sums(over)
            dropped[name] += _drop_months(over, now)
        for workspace_id, before in over.items():
            for batch in _batches(table.objects.filter(workspace_id=workspace_id, at__lt=before, keep_until__lte=now)):
                with transaction.atomic():
                    if kind == CALL:
                        Feedback.objects.filter(call_id__in=batch).delete()
                    dropped[name] += table.objects.filter(pk__in=batch)._raw_delete(connection.alias)
        if kind == CALL:  # once more, for the hour that lost only some of its records
            _drop_sums(over)
    JournalPosition.objects.filter(at__lt=now - timedelta(days=POSITIONS_DAYS)).delete()
    if any(dropped.values()):
        log.info("dropped what was over its time: %s", dropped)
    return dropped


def _over(table: Any, now: datetime, held: set[str]) -> Iterator[tuple[str, datetime]]:
    """(workspace id, moment) for each workspace of which everything before that moment is over its time.

    Rows may be promised different times. Only what lies before the first row that is still to be kept is dropped,
    so that a trace can name one moment; rows that are kept for ever (traces themselves) do not count.
    """
    ids = table.objects.order_by().values_list("workspace_id", flat=True).distinct()
    for workspace_id in [each for each in ids if each not in held]:
        rows = table.objects.filter(workspace_id=workspace_id)
        oldest = rows.order_by("at").values_list("at", flat=True).first()
        first_kept = rows.filter(keep_until__gt=now).order_by("at").values_list("at", flat=True).first()
        before = first_kept or now
        if oldest is not None and oldest < before and rows.filter(at__lt=before, keep_until__lte=now).exists():
            yield workspace_id, before


def _batches(found: Any, by: str = "at") -> Iterator[list[Any]]:
    """Primary keys of the rows found, a batch at a time, oldest first, with a pause after each."""
    began = time.monotonic()
    while batch := list(found.order_by(by).values_list("pk", flat=True)[:BATCH_ROWS]):
        yield batch
        _pause(time.monotonic() - began)
        began = time.monotonic()


def _pause(worked_seconds: float) -> None:
    """Let the others do their work. What is over its time can wait: an hour brings few such rows."""
    time.sleep(max(PAUSE_SECONDS, PAUSE_FOR_WORK * worked_seconds))


def _drop_sums(over: dict[str, datetime]) -> None:
    for workspace_id, before in over.items():
        rollups.drop_before(workspace_id, before)


def _drop_months(over: dict[str, datetime], now: datetime) -> int:
    """Drop the months (PostgreSQL's partitions) of which every record is over its time. Returns how many records went."""
    count = 0
    for month in partitions.partitions(connection):
        if month.until is None or month.until > now:
            continue
        found = CallRecord.objects.filter(at__lt=month.until, **({"at__gte": month.since} if month.since else {}))
        if found.filter(Q(keep_until=None) | Q(keep_until__gt=now)).exists():
            continue
        spans = list(found.order_by().values_list("workspace_id").annotate(Count("pk"), Max("at")))
        records = sum(number for _, number, _ in spans)
        if all(workspace_id in over and last < over[workspace_id] for workspace_id, _, last in spans) and (
            records or month.until < now - timedelta(days=POSITIONS_DAYS)  # a late journal may still fill an empty one
        ):
            Feedback.objects.filter(call_id__in=found.values("pk"))._raw_delete(connection.alias)
            count += records if partitions.drop(connection, month, records) else 0
    return count


def _drop_bodies(now: datetime, held: set[str]) -> int:
    """Bodies that are over their time, and the keys that open nothing any more."""
    count, free = 0, ~Q(workspace_id__in=held)
    over = CallBody.objects.filter(free, keep_until__lte=now)
    for batch in _batches(over, by="keep_until"):
        count += CallBody.objects.filter(pk__in=batch).delete()[0]
    if count:
        kept = set(CallBody.objects.order_by().values_list("key_id", flat=True).distinct())
        lately = (now - timedelta(days=2)).strftime("%Y-%m-%d")  # a younger key may still be in use
        BodyKey.objects.filter(free, day__lt=lately).exclude(pk__in=kept).delete()
        record_event(kind="retention.drop", origin=JOB, data={"leaves": "bodies", "bodies": count})
    return count


def _leave_trace(keyring: Keyring, *, workspace_id: str, kind: str, before: datetime) -> None:
    """Say, signed, that what lies before this moment was dropped. First the trace, then the deed."""
    signer = sealing.signer(keyring)
    before_us = micros(before) or 0
    table: Any = CallRecord if kind == CALL else AuditEvent
    span = table.objects.filter(workspace_id=workspace_id, at__lt=before).aggregate(first=Min("at"), last=Max("at"))
    record_event(
        kind="retention.drop",
        workspace=workspace_by_id(workspace_id) or workspace_id,
        origin=JOB,
        data={
            "leaves": kind,
            "before": before,
            "before_us": before_us,
            "first": span["first"],
            "last": span["last"],
            "key_id": signer.key_id,
            "signature": signer.sign(drop_statement(workspace_id, kind, before_us)),
        },
    )
