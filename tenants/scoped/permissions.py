"""Who may ask /api/ what: the matrix of roles.py."""

from typing import Any

from django.db.models import Model
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from tenants.queries import access_of
from tenants.roles import Verb
from tenants.scoped.rows import workspace_id_of


class IsMember(BasePermission):
    """Superusers, and members of at least one workspace."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(request.user and request.user.is_authenticated) and access_of(request.user).is_member


class RolePermission(BasePermission):
    """What the role allows in the row's workspace. A token that only reads only reads."""

    message = "Your role does not allow this."

    def has_permission(self, request: Request, view: Any) -> bool:
        verb = _verb(request, view)
        if verb != "view" and getattr(request.auth, "is_read_only", False):
            return False
        return bool(request.user and request.user.is_authenticated) and access_of(request.user).may(verb, view.area)

    def has_object_permission(self, request: Request, view: Any, obj: Model) -> bool:
        where = workspace_id_of(obj, view.workspace_path) if view.workspace_path else None
        return access_of(request.user).may(_verb(request, view), view.area, where)


def _verb(request: Request, view: Any) -> Verb:
    """What the request does: what the view says of its own actions, else to look or to change."""
    named: Verb | None = getattr(view, "verbs", {}).get(getattr(view, "action", None))
    if named is not None:
        return named
    return "view" if request.method in SAFE_METHODS else "change"
