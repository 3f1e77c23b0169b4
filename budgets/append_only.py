"""The database's refusal to change what was booked.

An UPDATE of anything but the name of a person who asked to be forgotten, and every DELETE, is refused by triggers on
both databases; so are TRUNCATE on PostgreSQL and, on SQLite, an INSERT that would replace a line. A superuser can drop a
trigger; the audit trail's seals are what shows that.
Django's table remake on SQLite drops triggers without a word, so they are put back after every migration.
"""

from collections.abc import Iterable
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tenants.append_only import is_guarded

TABLE = "budgets_entry"
KEPT = (
    "id, attempt, at, workspace_id, team_id, key_id, model, provider, nanos, tokens, status, price, classes, booked_at"
)
REFUSAL = "ledger entries are append-only"
THERE = " ".join(("SELECT 1 FROM", TABLE, "WHERE id = NEW.id OR attempt = NEW.attempt"))

SQLITE = {
    "budgets_entry_no_update": f"BEFORE UPDATE OF {KEPT} ON {TABLE} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
    "budgets_entry_no_delete": f"BEFORE DELETE ON {TABLE} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
    # REPLACE deletes without asking the DELETE trigger. Lines are booked twice by design, so this one passes over them.
    "budgets_entry_no_replace": f"BEFORE INSERT ON {TABLE} WHEN EXISTS ({THERE}) BEGIN SELECT RAISE(IGNORE); END",
}
FUNCTION = (
    "CREATE OR REPLACE FUNCTION budgets_entry_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ "
    f"BEGIN RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'restrict_violation'; END $$"
)
POSTGRESQL = {
    "no_update": f"BEFORE UPDATE OF {KEPT} ON {TABLE} FOR EACH ROW",
    "no_delete": f"BEFORE DELETE ON {TABLE} FOR EACH ROW",
    "no_truncate": f"BEFORE TRUNCATE ON {TABLE} FOR EACH STATEMENT",
}


def install(connection: BaseDatabaseWrapper) -> None:
    """Put the triggers in place; done twice, nothing changes."""
    if connection.vendor == "sqlite":
        uninstall(connection)
        run(connection, [f"CREATE TRIGGER {name} {body}" for name, body in SQLITE.items()])
        return
    statements = [FUNCTION]
    for name, body in POSTGRESQL.items():
        statements.append(f"CREATE OR REPLACE TRIGGER {name} {body} EXECUTE FUNCTION budgets_entry_append_only()")
        statements.append(f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER {name}")
    run(connection, statements)


def uninstall(connection: BaseDatabaseWrapper) -> None:
    if connection.vendor == "sqlite":
        run(connection, [f"DROP TRIGGER IF EXISTS {name}" for name in SQLITE])
        return
    dropped = [f"DROP TRIGGER IF EXISTS {name} ON {TABLE}" for name in POSTGRESQL]
    run(connection, [*dropped, "DROP FUNCTION IF EXISTS budgets_entry_append_only"])


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """What protects the ledger and is not there, or not as it was made. Empty when all is well."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [TABLE])
            found = dict(cursor.fetchall())
            wanted = {name: f"CREATE TRIGGER {name} {body}" for name, body in SQLITE.items()}
        else:
            cursor.execute(
                "SELECT tgname, tgenabled::text FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal",
                [TABLE],
            )
            found, wanted = dict(cursor.fetchall()), dict.fromkeys(POSTGRESQL, "A")
    return [
        f"trigger {name} of {TABLE} is {'changed or switched off' if name in found else 'missing'}"
        for name, made in wanted.items()
        if found.get(name) != made
    ]


def run(connection: BaseDatabaseWrapper, statements: Iterable[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def keep(*, using: str, **kwargs: Any) -> None:
    """Put back what a later migration may have left behind."""
    connection = connections[using]
    if is_guarded(connection) and not missing(connection):
        return
    if TABLE in connection.introspection.table_names():
        install(connection)
