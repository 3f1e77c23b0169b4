"""Secrets go in, are shown once where they are made here, and stand on no other page, in no log, in no history."""

import logging

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from gateway.models import Credential
from tenants.models import ApiKey, key_digest_of
from tests import rows

pytestmark = pytest.mark.django_db

CANARY = "sk-canary-9f8e7d6c5b4a"


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(rows.superuser())
    return client


def every_page(client: Client) -> bytes:
    """All lists, rows and histories, one after the other."""
    shown = []
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        shown.append(client.get(reverse(f"{name}_changelist")).content)
        for row in model._default_manager.all()[:3]:
            shown.append(client.get(reverse(f"{name}_change", args=[row.pk])).content)
            shown.append(client.get(reverse(f"{name}_history", args=[row.pk])).content)
    return b"".join(shown)


def test_a_keys_secret_is_on_the_page_that_answers_the_form_and_on_no_other(root: Client, caplog) -> None:
    acme = rows.tenant("acme")
    caplog.set_level(logging.DEBUG)
    body = {"workspace": acme.workspace.pk, "name": "web", "allowed_ips": "10.0.0.0/8\n::1"}
    made = root.post(reverse("admin:tenants_apikey_add"), body)
    secret = made.context["secret"]
    key = ApiKey.objects.get(name="web")

    assert "no-store" in made.headers["cache-control"]
    assert secret.encode() in made.content
    assert bytes(key.digest) == key_digest_of(secret)
    assert (key.allowed_ips, key.allowed_models) == (["10.0.0.0/8", "::1"], None)
    assert secret.encode() not in every_page(root)
    assert secret not in caplog.text


def test_a_chosen_secret_is_taken_and_a_refused_one_is_not_echoed(root: Client) -> None:
    acme = rows.tenant("acme")
    body = {"workspace": acme.workspace.pk, "name": "web", "secret": CANARY}
    path = reverse("admin:tenants_apikey_add")
    taken = root.post(path, body)
    again = root.post(path, {**body, "name": "other"})

    assert taken.context["secret"] == CANARY
    assert b"This secret is a key already; choose another." in again.content
    assert CANARY.encode() not in again.content
    assert b"has at least 16 characters" in root.post(path, {**body, "secret": "short"}).content


def test_rotating_asks_first_then_shows_the_new_secret_once(root: Client) -> None:
    acme = rows.tenant("acme")
    path = reverse("admin:tenants_apikey_rotate", args=[acme.key.pk])
    asked = root.get(path)
    unchanged = bytes(ApiKey.objects.get(pk=acme.key.pk).digest)
    done = root.post(path, {"overlap_hours": 24})
    key = ApiKey.objects.get(pk=acme.key.pk)

    assert asked.status_code == 200
    assert unchanged == key_digest_of(acme.secret)
    assert bytes(key.digest) == key_digest_of(done.context["secret"])
    assert bytes(key.previous_digest) == key_digest_of(acme.secret)
    assert done.context["secret"].encode() not in every_page(root)


def test_revoking_asks_first(root: Client) -> None:
    acme = rows.tenant("acme")
    path = reverse("admin:tenants_apikey_revoke", args=[acme.key.pk])
    root.get(path)
    before = ApiKey.objects.get(pk=acme.key.pk).is_usable
    root.post(path)

    assert (before, ApiKey.objects.get(pk=acme.key.pk).is_usable) == (True, False)
    assert (
        root.post(reverse("admin:tenants_apikey_rotate", args=[acme.key.pk]), {"overlap_hours": 1}).status_code == 200
    )
    assert ApiKey.objects.get(pk=acme.key.pk).previous_digest is None


def test_a_credential_is_written_kept_replaced_and_renamed_but_never_shown(root: Client) -> None:
    shared = rows.platform()
    path = reverse("admin:gateway_credential_change", args=[shared.credential.pk])
    body = {"name": "first", "position": 0, "is_enabled": "on"}
    root.post(path, {**body, "secret": ""})
    kept = Credential.objects.get().secret
    root.post(path, {**body, "secret": CANARY})
    replaced = Credential.objects.get().secret
    root.post(path, {**body, "name": "renamed", "secret": ""})

    assert (kept, replaced) == ("sk-very-secret-1234", CANARY)
    assert (Credential.objects.get().name, Credential.objects.get().secret) == ("renamed", CANARY)
    assert CANARY.encode() not in every_page(root)


def test_a_provider_can_be_made_together_with_its_credential(root: Client) -> None:
    body = {
        "name": "new",
        "kind": "openai",
        "is_enabled": "on",
        "quirks": "{}",
        "credentials-TOTAL_FORMS": 1,
        "credentials-INITIAL_FORMS": 0,
        "credentials-0-name": "main",
        "credentials-0-secret": CANARY,
        "credentials-0-position": 0,
        "credentials-0-is_enabled": "on",
        "models-TOTAL_FORMS": 0,
        "models-INITIAL_FORMS": 0,
    }
    assert root.post(reverse("admin:gateway_provider_add"), body).status_code == 302
    assert Credential.objects.get(provider__name="new").secret == CANARY


def test_an_alert_channels_secret_is_sealed_and_bound_to_its_address(root: Client) -> None:
    acme = rows.tenant("acme")
    path = reverse("admin:budgets_alertchannel_change", args=[acme.channel.pk])
    body = {"kind": "webhook", "url": acme.channel.url, "is_enabled": "on"}
    root.post(path, {**body, "secret": CANARY})
    acme.channel.refresh_from_db()
    moved = root.post(path, {**body, "url": "https://other.example/hook"})

    assert CANARY.encode() not in bytes(acme.channel.sealed)
    assert b"The secret belongs to the old address; write it again." in moved.content
    assert CANARY.encode() not in every_page(root)
