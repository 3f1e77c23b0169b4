"""Give people roles. Nobody gives more than they hold, and a workspace with an owner keeps one."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from tenants.models import Member, Workspace
from tenants.roles import Access


def find_person(*, name_or_email: str) -> Any:
    """The active user of this exact user name or e-mail address. Raises ValidationError when there is none, or two."""
    people = list(
        get_user_model().objects.filter(
            Q(username=name_or_email) | Q(email__iexact=name_or_email), is_active=True, is_superuser=False
        )[:2]
    )
    if len(people) != 1:
        raise ValidationError(
            {"person": "No one of this name or address has an account here. Ask a superuser to create one first."}
        )
    return people[0]


@transaction.atomic
def set_role(*, workspace: Workspace, user: Any, role: str, by: Access) -> Member:
    """Make the person a member in this role, or change the role they have.

    Raises ValidationError when `by` may not give this role, may not touch this member, or would leave no owner.
    """
    member = Member.objects.select_for_update().filter(workspace=workspace, user=user).first()
    check_role(member=member, workspace_id=workspace.pk, role=role, by=by)
    if member is None:
        member = Member(workspace=workspace, user=user)
    member.role = role
    member.full_clean()
    member.save()
    return member


@transaction.atomic
def remove_member(*, member: Member, by: Access) -> None:
    """Take the person's role away. Raises ValidationError as set_role does."""
    check_role(member=member, workspace_id=member.workspace_id, role="", by=by)
    member.delete()


def check_role(*, member: Member | None, workspace_id: Any, role: str, by: Access) -> None:
    """Raises ValidationError unless `by` may turn this member's role, if any, into `role` ("" removes it)."""
    if by.everywhere:
        return
    mine = by.roles.get(workspace_id)
    held = Member.objects.filter(pk=member.pk).values_list("role", flat=True).first() if member else None
    if mine != "owner" and "owner" in (role, held):
        raise ValidationError({"role": "Only an owner may make, change or remove an owner."})
    owners = Member.objects.filter(workspace_id=workspace_id, role="owner")
    if held == "owner" and role != "owner" and owners.count() < 2:
        raise ValidationError({"role": "This is the workspace's last owner; make another one first."})
