"""Guarded reads: what a person may see."""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import QuerySet

from tenants.models import Member, Workspace
from tenants.roles import Access, Area, Verb

_KEPT = "_tollgate_access"


def access_of(user: AbstractBaseUser | AnonymousUser) -> Access:
    """What this person may do. Read once for each user object, that is, once per request."""
    kept = user.__dict__.get(_KEPT)
    if kept is None:
        kept = user.__dict__[_KEPT] = _read(user)
    assert isinstance(kept, Access)
    return kept


def _read(user: Any) -> Access:
    if not user.is_active or user.pk is None:
        return Access()
    if user.is_superuser:
        return Access(everywhere=True)
    return Access(roles=dict(Member.objects.filter(user=user).values_list("workspace_id", "role").order_by()))


def workspaces_for(
    user: AbstractBaseUser | AnonymousUser, verb: Verb = "view", area: Area = "workspace"
) -> QuerySet[Workspace]:
    """The workspaces in which this person may do this."""
    ids = access_of(user).workspace_ids(verb, area)
    return Workspace.objects.all() if ids is None else Workspace.objects.filter(pk__in=ids)
