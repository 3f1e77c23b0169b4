"""From a row to its workspace."""

from typing import Any

from django.db.models import Model


def workspace_id_of(row: Model, path: str) -> Any:
    """The id of the workspace that a row belongs to, following a lookup such as "prompt__workspace"."""
    if path == "pk":
        return row.pk
    current: Any = row
    *steps, last = path.split("__")
    for step in steps:
        current = getattr(current, step)
    return getattr(current, f"{last}_id")
