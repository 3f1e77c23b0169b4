"""The refusal on SQLite: triggers, and an authorizer on the application's own connections."""

import sqlite3
from collections.abc import Callable, Iterable
from functools import cache

from django.db.backends.base.base import BaseDatabaseWrapper

from audit.append_only.tables import ACCOUNT, Protected, protected_tables

KINDS = ("no_update", "no_delete", "no_replace")
OVER = "WHEN OLD.keep_until IS NULL OR OLD.keep_until > strftime('%Y-%m-%d %H:%M:%f', 'now') "


def statements(tables: Iterable[Protected]) -> list[str]:
    """What puts the triggers in place."""
    return [
        statement for name, body in triggers(tables).items() for statement in (f"DROP TRIGGER IF EXISTS {name}", body)
    ]


def removal(tables: Iterable[Protected]) -> list[str]:
    return [f"DROP TRIGGER IF EXISTS {each.table}_{kind}" for each in tables for kind in KINDS]


def triggers(tables: Iterable[Protected]) -> dict[str, str]:
    """Trigger name → its SQL, exactly as sqlite_master keeps it."""
    made = {}
    for table, keys, expires, columns in tables:
        changed = f"WHEN NEW.{ACCOUNT} IS NOT NULL OR {_differ(columns)} " if columns else ""
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        there = " OR ".join(f"EXISTS ({_same_key(table, key)})" for key in keys)
        made[f"{table}_no_update"] = f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {changed}{refuse}"
        made[f"{table}_no_delete"] = (
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {OVER if expires else ''}{refuse}"
        )
        made[f"{table}_no_replace"] = (
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {there} "
            f"{refuse.replace('ABORT', 'FAIL')}"  # see audit.batch: it need not undo what it did not do
        )
    return made


def _differ(columns: Iterable[str]) -> str:
    new, old = (", ".join(f'{row}."{column}"' for column in columns) for row in ("NEW", "OLD"))
    return f"({new}) IS NOT ({old})"


def _same_key(table: str, key: str) -> str:
    equal = " AND ".join(f"{column} = NEW.{column}" for column in key.split(", "))
    return " ".join(("SELECT 1 FROM", table, "WHERE", equal))


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """What is not there, or not as it was made."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        found = dict(cursor.fetchall())
    return [
        f"trigger {name} is {'changed' if name in found else 'missing'}"
        for name, sql in triggers(protected_tables()).items()
        if found.get(name) != sql
    ]


@cache
def _names() -> frozenset[str]:
    return frozenset(protected.table for protected in protected_tables())


_REFUSED: dict[int, Callable[[str, str], bool]] = {
    sqlite3.SQLITE_DROP_TABLE: lambda name, _: name in _names(),
    sqlite3.SQLITE_DROP_TRIGGER: lambda _, table: table in _names(),
    sqlite3.SQLITE_DROP_INDEX: lambda _, table: table in _names(),
    sqlite3.SQLITE_ALTER_TABLE: lambda _, table: table in _names(),
    sqlite3.SQLITE_CREATE_TRIGGER: lambda _, table: table in _names(),
    sqlite3.SQLITE_CREATE_TEMP_TRIGGER: lambda _, table: table in _names(),
    sqlite3.SQLITE_PRAGMA: lambda name, value: bool(value) and name in ("writable_schema", "recursive_triggers"),
}


def authorize(action: int, first: str | None, second: str | None, database: str | None, inside: str | None) -> int:
    """SQLite's question whether a statement may do this: no, where it would take the protection away."""
    refused = _REFUSED.get(action)
    if refused is not None and refused(first or "", second or ""):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK
