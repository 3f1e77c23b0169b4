import json

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import Client

from audit.batch import decode_leaves, event_row
from audit.models import AuditEvent, PendingLeaves
from audit.rows import digest
from gateway.models import Provider, Route
from tenants.history import BulkWriteRefused
from tenants.models import Workspace

pytestmark = pytest.mark.django_db


def events():
    return list(AuditEvent.objects.order_by("at", "id"))


def test_a_change_says_what_was_there_before_and_what_after():
    acme = Workspace.objects.create(name="acme")
    acme.store_bodies = True
    acme.save()
    acme.delete()

    made, changed, deleted = events()

    assert [(e.kind, e.object_type, e.object_name) for e in (made, changed, deleted)] == [
        ("create", "workspace", "acme"),
        ("change", "workspace", "acme"),
        ("delete", "workspace", "acme"),
    ]
    assert made.before == ""
    assert json.loads(made.after)["store_bodies"] is False
    assert changed.changes == [("store_bodies", False, True)]
    assert json.loads(deleted.before)["name"] == "acme"


def test_a_change_that_is_rolled_back_leaves_no_event():
    with transaction.atomic():
        Workspace.objects.create(name="acme")
        transaction.set_rollback(True)

    assert events() == []
    assert PendingLeaves.objects.count() == 0


def test_every_event_has_a_leaf_for_the_seals():
    Workspace.objects.create(name="acme")

    [event] = events()
    [(kind, event_id, leaf, _, _, _)] = decode_leaves(bytes(PendingLeaves.objects.get().leaves))

    assert (kind, event_id) == ("e", str(event.pk))
    event.refresh_from_db()
    assert leaf == digest(event_row(event))


def test_a_change_in_the_admin_names_the_person_and_the_address():
    admin = get_user_model().objects.create_superuser("ann", password="x")
    client = Client(REMOTE_ADDR="10.1.2.3", headers={"x-request-id": "req-7"})
    client.force_login(admin)

    client.post(
        "/admin/auth/user/add/",
        {"username": "bob", "password1": "oiu-88-xyz", "password2": "oiu-88-xyz", "usable_password": "true"},
    )

    found = AuditEvent.objects.filter(kind="create", object_name="bob").get()
    assert (found.actor, found.actor_id, found.origin, found.request_id) == ("ann", str(admin.pk), "10.1.2.3", "req-7")
    assert "oiu" not in found.after
    assert AuditEvent.objects.filter(kind="sign_in", object_name="ann", origin="10.1.2.3").count() == 0  # forced


def test_signing_in_and_failing_to_is_recorded_without_the_password():
    get_user_model().objects.create_superuser("ann", password="right-one")
    client = Client(REMOTE_ADDR="10.1.2.3")

    client.login(username="ann", password="wrong-one")
    client.login(username="ann", password="right-one")

    kinds = [event.kind for event in events()]
    assert [kind for kind in kinds if kind.startswith("sign")] == ["sign_in_failed", "sign_in"]
    assert not any("-one" in repr(row) for row in AuditEvent.objects.values())


def test_configuration_can_not_be_changed_behind_the_audits_back():
    Workspace.objects.create(name="acme")
    count = AuditEvent.objects.count()

    for change in (
        lambda: Workspace.objects.update(name="other"),
        lambda: Workspace.objects.filter(name="acme").update(name="other"),
        lambda: Route.objects.bulk_create([Route(name="chat")]),
        lambda: Provider.objects.bulk_update([], ["name"]),
    ):
        with pytest.raises(BulkWriteRefused):
            change()

    assert AuditEvent.objects.count() == count


def test_a_workspaces_events_are_kept_as_long_as_its_records():
    Workspace.objects.create(name="acme", records_days=10)

    [event] = events()

    assert (event.keep_until - event.at).days == 10
