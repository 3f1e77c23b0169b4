"""The database's refusal to change what was said, approved or served.

Every UPDATE and DELETE of a version, an approval, a suite's result or a deployment is refused by triggers on both
databases, and so is an INSERT that would replace a row on SQLite, and TRUNCATE on PostgreSQL. Only the link to an
author may go, with the author's account. A superuser can drop a trigger; Django's remaking of a table on SQLite drops
them without a word, so they are put back after every migration. What a new deployment must obey stands in
deploy_rules.py.
"""

import re
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from prompts import deploy_rules

# Table → the columns that may be emptied later, and what REPLACE would take for the same row.
TABLES = {
    "prompts_promptversion": (frozenset({"author_id"}), ("id", "prompt_id, number")),
    "prompts_approval": (frozenset(), ("id",)),
    "prompts_suiteresult": (frozenset(), ("id",)),
    "prompts_deployment": (frozenset(), ("id", "prompt_id, channel, seq")),
}
CREATED = re.compile(r"\bTRIGGER (?:IF NOT EXISTS )?(\w+) (?:BEFORE|AFTER)")
FUNCTION = "prompts_append_only"


def install(connection: BaseDatabaseWrapper) -> None:
    """Put the triggers in place; done twice, nothing changes."""
    uninstall(connection)
    run(connection, sqlite(connection) if connection.vendor == "sqlite" else postgresql(connection))


def there(connection: BaseDatabaseWrapper) -> list[str]:
    """Those of the tables that exist: an older migration that puts the triggers in place has not all of them."""
    found = set(connection.introspection.table_names())
    return [table for table in TABLES if table in found]


def uninstall(connection: BaseDatabaseWrapper) -> None:
    statements = deploy_rules.removal(connection.vendor)
    for table in there(connection):
        for kind in ("no_update", "no_delete", "no_replace", "no_truncate"):
            end = "" if connection.vendor == "sqlite" else f" ON {table}"
            statements.append(f"DROP TRIGGER IF EXISTS {table}_{kind}{end}")
    if connection.vendor == "postgresql":
        statements.append(f"DROP FUNCTION IF EXISTS {FUNCTION}()")
    run(connection, statements)


def sqlite(connection: BaseDatabaseWrapper) -> list[str]:
    statements = []
    for table in there(connection):
        keys = TABLES[table][1]
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        taken = " OR ".join(f"EXISTS ({same(table, key)})" for key in keys)
        statements += [
            f"CREATE TRIGGER {table}_no_update BEFORE UPDATE OF {kept(connection, table)} ON {table} {refuse}",
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}",
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {taken} {refuse}",
        ]
    return statements


def postgresql(connection: BaseDatabaseWrapper) -> list[str]:
    statements = [
        f"CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END $$"
    ]
    for table in there(connection):
        does = f"EXECUTE FUNCTION {FUNCTION}()"
        statements += [
            f"CREATE TRIGGER {table}_no_update BEFORE UPDATE OF {kept(connection, table)} ON {table} FOR EACH ROW {does}",
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} FOR EACH ROW {does}",
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {does}",
        ]
        statements += [
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_{kind}"
            for kind in ("no_update", "no_delete", "no_truncate")
        ]
    return statements


def same(table: str, key: str) -> str:
    equal = " AND ".join(f"{column} = NEW.{column}" for column in key.split(", "))
    return " ".join(("SELECT 1 FROM", table, "WHERE", equal))


def kept(connection: BaseDatabaseWrapper, table: str) -> str:
    """The columns that never change, as the table has them now."""
    with connection.cursor() as cursor:
        columns = [column.name for column in connection.introspection.get_table_description(cursor, table)]
    return ", ".join(f'"{name}"' for name in columns if name not in TABLES[table][0])


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """Triggers that belong there and are not there or are switched off. Empty when all is well."""
    if connection.vendor == "sqlite":
        made, found = (
            [*sqlite(connection), *deploy_rules.sqlite()],
            "SELECT name FROM sqlite_master WHERE type = 'trigger'",
        )
    else:
        made = [*postgresql(connection), *deploy_rules.postgresql()]
        found = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
    with connection.cursor() as cursor:
        cursor.execute(found)
        found_names = {name for (name,) in cursor.fetchall()}
    wanted = {match[1] for statement in made if (match := CREATED.search(statement))}
    return [f"trigger {name} is missing" for name in sorted(wanted - found_names)]


def run(connection: BaseDatabaseWrapper, statements: list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def keep(*, using: str, **kwargs: Any) -> None:
    """Put back what a migration may have left behind."""
    connection = connections[using]
    if set(TABLES) <= set(connection.introspection.table_names()):
        install(connection)
        run(connection, deploy_rules.sqlite() if connection.vendor == "sqlite" else deploy_rules.postgresql())


def step_aside(*, using: str, **kwargs: Any) -> None:
    """Before migrations: the rules of deployments name other tables, and SQLite can't remake a table so named."""
    connection = connections[using]
    if deploy_rules.TABLE in connection.introspection.table_names():
        run(connection, deploy_rules.removal(connection.vendor))
