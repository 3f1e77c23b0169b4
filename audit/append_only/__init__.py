"""The database's own refusal to change what is recorded.

PostgreSQL   a row trigger against UPDATE and DELETE and a statement trigger against TRUNCATE, both ENABLE ALWAYS, so
             that `session_replication_role = replica` does not switch them off; an upsert's UPDATE meets the row
             trigger. A role that owns no table can't drop them.
SQLite       triggers against UPDATE and DELETE, and one against an INSERT whose key is there already, because
             REPLACE deletes without asking the DELETE trigger. An authorizer on the application's connections
             refuses to drop or alter what protects the tables (`guard`).

A row may be deleted once its own `keep_until` has passed; a row without one never. Of the history of configuration
only the link to an account may go, with the account. Whoever owns the database file or is a superuser can take all of
this away. The seals say so then: `manage.py audit verify`.

Django's table remake on SQLite forgets triggers, so they are put back after every `migrate`.
"""

from collections.abc import Iterable

from django.db.backends.base.base import BaseDatabaseWrapper

from audit import partitions
from audit.append_only import postgresql, sqlite
from audit.append_only.tables import TABLES, Protected, protected_tables

__all__ = ["TABLES", "guard", "install", "may_be_taken_away", "missing", "step_aside", "unguard", "uninstall"]


def install(connection: BaseDatabaseWrapper, tables: Iterable[Protected] = ()) -> None:
    """Put the triggers in place, or back in place, where there are such tables. Doing it again changes nothing."""
    there = _there(connection, tables)
    if connection.vendor == "sqlite":
        _run(connection, sqlite.statements(there))
    else:
        _run(connection, postgresql.statements(there, _parts(connection)))


def uninstall(connection: BaseDatabaseWrapper, tables: Iterable[Protected] = ()) -> None:
    """Take the triggers away; for undoing the migration, and for tests that empty the tables."""
    there = _there(connection, tables)
    if connection.vendor == "sqlite":
        _run(connection, sqlite.removal(there))
    else:
        _run(connection, postgresql.removal(there, _parts(connection)))


def step_aside(connection: BaseDatabaseWrapper) -> None:
    """Before migrations: the triggers of histories name columns, and SQLite drops no column that is so named."""
    unguard(connection)
    if connection.vendor == "sqlite":
        uninstall(connection, [protected for protected in protected_tables() if protected.columns])


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """What protects the tables and is not there, or not as it was made. Empty when all is well."""
    return sqlite.missing(connection) if connection.vendor == "sqlite" else postgresql.missing(connection)


def may_be_taken_away(connection: BaseDatabaseWrapper) -> str:
    """Why the gateway's own connection could take the protection away. Empty when it can't."""
    return "" if connection.vendor == "sqlite" else postgresql.may_be_taken_away(connection)


def guard(connection: BaseDatabaseWrapper) -> None:
    """Refuse, on this connection, every statement that would take the protection away. SQLite only."""
    if connection.vendor == "sqlite" and connection.connection is not None:
        connection.connection.set_authorizer(sqlite.authorize)


def unguard(connection: BaseDatabaseWrapper) -> None:
    """Let migrations do their work on this connection. SQLite only."""
    if connection.vendor == "sqlite" and connection.connection is not None:
        connection.connection.set_authorizer(None)


def _there(connection: BaseDatabaseWrapper, tables: Iterable[Protected]) -> list[Protected]:
    names = set(connection.introspection.table_names())
    return [protected for protected in tables or protected_tables() if protected.table in names]


def _parts(connection: BaseDatabaseWrapper) -> list[str]:
    return [partition.name for partition in partitions.partitions(connection)]


def _run(connection: BaseDatabaseWrapper, statements: list[str]) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql" and statements:
            cursor.execute("; ".join(statements))  # at once: there are more than a hundred
        elif connection.vendor == "sqlite":
            for statement in statements:
                cursor.execute(statement)
