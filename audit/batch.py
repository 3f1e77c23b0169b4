"""One batch of records as one set of inserts. The caller holds the transaction."""

import json
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec
from django.db import connection
from django.utils import timezone

from audit import rows
from audit.models import AuditEvent, JournalPosition
from audit.record import Record
from audit.rows import CALL_COLUMNS, CALL_TIMES, Insert, insert

_BODY_COLUMNS = ["call_id", "kind", "at", "workspace_id", "key_id", "nonce", "ciphertext", "size_bytes", "keep_until"]
_KEY_COLUMNS = ["id", "workspace_id", "subject", "day", "wrapped"]
_SUBJECT_COLUMNS = ["workspace_id", "token", "name", "first_seen"]
_CALLS = Insert("audit_callrecord", CALL_COLUMNS)
_COPY_CALLS = "COPY audit_callrecord ({}) FROM STDIN".format(", ".join(f'"{name}"' for name in CALL_COLUMNS))
_BODIES = Insert("audit_callbody", _BODY_COLUMNS)
_KEYS = Insert("audit_bodykey", _KEY_COLUMNS)
_SUBJECTS = Insert("audit_subject", _SUBJECT_COLUMNS)
_LEAVES = Insert("audit_pendingleaves", ("workspace_id", "at", "leaves"))
_LATE = Insert("audit_latehour", ("at",))
_POSITION = (
    insert("audit_journalposition", ("segment", "position", "at")).removesuffix("DO NOTHING")
    + "(segment) DO UPDATE SET position = excluded.position, at = excluded.at"
)

CALLS_AT_ONCE = 25  # SQLite may have been made to take 999 values in a statement

LATE_US = 10 * 60 * 1_000_000
HOUR_US = 3600 * 1_000_000

CALL = "c"
EVENT = "e"

Leaf = tuple[str, str, bytes, str, int, int]  # kind, id, digest, worker, seq, at in microseconds
encode_leaves = msgspec.msgpack.Encoder().encode
decode_leaves = msgspec.msgpack.Decoder(list[Leaf]).decode


def write(records: Sequence[Record], segment: str, position: int, *, are_new: bool = False) -> None:
    """Insert the records with all that belongs to them, and how far the segment is read (-1: no change).

    Records that are there already are left alone, and get no second leaf; with `are_new` they raise IntegrityError.
    """
    vendor = connection.vendor
    with connection.cursor() as cursor:
        if records:
            fresh = records if are_new else _new_ones(records)
            made = [(record, rows.call_row(record)) for record in fresh]
            if made:
                _insert_calls(cursor, [rows.adapted(row, CALL_TIMES, vendor) for _, row in made], are_new=are_new)
                _LEAVES(cursor, _leaves(made))
            if bodies := _bodies(fresh, vendor):
                _KEYS(cursor, _keys(fresh))
                _BODIES(cursor, bodies)
            if subjects := _subjects(fresh, vendor):
                _SUBJECTS(cursor, subjects)
            _note_late(cursor, fresh, vendor)
        if position >= 0:
            cursor.execute(_POSITION, (segment, position, timezone.now()))


def _insert_calls(cursor: Any, made: Sequence[Sequence[Any]], *, are_new: bool) -> None:
    """The records' rows, many at once: each statement lets go of the interpreter once, and calls go on meanwhile."""
    if connection.vendor == "sqlite":
        with connection.wrap_database_errors:
            for start in range(0, len(made), CALLS_AT_ONCE):
                part = made[start : start + CALLS_AT_ONCE]
                connection.connection.execute(_insert_or_fail(len(part)), [*chain.from_iterable(part)])
    elif are_new:
        with connection.wrap_database_errors, cursor.cursor.copy(_COPY_CALLS) as copy:
            for row in made:
                copy.write_row(row)
    else:
        _CALLS(cursor, made)


@lru_cache(maxsize=CALLS_AT_ONCE)
def _insert_or_fail(count: int) -> str:
    """SQLite's insert of that many rows.

    FAIL and not ABORT, here and in the trigger against REPLACE: to be able to undo a single statement, SQLite would
    copy every page that it changes, which doubles what a record costs. The transaction is rolled back either way.
    """
    names = ", ".join(f'"{name}"' for name in CALL_COLUMNS)
    holes = "(" + ", ".join("?" * len(CALL_COLUMNS)) + ")"
    return " ".join(("INSERT OR FAIL INTO audit_callrecord", f"({names})", "VALUES", ", ".join([holes] * count)))


def _note_late(cursor: Any, records: Sequence[Record], vendor: str) -> None:
    """Note the hours that may be summed up already, so that they are summed up again (audit.services.rollups)."""
    on_time = int(time.time() * 1e6) - LATE_US
    if late := {record.at_us // HOUR_US * HOUR_US for record in records if record.at_us < on_time}:
        _LATE(cursor, [rows.adapted((hour,), (0,), vendor) for hour in sorted(late)])


def _new_ones(records: Sequence[Record]) -> list[Record]:
    """Those that the database does not have yet, each once."""
    by_id = {record.call_id: record for record in records}
    ids = list(by_id)
    holes = ", ".join(["%s"] * len(ids))
    with connection.cursor() as cursor:
        cursor.execute(" ".join(("SELECT id FROM audit_callrecord WHERE id IN", f"({holes})")), ids)
        for (known,) in cursor.fetchall():
            del by_id[known]
    return list(by_id.values())


def _leaves(made: Sequence[tuple[Record, rows.Row]]) -> list[rows.Row]:
    """One row of leaves for each workspace in the batch."""
    by_workspace: dict[str, list[Leaf]] = defaultdict(list)
    for record, row in made:
        leaf = (CALL, record.call_id, rows.digest(row), record.worker, record.seq, record.at_us)
        by_workspace[record.workspace_id].append(leaf)
    now = timezone.now()
    return [(workspace_id, now, encode_leaves(leaves)) for workspace_id, leaves in by_workspace.items()]


def _bodies(records: Sequence[Record], vendor: str) -> list[list[Any]]:
    return [
        rows.adapted(
            (
                record.call_id,
                body.kind,
                record.at_us,
                record.workspace_id,
                body.key_id,
                body.nonce,
                body.ciphertext,
                body.size,
                record.bodies_until_us,
            ),
            (2, 8),
            vendor,
        )
        for record in records
        for body in record.bodies
    ]


def _keys(records: Sequence[Record]) -> list[rows.Row]:
    keys = {record.body_key.key_id: (record.workspace_id, record.body_key) for record in records if record.body_key}
    return [(key.key_id, workspace, key.subject, key.day, key.wrapped) for workspace, key in keys.values()]


def _subjects(records: Sequence[Record], vendor: str) -> list[list[Any]]:
    people = {(r.workspace_id, r.subject): (r.user, r.at_us) for r in records if r.subject and r.workspace_id}
    return [
        rows.adapted((workspace_id, token, rows.text(name, 500), at), (3,), vendor)
        for (workspace_id, token), (name, at) in people.items()
    ]


def append_event(event: AuditEvent) -> AuditEvent:
    """Append an event and its leaf. In the transaction of the deed, so that both are there or neither."""
    event.save(force_insert=True)
    row = event_row(event)
    leaf: Leaf = (EVENT, str(event.pk), rows.digest(row), "", 0, row[1])
    with connection.cursor() as cursor:
        _LEAVES(cursor, [(event.workspace_id, timezone.now(), encode_leaves([leaf]))])
    return event


def event_row(event: AuditEvent) -> rows.Row:
    """The values of EVENT_COLUMNS, times as microseconds since 1970."""
    values = [getattr(event, column) for column in rows.EVENT_COLUMNS]
    values[0] = str(event.pk)
    values[1] = rows.micros(event.at)
    values[-1] = rows.micros(event.keep_until)
    return tuple(values)


def note_unreadable(error: str, record: Record | None) -> None:
    """Leave a trace of a record that could not be written, so that the hole it leaves is explained."""
    data = {"error": error[:300]}
    if record is not None:
        data |= {"call_id": record.call_id, "worker": record.worker, "seq": str(record.seq)}
    append_event(
        AuditEvent(
            id=uuid.uuid4(),
            kind="record.unreadable",
            workspace_id=record.workspace_id if record else "",
            workspace=record.workspace if record else "",
            keep_until=None,
            actor="the audit writer",
            object_type="call",
            object_id=rows.text(record.call_id, 64) if record else "",
            data=json.dumps(data),
        )
    )


def position_of(segment: str) -> int:
    """How much of a segment is in the database."""
    return JournalPosition.objects.filter(pk=segment).values_list("position", flat=True).first() or 0


def forget_position(segment: str) -> None:
    JournalPosition.objects.filter(pk=segment).delete()
