"""What `manage.py check --database default` and `doctor` ask of this app."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Warning
from django.db import connections

from audit import append_only
from audit.models import CallRecord


def records_are_protected(*, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """The triggers that keep records as they are must be in place. Only asked once the tables are there."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if CallRecord._meta.db_table not in connection.introspection.table_names():
            continue
        found += [
            Warning(f"{problem}.", hint="Run `manage.py migrate`, which puts the triggers back.", id="audit.W001")
            for problem in append_only.missing(connection)
        ]
    return found
