"""In the web UI another tenant's rows are not there, and a role does what the matrix allows."""

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from tenants.models import ApiKey, Member, Team
from tests import rows

pytestmark = pytest.mark.django_db

OWNED = (
    "workspace",
    "team",
    "key",
    "limit",
    "budget",
    "channel",
    "redaction",
    "guardrail",
    "purge",
    "prompt",
    "suite",
    "rules",
    "webhook",
)
PLATFORM = (
    "gateway.Provider",
    "gateway.Credential",
    "gateway.Revision",
    "auth.User",
    "django_celery_beat.PeriodicTask",
)


@pytest.fixture
def acme() -> rows.Tenant:
    return rows.tenant("acme")


@pytest.fixture
def umbra() -> rows.Tenant:
    umbra = rows.tenant("umbra")
    umbra.person("owner")
    return umbra


def page(row, verb: str = "change") -> str:
    opts = row._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_{verb}", args=[row.pk])


def listing(row_or_model) -> str:
    opts = row_or_model._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")


@pytest.mark.parametrize("name", OWNED)
def test_a_list_its_filters_and_its_search_name_nothing_of_another_tenant(client: Client, acme, umbra, name) -> None:
    client.force_login(acme.person("owner"))
    shown = client.get(listing(getattr(acme, name)))

    assert shown.status_code == 200
    assert b"umbra" not in shown.content
    assert client.get(listing(getattr(acme, name)), {"q": "umbra"}).context["cl"].result_count == 0


@pytest.mark.parametrize("verb", ["change", "history", "delete"])
@pytest.mark.parametrize("name", OWNED)
def test_another_tenants_page_is_not_found(client: Client, acme, umbra, name, verb) -> None:
    client.force_login(acme.person("owner"))

    assert client.get(page(getattr(umbra, name), verb)).status_code == 404
    assert client.post(page(getattr(umbra, name), verb), {"post": "yes"}).status_code == 404


@pytest.mark.parametrize("verb", ["rotate", "revoke"])
def test_another_tenants_key_can_be_neither_rotated_nor_revoked(client: Client, acme, umbra, verb) -> None:
    client.force_login(acme.person("owner"))
    path = reverse(f"admin:tenants_apikey_{verb}", args=[umbra.key.pk])

    assert client.post(path, {"overlap_hours": 0}).status_code in (403, 404)
    assert ApiKey.objects.get(pk=umbra.key.pk).is_usable


def test_a_bulk_action_reaches_no_other_tenants_rows(client: Client, acme, umbra) -> None:
    client.force_login(acme.person("owner"))
    picked = {"action": "revoke_selected", "_selected_action": [str(umbra.key.pk), str(acme.key.pk)]}
    client.post(listing(ApiKey), picked)

    assert ApiKey.objects.get(pk=umbra.key.pk).is_usable
    assert not ApiKey.objects.get(pk=acme.key.pk).is_usable


def test_an_autocomplete_offers_no_other_tenants_rows(client: Client, acme, umbra) -> None:
    client.force_login(acme.person("owner"))
    for field, expected in (("workspace", "acme"), ("team", "acme-team")):
        asked = {"app_label": "tenants", "model_name": "apikey", "field_name": field, "term": ""}
        found = client.get(reverse("admin:autocomplete"), asked).json()["results"]
        assert [each["text"] for each in found] == [expected]


def test_a_form_accepts_no_other_tenants_rows(client: Client, acme, umbra) -> None:
    client.force_login(acme.person("owner"))
    in_umbra = {"workspace": umbra.workspace.pk, "name": "smuggled"}
    of_umbra = {"workspace": acme.workspace.pk, "name": "smuggled", "team": umbra.team.pk}

    assert client.post(reverse("admin:tenants_team_add"), in_umbra).status_code == 200
    assert client.post(reverse("admin:tenants_apikey_add"), of_umbra).status_code == 200
    assert not Team.objects.filter(name="smuggled").exists()
    assert not ApiKey.objects.filter(name="smuggled").exists()


def test_the_search_of_everything_finds_no_other_tenants_rows(client: Client, acme, umbra) -> None:
    client.force_login(acme.person("owner"))
    found = client.get(reverse("admin:search"), {"s": "umbra", "extended": "1"})

    assert found.status_code == 200
    assert b"umbra-" not in found.content


def test_a_row_stays_in_its_workspace(client: Client, acme, umbra) -> None:
    client.force_login(rows.superuser())
    client.post(page(acme.team), {"workspace": umbra.workspace.pk, "name": "renamed"})
    acme.team.refresh_from_db()

    assert (acme.team.name, acme.team.workspace) == ("renamed", acme.workspace)


@pytest.mark.parametrize("label", PLATFORM)
@pytest.mark.parametrize("role", ["owner", "viewer"])
def test_members_do_not_see_the_platforms_pages(client: Client, acme, role: str, label: str) -> None:
    rows.platform()
    client.force_login(acme.person(role))
    model = next(model for model in admin.site._registry if model._meta.label == label)

    assert client.get(listing(model)).status_code == 403


@pytest.mark.parametrize("name", OWNED)
def test_a_viewer_looks_and_changes_nothing(client: Client, acme, name: str) -> None:
    client.force_login(acme.person("viewer"))
    row = getattr(acme, name)

    assert client.get(page(row)).status_code == 200
    assert client.post(page(row), {"name": "x"}).status_code == 403
    assert client.get(reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_add")).status_code == 403
    assert client.post(page(row, "delete"), {"post": "yes"}).status_code == 403


def test_a_superusers_own_pages_are_never_a_members(client: Client, acme) -> None:
    root = rows.superuser()
    client.force_login(acme.person("owner"))

    assert client.get(reverse("admin:auth_user_change", args=[root.pk])).status_code in (403, 404)
    assert client.get(reverse("admin:auth_user_password_change", args=[root.pk])).status_code in (403, 404)


def test_nobody_gives_more_than_they_hold(client: Client, acme) -> None:
    client.force_login(acme.person("admin"))
    viewer = Member.objects.get(user=acme.person("viewer"))
    refused = client.post(page(viewer), {"role": "owner"})
    allowed = client.post(page(viewer), {"role": "editor"})

    assert (refused.status_code, allowed.status_code) == (200, 302)
    assert b"Only an owner may make, change or remove an owner." in refused.content
    assert Member.objects.get(pk=viewer.pk).role == "editor"


def test_the_last_owner_cannot_be_removed(client: Client, acme) -> None:
    client.force_login(acme.person("owner"))
    owner = Member.objects.get(user=acme.person("owner"))
    client.post(page(owner, "delete"), {"post": "yes"})

    assert Member.objects.filter(pk=owner.pk).exists()


def test_an_owner_adds_somebody_who_has_an_account(client: Client, acme, umbra) -> None:
    client.force_login(acme.person("owner"))
    body = {"workspace": acme.workspace.pk, "person": "umbra-owner@example.com", "role": "viewer"}
    added = client.post(reverse("admin:tenants_member_add"), body)
    unknown = client.post(reverse("admin:tenants_member_add"), {**body, "person": "nobody"})

    assert added.status_code == 302
    assert Member.objects.get(workspace=acme.workspace, user=umbra.person("owner")).role == "viewer"
    assert b"No one of this name or address has an account here" in unknown.content


def test_a_token_is_shown_once_and_only_to_its_own_person(client: Client, acme) -> None:
    client.force_login(acme.person("viewer"))
    made = client.post(reverse("admin:tenants_admintoken_add"), {"name": "mine"})
    secret = made.context["secret"]

    assert secret.encode() in made.content
    assert "no-store" in made.headers["cache-control"]
    assert secret.encode() not in client.get(reverse("admin:tenants_admintoken_changelist")).content
    client.force_login(acme.person("owner"))
    assert client.get(reverse("admin:tenants_admintoken_changelist")).context["cl"].result_count == 0


def test_history_is_read_and_never_written_back(client: Client, acme) -> None:
    client.force_login(acme.person("owner"))
    version = acme.team.history.first()
    path = reverse("admin:tenants_team_simple_history", args=[acme.team.pk, version.pk])

    assert client.get(path).status_code == 200
    assert client.post(path, {"name": "reverted"}).status_code == 403
