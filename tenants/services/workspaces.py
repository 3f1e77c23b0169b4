"""Open and close workspaces."""

from typing import Any

from django.db import transaction

from tenants.models import Member, Workspace


@transaction.atomic
def open_workspace(*, name: str, owner: Any = None, **settings: Any) -> Workspace:
    """Make a workspace, with an owner if one is named. Raises ValidationError when a setting is wrong."""
    workspace = Workspace(name=name, **settings)
    workspace.full_clean()
    workspace.save()
    if owner is not None:
        Member.objects.create(workspace=workspace, user=owner, role=Member.Role.OWNER)
    return workspace


@transaction.atomic
def close_workspace(*, workspace: Workspace) -> Workspace:
    """Refuse every key of the workspace from now on; nothing of it is deleted."""
    workspace = Workspace.objects.select_for_update().get(pk=workspace.pk)
    if workspace.is_active:
        workspace.is_active = False
        workspace.save()
    return workspace
