"""Tables whose rows are only ever added: the database's own refusal of everything else, on both databases.

Every UPDATE and DELETE is refused by triggers, and so is an INSERT that would replace a row on SQLite, and TRUNCATE on
PostgreSQL. A superuser can drop a trigger; Django's remaking of a table on SQLite drops them without a word, so whoever
has such tables puts them back after every migration.
"""

import re
from collections.abc import Iterable, Mapping

from django.db.backends.base.base import BaseDatabaseWrapper

CREATED = re.compile(r"\bTRIGGER (?:IF NOT EXISTS )?(\w+) (?:BEFORE|AFTER)")
KINDS = ("no_update", "no_delete", "no_replace", "no_truncate")
ON_SQLITE, ON_POSTGRESQL = KINDS[:3], (*KINDS[:2], KINDS[3])
EVENT_TRIGGERS = 3  # of deploy/postgresql/protect.sql


class AppendOnly:
    """The rules of some tables.

    tables    each with the columns that may be emptied later, and the keys that REPLACE would take for the same row
    function  the name of their function on PostgreSQL
    """

    def __init__(self, tables: Mapping[str, tuple[frozenset[str], tuple[str, ...]]], function: str) -> None:
        self.tables, self.function = dict(tables), function

    def install(self, connection: BaseDatabaseWrapper) -> None:
        """Put the triggers in place; done twice, nothing changes."""
        self.uninstall(connection)
        run(connection, self.statements(connection))

    def uninstall(self, connection: BaseDatabaseWrapper) -> None:
        statements = []
        for table in self.there(connection):
            end = "" if connection.vendor == "sqlite" else f" ON {table}"
            statements += [f"DROP TRIGGER IF EXISTS {table}_{kind}{end}" for kind in KINDS]
        if connection.vendor == "postgresql":
            statements.append(f"DROP FUNCTION IF EXISTS {self.function}()")
        run(connection, statements)

    def there(self, connection: BaseDatabaseWrapper) -> list[str]:
        """Those of the tables that exist: an older migration that puts the triggers in place has not all of them."""
        found = set(connection.introspection.table_names())
        return [table for table in self.tables if table in found]

    def statements(self, connection: BaseDatabaseWrapper) -> list[str]:
        """The SQL that makes the triggers, for the tables as they are now."""
        tables = self.there(connection)
        if connection.vendor == "sqlite":
            return [each for table in tables for each in self._sqlite(connection, table)]
        refusal = (
            f"CREATE OR REPLACE FUNCTION {self.function}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END $$"
        )
        return [refusal, *(each for table in tables for each in self._postgresql(connection, table))]

    def _sqlite(self, connection: BaseDatabaseWrapper, table: str) -> list[str]:
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        taken = " OR ".join(f"EXISTS ({same(table, key)})" for key in self.tables[table][1])
        return [
            f"CREATE TRIGGER {table}_no_update BEFORE UPDATE OF {self._kept(connection, table)} ON {table} {refuse}",
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}",
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {taken} {refuse}",
        ]

    def _postgresql(self, connection: BaseDatabaseWrapper, table: str) -> list[str]:
        does, columns = f"EXECUTE FUNCTION {self.function}()", self._kept(connection, table)
        return [
            f"CREATE TRIGGER {table}_no_update BEFORE UPDATE OF {columns} ON {table} FOR EACH ROW {does}",
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} FOR EACH ROW {does}",
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {does}",
            *(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_{kind}" for kind in ON_POSTGRESQL),
        ]

    def _kept(self, connection: BaseDatabaseWrapper, table: str) -> str:
        """The columns that never change, as the table has them now."""
        with connection.cursor() as cursor:
            columns = [column.name for column in connection.introspection.get_table_description(cursor, table)]
        return ", ".join(f'"{name}"' for name in columns if name not in self.tables[table][0])

    def missing(self, connection: BaseDatabaseWrapper, more: Iterable[str] = ()) -> list[str]:
        """Triggers that belong there and are not there or are switched off. Empty when all is well.

        `more`: SQL that makes further triggers of the same tables.
        """
        if connection.vendor == "sqlite":
            query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        else:
            query = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
        with connection.cursor() as cursor:
            cursor.execute(query)
            found = {name for (name,) in cursor.fetchall()}
        # By name, without a look at what the tables are made of: it is asked every few seconds.
        kinds = ON_SQLITE if connection.vendor == "sqlite" else ON_POSTGRESQL
        wanted = {match[1] for statement in more if (match := CREATED.search(statement))}
        wanted |= {f"{table}_{kind}" for table in self.there(connection) for kind in kinds}
        return [f"trigger {name} is missing" for name in sorted(wanted - found)]


def same(table: str, key: str) -> str:
    equal = " AND ".join(f'"{column}" = NEW."{column}"' for column in key.split(", "))
    return " ".join(("SELECT 1 FROM", table, "WHERE", equal))


def run(connection: BaseDatabaseWrapper, statements: Iterable[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def is_guarded(connection: BaseDatabaseWrapper) -> bool:
    """Whether the event triggers of deploy/postgresql/protect.sql are all on, so that altering what stands is refused."""
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_event_trigger WHERE evtname ~ '^tollgate_no_' AND evtenabled = 'A'")
        return bool(cursor.fetchone()[0] == EVENT_TRIGGERS)
