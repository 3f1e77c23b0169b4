"""Call records on PostgreSQL lie in one partition for each month (UTC), so that a month that is over goes at once.

    audit_callrecord_first     what was there before the table was divided, up to the end of that month
    audit_callrecord_YYYY_MM   a month; made ahead by the hourly job
    audit_callrecord_rest      what fits nowhere, so that no record is ever refused for its time

A month is made beside the table and then attached, which no writer waits for. Dropping one takes the whole table for a
moment, and whoever asks for it behind that waits, too. So it is asked for a tenth of a second only, some times with pauses
in which the others go on; if somebody reads all the while, the month goes an hour later.

Two functions of the database do both, with the rights of whoever owns them: the application's own role needs none to make
or drop tables, and `audit_drop_partition` refuses a partition with a record whose time is not over.
"""

import time
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import OperationalError

TABLE = "audit_callrecord"
FIRST, REST = f"{TABLE}_first", f"{TABLE}_rest"
MONTHS_AHEAD = 3
DROP_TRIES = 10
DROP_PAUSE_SECONDS = 1.0  # between them
LOCKED = {"55P03", "40P01"}  # what PostgreSQL says when a lock can't be had

FUNCTIONS = {
    "audit_make_partition(date)": """
CREATE OR REPLACE FUNCTION audit_make_partition(month date) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '1s' AS $$
DECLARE
    made text := 'audit_callrecord_' || to_char(month, 'YYYY_MM');
    since timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    until timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(made) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE audit_callrecord INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', made);
    EXECUTE format('ALTER TABLE %I OWNER TO %I', made,
                   (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'audit_callrecord'::regclass));
    EXECUTE format('ALTER TABLE audit_callrecord ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', made, since, until);
    EXECUTE format('CREATE TRIGGER audit_callrecord_no_truncate BEFORE TRUNCATE ON %I '
                   'FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()', made);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER audit_callrecord_no_truncate', made);
    RETURN true;
EXCEPTION WHEN invalid_object_definition OR check_violation THEN
    RETURN false;  -- the month has begun in the first partition, or in the one for the rest, and stays there
END $$
""",
    "audit_drop_partition(text, bigint)": """
CREATE OR REPLACE FUNCTION audit_drop_partition(dropped text, expected bigint) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '100ms' AS $$
DECLARE
    bound text := (SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                   WHERE i.inhparent = 'audit_callrecord'::regclass AND c.relname = dropped);
    kept boolean;
    counted bigint;
BEGIN
    IF bound IS NULL OR bound = 'DEFAULT' THEN
        RAISE EXCEPTION '% is no month of audit_callrecord', dropped USING ERRCODE = 'restrict_violation';
    END IF;
    EXECUTE format('LOCK TABLE %I IN SHARE MODE', dropped);
    EXECUTE format('SELECT count(*), coalesce(bool_or(keep_until IS NULL OR keep_until > now()), false) FROM %I', dropped)
        INTO counted, kept;
    IF kept THEN
        RAISE EXCEPTION '% is append-only', dropped USING ERRCODE = 'restrict_violation';
    END IF;
    IF counted <> expected THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE %I', dropped);
    RETURN true;
END $$
""",
}


class Partition(NamedTuple):
    """One partition, and between which moments its records began: None where there is no bound, and for the rest."""

    name: str
    since: datetime | None
    until: datetime | None


def divide(connection: BaseDatabaseWrapper) -> None:
    """Make the table a partitioned one whose first partition is the table as it was. Its rows are not touched.

    In one transaction; nothing else reads or writes the table meanwhile. Of a million rows it takes seconds: a key over
    (id, at) is made, and the rows' times are looked at.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT date_trunc('month', greatest(now(), max(at)) AT TIME ZONE 'UTC') FROM audit_callrecord")
        until = following(cursor.fetchone()[0].date())
        indexes = _indexes(cursor)
        statements = [
            *(f"ALTER INDEX {name} RENAME TO {name}_first" for name in indexes),
            f"ALTER TABLE {TABLE} DROP CONSTRAINT {TABLE}_pkey",
            f"ALTER TABLE {TABLE} RENAME TO {FIRST}",
            f"ALTER TABLE {FIRST} ADD PRIMARY KEY (id, at)",
            f"CREATE TABLE {TABLE} (LIKE {FIRST} INCLUDING DEFAULTS INCLUDING CONSTRAINTS, PRIMARY KEY (id, at)) "
            "PARTITION BY RANGE (at)",
            f"ALTER TABLE {TABLE} ATTACH PARTITION {FIRST} FOR VALUES FROM (MINVALUE) TO ('{until} 00:00+00')",
            f"CREATE TABLE {REST} PARTITION OF {TABLE} DEFAULT",
            *indexes.values(),  # finds those of the first partition, and makes none anew
        ]
        for statement in statements:
            cursor.execute(statement)


def join(connection: BaseDatabaseWrapper) -> None:
    """Make it one table again, and copy the rows of all partitions into it."""
    whole = f"{TABLE}_whole"
    with connection.cursor() as cursor:
        indexes = _indexes(cursor)
        statements = [
            f"CREATE TABLE {whole} (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
            " ".join(("INSERT INTO", whole, "SELECT * FROM", TABLE)),
            f"DROP TABLE {TABLE}",
            f"ALTER TABLE {whole} RENAME TO {TABLE}",
            f"ALTER TABLE {TABLE} ADD PRIMARY KEY (id)",
            *indexes.values(),
            *(f"DROP FUNCTION IF EXISTS {name}" for name in FUNCTIONS),
        ]
        for statement in statements:
            cursor.execute(statement)


def is_divided(connection: BaseDatabaseWrapper) -> bool:
    """Whether the records lie in partitions here: on PostgreSQL, once it is migrated that far."""
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%s)", [TABLE])
        found = cursor.fetchone()
    return bool(found and found[0])


def partitions(connection: BaseDatabaseWrapper) -> list[Partition]:
    """All there are, oldest first; none on SQLite."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, substring(bound FROM $$FROM \\('([^']+)$$)::timestamptz, "
            "substring(bound FROM $$TO \\('([^']+)$$)::timestamptz AS until FROM "
            "(SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_inherits i "
            "JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(%s)) AS parts ORDER BY until",
            [TABLE],
        )
        return [Partition(*row) for row in cursor.fetchall()]


def make_ahead(connection: BaseDatabaseWrapper, today: date | None = None) -> list[date]:
    """Make this month and the coming ones, where there are none. Returns the first days of those that were made.

    One that can't be had now, because somebody reads all records, is made the next time.
    """
    month, made = (today or datetime.now(UTC).date()).replace(day=1), []
    for _ in range(MONTHS_AHEAD + 1 if is_divided(connection) else 0):
        if _answer(connection, "SELECT audit_make_partition(%s)", [month]):
            made.append(month)
        month = following(month)
    return made


def drop(connection: BaseDatabaseWrapper, partition: Partition, expected: int) -> bool:
    """Drop a partition of so many records at once. False when there are more by now, or when it can't be had.

    Raises IntegrityError when the time of one of its records is not over.
    """
    for pause in (DROP_PAUSE_SECONDS,) * (DROP_TRIES - 1) + (0.0,):
        answer = _answer(connection, "SELECT audit_drop_partition(%s, %s)", [partition.name, expected])
        if answer is not None:
            return answer
        time.sleep(pause)
    return False


def following(month: date) -> date:
    """The first day of the month after this one."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _indexes(cursor: Any) -> dict[str, str]:
    """Name → definition of the table's indexes but its key's."""
    cursor.execute(
        "SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE i.indrelid = %s::regclass AND NOT i.indisprimary",
        [TABLE],
    )
    return {name: definition.replace(" ON ONLY ", " ON ") for name, definition in cursor.fetchall()}


def _answer(connection: BaseDatabaseWrapper, question: str, values: list[Any]) -> bool | None:
    """What one of the functions says; None when a lock can't be had."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(question, values)
            return bool(cursor.fetchone()[0])
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") in LOCKED:
            return None
        raise
