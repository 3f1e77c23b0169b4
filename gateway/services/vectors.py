"""The table of the semantic cache in PostgreSQL, where the vector extension can be had."""

import logging
from typing import Any

from django.db import DatabaseError, connection, connections, transaction

from gateway.caching.vectors import CREATE, ERASE, TABLE

log = logging.getLogger(__name__)


def make_table(*, using: str = "default", **kwargs: Any) -> None:
    """Make the extension and the table after a migration, or leave both where this server has no such extension."""
    database = connections[using]
    if database.vendor != "postgresql":
        return
    try:
        with transaction.atomic(using=using), database.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")
            if cursor.fetchone() is not None:
                for statement in CREATE:
                    cursor.execute(statement)
    except DatabaseError as error:  # the extension is there, but this role may not make it
        log.warning("the semantic cache stays in each worker's memory: %s", str(error).partition("\n")[0])


def has_table() -> bool:
    """Whether the questions of the semantic cache can stand in the database."""
    return connection.vendor == "postgresql" and TABLE in connection.introspection.table_names()


def erase_questions(*, workspace_id: str) -> None:
    if has_table():
        with connection.cursor() as cursor:
            cursor.execute(ERASE, [workspace_id])
