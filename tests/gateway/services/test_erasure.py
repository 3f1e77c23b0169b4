"""Who is erased is forgotten in the ledger and in the cache too; what was spent stays what it was."""

from datetime import UTC, date, datetime

import pytest
from django.db.models import Sum

from audit.models import AuditEvent, Subject
from audit.services.erasure import NamedInConfiguration, erase_person
from budgets.models import Budget, Entry, Total
from gateway.models import CachePurge
from tenants.models import RateLimit
from tests import rows

pytestmark = pytest.mark.django_db
ANN = "ann@example.com"
TOKEN = "a" * 32


def entry(workspace_id: str, number: int, user: str) -> Entry:
    return Entry.objects.create(
        attempt=f"{workspace_id}-{number}",
        at=datetime(2026, 3, 4, tzinfo=UTC),
        workspace_id=workspace_id,
        user=user,
        nanos=100,
        tokens=10,
        status="exact",
    )


def total(workspace_id: str, subject: str, day: int, nanos: int) -> Total:
    return Total.objects.create(
        workspace_id=workspace_id, of="user", subject=subject, day=date(2026, 3, day), nanos=nanos
    )


def test_a_person_is_forgotten_in_ledger_and_cache_and_nothing_that_was_spent_changes() -> None:
    acme, umbra = rows.tenant("acme").workspace, rows.tenant("umbra").workspace
    for workspace in (acme, umbra):
        Subject.objects.create(workspace_id=str(workspace.pk), token=TOKEN, name=ANN)
        for number, user in enumerate((ANN, ANN, "bob")):
            entry(str(workspace.pk), number, user)
        total(str(workspace.pk), ANN, 4, 200)
    total(str(acme.pk), TOKEN, 4, 5)  # erased before, and calling again
    total(str(acme.pk), ANN, 5, 7)
    spent = Total.objects.aggregate(Sum("nanos")), Entry.objects.aggregate(Sum("nanos"))

    gone = erase_person(workspace=acme, user=ANN)

    assert (gone["ledger lines"], gone["cache purges"]) == (2, 1)
    ours = Entry.objects.filter(workspace_id=str(acme.pk))
    assert sorted(ours.values_list("user", flat=True)) == [TOKEN, TOKEN, "bob"]
    assert Entry.objects.filter(workspace_id=str(umbra.pk), user=ANN).count() == 2
    totals = Total.objects.filter(workspace_id=str(acme.pk), of="user").order_by("day")
    assert list(totals.values_list("subject", "nanos")) == [(TOKEN, 205), (TOKEN, 7)]
    assert (Total.objects.aggregate(Sum("nanos")), Entry.objects.aggregate(Sum("nanos"))) == spent
    assert list(CachePurge.objects.filter(what="all").values_list("workspace", "name")) == [(acme.pk, "")]
    assert ANN not in repr(list(AuditEvent.objects.values()))
    assert ANN not in repr(list(CachePurge.history.values()))


def test_erasing_again_is_harmless() -> None:
    acme = rows.tenant("acme").workspace
    Subject.objects.create(workspace_id=str(acme.pk), token=TOKEN, name=ANN)
    entry(str(acme.pk), 1, ANN)
    assert erase_person(workspace=acme, user=ANN)["ledger lines"] == 1
    assert erase_person(workspace=acme, user=TOKEN)["ledger lines"] == 0
    assert Entry.objects.get().user == TOKEN


def test_whom_the_configuration_names_is_erased_once_an_admin_has_taken_the_name_out() -> None:
    acme, umbra = rows.tenant("acme").workspace, rows.tenant("umbra").workspace
    Subject.objects.create(workspace_id=str(acme.pk), token=TOKEN, name=ANN)
    budget = Budget.objects.create(workspace=acme, name="ann's", of="user", match=ANN, limit_nanos=1)
    Budget.objects.create(workspace=acme, name="a key of that name", of="key", match=ANN, limit_nanos=1)
    Budget.objects.create(workspace=umbra, name="theirs", of="user", match=ANN, limit_nanos=1)
    limit = RateLimit.objects.create(workspace=acme, of="user", match=ANN, amount=1)
    acme.blocked_users = [ANN, "bob"]
    acme.save()

    with pytest.raises(NamedInConfiguration, match="budget ann's, a rate limit, its list of blocked users"):
        erase_person(workspace=acme, user=ANN)
    assert Subject.objects.get(workspace_id=str(acme.pk)).name == ANN

    budget.delete()
    limit.delete()
    acme.blocked_users = ["bob"]
    acme.save()
    assert erase_person(workspace=acme, user=ANN)["history"] == 5  # made and deleted, twice; the list
    assert Subject.objects.get(workspace_id=str(acme.pk)).name == ""
