"""Forgetting people in the ledger: what they spent stays, under the pseudonym that their calls are kept under.

Their raises and alerts stay too, under the pseudonym and without their words; messages that named them go.
"""

import json
from collections.abc import Mapping

from django.db.models import F

from budgets.asking import NAME_MOST
from budgets.models import Alert, Budget, Delivery, Entry, Raise, Total
from tenants.models import Workspace

AMOUNTS = ("nanos", "tokens", "doubt_nanos", "doubt_tokens", "attempts")


def forget_people(workspace: Workspace, people: Mapping[str, str]) -> dict[str, int]:
    """Put each name's pseudonym in its place. Returns how many lines, raises, alerts and messages named somebody.

    people   name → pseudonym
    """
    workspace_id, lines, raises, alerts, messages = str(workspace.pk), 0, 0, 0, 0
    for name, pseudonym in people.items():
        lines += Entry.objects.filter(workspace_id=workspace_id, user=name).update(user=pseudonym)
        for total in Total.objects.filter(workspace_id=workspace_id, of="user", subject=name):
            same = Total.objects.filter(workspace_id=workspace_id, of="user", day=total.day, subject=pseudonym)
            if same.update(**{amount: F(amount) + getattr(total, amount) for amount in AMOUNTS}):
                total.delete()
            else:
                Total.objects.filter(pk=total.pk).update(subject=pseudonym)
        raises += forget_raises(workspace, name, pseudonym)
        alerts += forget_alerts(workspace, name, pseudonym)
        messages += forget_messages(workspace, name)
    return {"ledger lines": lines, "raises": raises, "alerts": alerts, "messages": messages}


def forget_raises(workspace: Workspace, name: str, pseudonym: str) -> int:
    """What was asked for or by them, and why they said so. Configuration, so it is saved row by row."""
    count = 0
    for row in Raise.objects.filter(workspace=workspace).select_related("budget"):
        key = key_that_asked(row.asked_by, name)
        is_for = row.budget.of == Budget.Of.USER and row.subject == name
        if key is None and not is_for:
            continue
        if is_for:
            waiting = Raise.objects.filter(budget=row.budget, subject=pseudonym, state=Raise.State.ASKED)
            if row.state == Raise.State.ASKED and waiting.exists():  # they were forgotten before
                row.state = Raise.State.REFUSED
            row.subject = row.subject_name = pseudonym
        if key is not None:
            row.asked_by = f"{key} ({pseudonym})"[:NAME_MOST]
        row.reason = ""
        row.save()
        count += 1
    return count


def key_that_asked(asked_by: str, name: str) -> str | None:
    """The key in "key (end user)", if this is the end user, whose name may be cut off. None if it is not."""
    whole, is_cut = f" ({name})", len(asked_by) == NAME_MOST
    for start in range(len(asked_by) - 2):
        tail = asked_by[start:]
        if tail == whole or (is_cut and whole.startswith(tail)):
            return asked_by[:start]
    return None


def forget_alerts(workspace: Workspace, name: str, pseudonym: str) -> int:
    found = Alert.objects.filter(budget__workspace=workspace, budget__of=Budget.Of.USER, subject=name)
    for alert in found:
        same = Alert.objects.filter(budget=alert.budget, subject=pseudonym, period_start=alert.period_start)
        if same.filter(threshold=alert.threshold).exists():
            alert.delete()
        else:
            Alert.objects.filter(pk=alert.pk).update(subject=pseudonym)
    return len(found)


def forget_messages(workspace: Workspace, name: str) -> int:
    """Messages to the workspace's channels, sent or still to be sent, in JSON or in words."""
    quoted = json.dumps(name)[1:-1]
    named = [
        pk
        for pk, body in Delivery.objects.filter(workspace=workspace).values_list("pk", "body")
        if name in body or quoted in body
    ]
    return Delivery.objects.filter(pk__in=named).delete()[0]
