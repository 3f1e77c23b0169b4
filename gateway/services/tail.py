"""Which calls a person may watch as they end."""

from typing import Any

from django.contrib.auth import get_user_model

from tenants.queries import access_of


def watchable(user_id: Any) -> frozenset[str] | None:
    """Ids of the workspaces whose calls this person may see, None for all; empty for whoever may see none."""
    user = get_user_model().objects.filter(pk=user_id, is_active=True).first()
    if user is None:
        return frozenset()
    ids = access_of(user).workspace_ids("view", "calls")
    return None if ids is None else frozenset(str(each) for each in ids)
