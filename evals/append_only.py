"""The database's refusal to change what was answered, scored or approved (see tenants/append_only.py)."""

from typing import Any

from django.db import connections

from tenants.append_only import AppendOnly, is_guarded

RULES = AppendOnly(
    {
        "evals_run": (frozenset(), ("id",)),
        "evals_output": (frozenset(), ("id", "run_id, case, repeat")),
        "evals_scoring": (frozenset(), ("id",)),
        "evals_score": (frozenset(), ("id", "scoring_id, output_id, number")),
        "evals_approved": (frozenset(), ("id",)),
    },
    "evals_append_only",
)


def keep(*, using: str, **kwargs: Any) -> None:
    """Put the triggers in place after every migration."""
    connection = connections[using]
    if not is_guarded(connection) or RULES.missing(connection):
        RULES.install(connection)
