"""The database's refusal to change what was said, approved, tried or served (see tenants/append_only.py).

Only the link to an author may go, with the author's account. What a new deployment must obey stands in deploy_rules.py.
"""

from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from prompts import deploy_rules
from tenants.append_only import AppendOnly, is_guarded, run

RULES = AppendOnly(
    {
        "prompts_promptversion": (frozenset({"author_id"}), ("id", "prompt_id, number")),
        "prompts_approval": (frozenset(), ("id",)),
        "prompts_suiteresult": (frozenset(), ("id",)),
        "prompts_deployment": (frozenset(), ("id", "prompt_id, channel, seq")),
    },
    "prompts_append_only",
)


def install(connection: BaseDatabaseWrapper) -> None:
    """Put the triggers in place; done twice, nothing changes."""
    uninstall(connection)
    RULES.install(connection)


def uninstall(connection: BaseDatabaseWrapper) -> None:
    run(connection, deploy_rules.removal(connection.vendor))
    RULES.uninstall(connection)


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """Triggers that belong there and are not there or are switched off. Empty when all is well."""
    return RULES.missing(connection, deploy_rules.statements(connection.vendor))


def keep(*, using: str, **kwargs: Any) -> None:
    """Put back what a migration may have left behind."""
    connection = connections[using]
    if is_guarded(connection) and not missing(connection):
        return
    if len(RULES.there(connection)) == len(RULES.tables):
        install(connection)
        run(connection, deploy_rules.statements(connection.vendor))


def step_aside(*, using: str, **kwargs: Any) -> None:
    """Before migrations: the rules of deployments name other tables, and SQLite can't remake a table so named."""
    connection = connections[using]
    if connection.vendor == "sqlite" and deploy_rules.TABLE in connection.introspection.table_names():
        run(connection, deploy_rules.removal(connection.vendor))
