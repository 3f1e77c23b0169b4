"""What is protected: the trail's own tables, and the history of every model that has one."""

from functools import cache
from typing import NamedTuple

from django.apps import apps
from simple_history.models import HistoricalChanges

CALLS = "audit_callrecord"
EVENTS = "audit_auditevent"
SEALS = "audit_seal"
SEAL_KEYS = "audit_sealkey"
ACCOUNT = "history_user_id"  # who made a change; empties when the account is deleted


class Protected(NamedTuple):
    """A table whose rows stay as they are."""

    table: str
    keys: tuple[str, ...]  # columns whose repetition REPLACE would resolve by deleting
    expires: bool = False  # a row may go when its `keep_until` has passed
    columns: tuple[str, ...] = ()  # of a history: all but ACCOUNT


TABLES = (
    Protected(CALLS, ("id",), expires=True),
    Protected(EVENTS, ("id",), expires=True),
    Protected(SEALS, ("id", "workspace_id, n")),
    Protected(SEAL_KEYS, ("id",)),
)


@cache
def protected_tables() -> tuple[Protected, ...]:
    """Every table that is protected, the trail's own first. Ask when the apps are ready."""
    histories = [model._meta for model in apps.get_models() if issubclass(model, HistoricalChanges)]
    return TABLES + tuple(
        Protected(
            meta.db_table,
            ("history_id",),
            columns=tuple(field.attname for field in meta.concrete_fields if field.attname != ACCOUNT),
        )
        for meta in sorted(histories, key=lambda meta: meta.db_table)
    )
