"""The database's own refusal to change what is recorded.

PostgreSQL   a row trigger against UPDATE and DELETE and a statement trigger against TRUNCATE, both ENABLE ALWAYS, so
             that `session_replication_role = replica` does not switch them off; an upsert's UPDATE meets the row
             trigger. A role that owns no table (INSERT and SELECT only) can't drop them; the owner can.
SQLite       triggers against UPDATE and DELETE, and one against an INSERT whose key is there already, because
             REPLACE deletes without asking the DELETE trigger. An authorizer on the application's connections
             refuses to drop or alter what protects the tables (`guard`).

A row may be deleted once its own `keep_until` has passed; a row without one never. Whoever owns the database file
or is a superuser can take all of this away. The seals say so then: `manage.py audit verify`.

Django's table remake on SQLite forgets triggers, so they are put back after every `migrate`.
"""

import hashlib
import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

CALLS = "audit_callrecord"
EVENTS = "audit_auditevent"
SEALS = "audit_seal"
SEAL_KEYS = "audit_sealkey"


class Protected(NamedTuple):
    """A table whose rows stay as they are; `expires` says whether it has a `keep_until`."""

    table: str
    keys: tuple[str, ...]  # columns whose repetition REPLACE would resolve by deleting
    expires: bool


TABLES = (
    Protected(CALLS, ("id",), True),
    Protected(EVENTS, ("id",), True),
    Protected(SEALS, ("id", "workspace_id, n"), False),
    Protected(SEAL_KEYS, ("id",), False),
)
FUNCTIONS = {"audit_append_only": True, "audit_append_only_for_ever": False}

_POSTGRESQL_FUNCTION = """
CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE kept boolean := true;
BEGIN
    {decide}
    IF kept THEN
        RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN OLD;
END $$
"""
_DECIDE = """
    IF TG_OP = 'DELETE' THEN
        kept := OLD.keep_until IS NULL OR OLD.keep_until > now();
    ELSIF TG_OP = 'TRUNCATE' THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %I.%I WHERE keep_until IS NULL OR keep_until > now())',
                       TG_TABLE_SCHEMA, TG_TABLE_NAME) INTO kept;
    END IF;
"""
_DECIDE_FOR_EVER = """
    IF TG_OP = 'TRUNCATE' THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %I.%I)', TG_TABLE_SCHEMA, TG_TABLE_NAME) INTO kept;
    END IF;
"""


def install(connection: BaseDatabaseWrapper) -> None:
    """Put the triggers in place, or back in place. Doing it again changes nothing."""
    with connection.cursor() as cursor:
        for statement in _statements(connection):
            cursor.execute(statement)


def uninstall(connection: BaseDatabaseWrapper) -> None:
    """Take the triggers away; for undoing the migration, and for tests that empty the tables."""
    with connection.cursor() as cursor:
        for name, table in _expected(connection):
            if connection.vendor == "sqlite":
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
            else:
                cursor.execute(f"DROP TRIGGER IF EXISTS {name} ON {table}")
        if connection.vendor == "postgresql":
            for function in FUNCTIONS:
                cursor.execute(f"DROP FUNCTION IF EXISTS {function}()")


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """What protects the tables and is not there, or not as it was made. Empty when all is well."""
    if connection.vendor == "sqlite":
        return _missing_on_sqlite(connection)
    return _missing_on_postgresql(connection)


def _statements(connection: BaseDatabaseWrapper) -> list[str]:
    if connection.vendor == "sqlite":
        return [
            statement
            for name, body in _sqlite_triggers().items()
            for statement in (f"DROP TRIGGER IF EXISTS {name}", body)
        ]
    made = [
        _POSTGRESQL_FUNCTION.format(name=name, decide=_DECIDE if expires else _DECIDE_FOR_EVER)
        for name, expires in FUNCTIONS.items()
    ]
    for protected in TABLES:
        table, function = protected.table, _function_of(protected)
        made += [
            f"CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {function}()",
            f"CREATE OR REPLACE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only",
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_no_truncate",
        ]
    return made


def _function_of(protected: Protected) -> str:
    return "audit_append_only" if protected.expires else "audit_append_only_for_ever"


def _expected(connection: BaseDatabaseWrapper) -> list[tuple[str, str]]:
    """(trigger, table) of each trigger that belongs there."""
    kinds = ["no_update", "no_delete", "no_replace"]
    if connection.vendor == "postgresql":
        kinds = ["append_only", "no_truncate"]
    return [(f"{protected.table}_{kind}", protected.table) for protected in TABLES for kind in kinds]


# --- SQLite -----------------------------------------------------------------------------------------------


def _sqlite_triggers() -> dict[str, str]:
    """Trigger name → its SQL, exactly as sqlite_master keeps it."""
    made = {}
    for table, keys, expires in TABLES:
        kept = (
            "WHEN OLD.keep_until IS NULL OR OLD.keep_until > strftime('%Y-%m-%d %H:%M:%f', 'now') " if expires else ""
        )
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        there = " OR ".join(f"EXISTS ({_same_key(table, key)})" for key in keys)
        made[f"{table}_no_update"] = f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}"
        made[f"{table}_no_delete"] = f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {kept}{refuse}"
        made[f"{table}_no_replace"] = (
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {there} "
            f"{refuse.replace('ABORT', 'FAIL')}"  # see audit.batch: it need not undo what it did not do
        )
    return made


def _same_key(table: str, key: str) -> str:
    equal = " AND ".join(f"{column} = NEW.{column}" for column in key.split(", "))
    return " ".join(("SELECT 1 FROM", table, "WHERE", equal))


def _missing_on_sqlite(connection: BaseDatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        found = dict(cursor.fetchall())
    return [
        f"trigger {name} is {'changed' if name in found else 'missing'}"
        for name, sql in _sqlite_triggers().items()
        if found.get(name) != sql
    ]


_PROTECTED_NAMES = {protected.table for protected in TABLES}
_REFUSED: dict[int, Callable[[str, str], bool]] = {
    sqlite3.SQLITE_DROP_TABLE: lambda name, _: name in _PROTECTED_NAMES,
    sqlite3.SQLITE_DROP_TRIGGER: lambda _, table: table in _PROTECTED_NAMES,
    sqlite3.SQLITE_DROP_INDEX: lambda _, table: table in _PROTECTED_NAMES,
    sqlite3.SQLITE_ALTER_TABLE: lambda _, table: table in _PROTECTED_NAMES,
    sqlite3.SQLITE_CREATE_TRIGGER: lambda _, table: table in _PROTECTED_NAMES,
    sqlite3.SQLITE_CREATE_TEMP_TRIGGER: lambda _, table: table in _PROTECTED_NAMES,
    sqlite3.SQLITE_PRAGMA: lambda name, value: bool(value) and name in ("writable_schema", "recursive_triggers"),
}


def _authorize(action: int, first: str | None, second: str | None, database: str | None, inside: str | None) -> int:
    refused = _REFUSED.get(action)
    if refused is not None and refused(first or "", second or ""):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def guard(connection: BaseDatabaseWrapper) -> None:
    """Refuse, on this connection, every statement that would take the protection away. SQLite only."""
    if connection.vendor == "sqlite" and connection.connection is not None:
        connection.connection.set_authorizer(_authorize)


def unguard(connection: BaseDatabaseWrapper) -> None:
    """Let migrations do their work on this connection. SQLite only."""
    if connection.vendor == "sqlite" and connection.connection is not None:
        connection.connection.set_authorizer(None)


# --- PostgreSQL ---------------------------------------------------------------------------------------------


def _missing_on_postgresql(connection: BaseDatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t.tgname, t.tgenabled, p.proname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid "
            "WHERE NOT t.tgisinternal AND t.tgrelid = ANY(%s::regclass[])",
            [[protected.table for protected in TABLES]],
        )
        found: dict[str, tuple[Any, Any]] = {name: (_text(enabled), called) for name, enabled, called in cursor}
        cursor.execute("SELECT proname, prosrc FROM pg_proc WHERE proname = ANY(%s)", [list(FUNCTIONS)])
        bodies = {name: _digest(source) for name, source in cursor}
    function = {protected.table: _function_of(protected) for protected in TABLES}
    wrong = []
    for name, table in _expected(connection):
        if name not in found:
            wrong.append(f"trigger {name} is missing")
        elif found[name] != ("A", function[table]):
            wrong.append(f"trigger {name} is changed or switched off")
    for name, expires in FUNCTIONS.items():
        body = _POSTGRESQL_FUNCTION.format(name=name, decide=_DECIDE if expires else _DECIDE_FOR_EVER)
        if bodies.get(name) != _digest(body.split("$$")[1]):
            wrong.append(f"function {name} is changed")
    return wrong


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()
