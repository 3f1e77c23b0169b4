"""What `manage.py check --database default` and `doctor` ask of this app."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Warning
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from audit import append_only
from audit.models import CallRecord


def records_are_protected(*, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """The triggers that keep records as they are must be in place. Only asked once the tables are there.

    While migrations wait to be applied, the triggers are those of before: `migrate`, which asks this first, brings them up
    to date at its end. `/readyz` names what is missing all the same.
    """
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if CallRecord._meta.db_table not in connection.introspection.table_names():
            continue
        problems = append_only.missing(connection)
        if problems and not _has_migrations_to_apply(connection):
            hint = "Run `manage.py migrate`, which puts the triggers back."
            found += [Warning(f"{problem}.", hint=hint, id="audit.W001") for problem in problems]
    return found


def _has_migrations_to_apply(connection: BaseDatabaseWrapper) -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
