"""Forgetting people in the ledger: what they spent stays, under the pseudonym that their calls are kept under."""

from collections.abc import Mapping

from django.db.models import F

from budgets.models import Entry, Total
from tenants.models import Workspace

AMOUNTS = ("nanos", "tokens", "doubt_nanos", "doubt_tokens", "attempts")


def forget_people(workspace: Workspace, people: Mapping[str, str]) -> dict[str, int]:
    """Put each name's pseudonym in its place, in lines and daily totals. Returns how many lines named somebody.

    people   name → pseudonym
    """
    workspace_id, lines = str(workspace.pk), 0
    for name, pseudonym in people.items():
        lines += Entry.objects.filter(workspace_id=workspace_id, user=name).update(user=pseudonym)
        for total in Total.objects.filter(workspace_id=workspace_id, of="user", subject=name):
            same = Total.objects.filter(workspace_id=workspace_id, of="user", day=total.day, subject=pseudonym)
            if same.update(**{amount: F(amount) + getattr(total, amount) for amount in AMOUNTS}):
                total.delete()
            else:
                Total.objects.filter(pk=total.pk).update(subject=pseudonym)
    return {"ledger lines": lines}
