"""Booking what calls cost: ledger lines, the daily totals that are their sums, and the thresholds that they cross."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from django.db import connection, transaction
from django.utils import timezone

from budgets.queries import SCOPES
from budgets.services import thresholds

COLUMNS = (
    *("attempt", "at", "workspace_id", "team_id", "key_id", "user", "model", "provider"),
    *("nanos", "tokens", "status", "price", "classes", "booked_at"),
)
NAMES = ", ".join(f'"{name}"' for name in COLUMNS)
NEW_ONES = "ON CONFLICT (attempt) DO NOTHING RETURNING attempt"
# PostgreSQL takes a column at a time: its driver would take apart a statement with a hole for each value, in Python.
TYPES = {"at": "timestamptz", "booked_at": "timestamptz", "nanos": "bigint", "tokens": "bigint", "classes": "jsonb"}
ARRAYS = ", ".join(f"%s::{TYPES.get(name, 'text')}[]" for name in COLUMNS)
INSERT_COLUMNS = f"INSERT INTO budgets_entry ({NAMES}) SELECT * FROM unnest({ARRAYS}) {NEW_ONES}"  # noqa: S608
TOTAL_ARRAYS = ", ".join(f"%s::{kind}[]" for kind in ("text", "text", "date", "text", *["bigint"] * 5))
RAISE = (
    "INSERT INTO budgets_total (workspace_id, of, day, subject, nanos, tokens, doubt_nanos, doubt_tokens, attempts) {} "
    "ON CONFLICT (workspace_id, of, day, subject) DO UPDATE SET nanos = budgets_total.nanos + excluded.nanos, "
    "tokens = budgets_total.tokens + excluded.tokens, doubt_nanos = budgets_total.doubt_nanos + excluded.doubt_nanos, "
    "doubt_tokens = budgets_total.doubt_tokens + excluded.doubt_tokens, "
    "attempts = budgets_total.attempts + excluded.attempts"
)
CORRECTIONS = ("correction", "repriced")  # lines that are no attempts
LINES_AT_ONCE = 60  # SQLite takes 999 values in a statement
NAME_MOST = 200

encode_json = msgspec.json.Encoder().encode
Line = dict[str, Any]
Key = tuple[str, str, date, str]  # workspace, of, day, subject


def book_records(records: Sequence[Any]) -> None:
    """The sink of the call records: books their `entries`. Runs inside the transaction that writes the records."""
    book([line for record in records for line in record.entries])


def book(lines: Iterable[Line]) -> int:
    """Append these ledger lines and raise the totals; returns how many were new.

    Booking a line again changes nothing. A line for an attempt that was booked in doubt, and is known by now, is
    appended as the difference. Thresholds that are crossed are noted in the same transaction.
    """
    wanted: dict[str, Line] = {}
    for line in lines:
        if line["attempt"] not in wanted or wanted[line["attempt"]]["status"] == "in_doubt":
            wanted[line["attempt"]] = line
    if not wanted:
        return 0
    with transaction.atomic(savepoint=False):  # a part of it is never undone alone
        new = insert(list(wanted.values()))
        fresh = [wanted[attempt] for attempt in new]
        late = [line for attempt, line in wanted.items() if attempt not in new and line["status"] != "in_doubt"]
        if late:
            corrections = differences(late)
            booked = insert(corrections)
            fresh += [line for line in corrections if line["attempt"] in booked]
        if fresh:
            changed = raise_totals(fresh)
            thresholds.note_crossed(changed)
    return len(fresh)


def insert(lines: Sequence[Line]) -> set[str]:
    """Append lines whose attempt is not there yet; returns the attempts that were new."""
    new: set[str] = set()
    vendor = connection.vendor
    now = kept_moment(timezone.now(), vendor)
    at_once = LINES_AT_ONCE if vendor == "sqlite" else len(lines)
    with connection.cursor() as cursor:
        for start in range(0, len(lines), at_once or 1):
            rows = [row(line, now, vendor) for line in lines[start : start + at_once]]
            if vendor == "sqlite":
                cursor.execute(insert_of(len(rows)), [*chain.from_iterable(rows)])
            else:
                cursor.execute(INSERT_COLUMNS, [list(column) for column in zip(*rows, strict=True)])
            new.update(attempt for (attempt,) in cursor.fetchall())
    return new


@lru_cache(maxsize=LINES_AT_ONCE)
def insert_of(count: int) -> str:
    """The insert of so many rows."""
    holes = "(" + ", ".join(["%s"] * len(COLUMNS)) + ")"
    return f"INSERT INTO budgets_entry ({NAMES}) VALUES {', '.join([holes] * count)} {NEW_ONES}"  # noqa: S608


def row(line: Line, now: datetime | str, vendor: str) -> tuple[Any, ...]:
    """One line's values, in the order of COLUMNS. `now` is what kept_moment() made of it."""
    return (
        line["attempt"],
        kept_moment(datetime.fromtimestamp(line["at"], UTC), vendor),
        line["workspace"],
        line["team"],
        line["key"],
        kept_name(line["user"]),
        kept_name(line["model"]),
        kept_name(line["provider"]),
        line["nanos"],
        line["tokens"],
        line["status"],
        line["price"],
        encode_json(line["classes"]).decode(),
        now,
    )


def kept_moment(at: datetime, vendor: str) -> datetime | str:
    """A time in UTC as the database's driver takes it: SQLite keeps it as text, without saying so."""
    return at.isoformat(" ").removesuffix("+00:00") if vendor == "sqlite" else at


@lru_cache(maxsize=1024)
def kept_name(text: str) -> str:
    """A caller's word as both databases can keep it."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")[:NAME_MOST]


def differences(late: Sequence[Line]) -> list[Line]:
    """Corrections that turn what was charged in doubt into what is known now."""
    holes = ", ".join(["%s"] * len(late))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT attempt, nanos, tokens FROM budgets_entry WHERE status = 'in_doubt' AND attempt IN ({holes})",  # noqa: S608
            [line["attempt"] for line in late],
        )
        charged = {attempt: (nanos, tokens) for attempt, nanos, tokens in cursor.fetchall()}
    corrections = []
    for line in late:
        if (booked := charged.get(line["attempt"])) is not None:
            corrections.append(
                line
                | {
                    "attempt": f"{line['attempt']}+1",
                    "nanos": line["nanos"] - booked[0],
                    "tokens": line["tokens"] - booked[1],
                    "status": "correction",
                    "doubt": (-booked[0], -booked[1]),
                }
            )
    return corrections


def raise_totals(lines: Sequence[Line]) -> dict[Key, int]:
    """Add the lines to the totals of their local days. Returns the touched keys, each with its nano-dollars added."""
    zones = zones_of({line["workspace"] for line in lines})
    alike: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])  # lines of one day in all scopes
    subjects = itemgetter(*SCOPES)
    for line in lines:
        # Rounded to the microsecond as the line's own time is, so that both are of one day.
        day = local_day(int(line["at"] + 5e-7), zones.get(line["workspace"], UTC))
        doubt = (line["nanos"], line["tokens"]) if line["status"] == "in_doubt" else line.get("doubt", (0, 0))
        add(
            alike[(day, *subjects(line))],
            (line["nanos"], line["tokens"], *doubt, int(line["status"] not in CORRECTIONS)),
        )
    sums: dict[Key, list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    for (day, workspace, *others), amounts in alike.items():
        for of, name in zip(SCOPES, (workspace, *others), strict=True):
            if name:
                add(sums[(workspace, of, day, kept_name(name))], amounts)
    # Always in the same order, so that two writers never wait for each other.
    rows: list[tuple[Any, ...]] = [(*key, *sums[key]) for key in sorted(sums)]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executemany(RAISE.format("VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"), rows)
        else:
            columns = [list(column) for column in zip(*rows, strict=True)]
            cursor.execute(RAISE.format(f"SELECT * FROM unnest({TOTAL_ARRAYS})"), columns)  # noqa: S608
    return {key: total[0] for key, total in sums.items()}


@lru_cache(maxsize=1024)
def local_day(second: int, zone: tzinfo) -> date:
    """The day in this zone; many calls begin in the same second."""
    return datetime.fromtimestamp(second, zone).date()


def add(total: list[int], amounts: Sequence[int]) -> None:
    for place, amount in enumerate(amounts):
        total[place] += amount


def zones_of(workspace_ids: Iterable[str]) -> Mapping[str, ZoneInfo]:
    """The zones of these workspaces; one that is gone has none."""
    numbers = [int(each) for each in workspace_ids if each.isdigit()]
    if not numbers:
        return {}
    holes = ", ".join(["%s"] * len(numbers))
    with connection.cursor() as cursor:  # with every batch: the ORM would cost ten times the query
        cursor.execute(f"SELECT id, timezone FROM tenants_workspace WHERE id IN ({holes})", numbers)  # noqa: S608
        return {str(number): ZoneInfo(zone) for number, zone in cursor.fetchall()}
