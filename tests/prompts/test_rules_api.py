"""Rules of channels and webhooks over /api/: checked as in the admin, and secrets go in but never come out."""

import json

import pytest
from django.conf import settings
from django.test import Client

from prompts.models import Channel, Webhook
from tests import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> rows.Tenant:
    return rows.tenant("acme")


@pytest.fixture
def owner(client: Client, acme) -> Client:
    client.force_login(acme.person("owner"))
    return client


def send(client: Client, method: str, path: str, **body):
    return getattr(client, method)(f"/api/{path}", json.dumps(body), content_type="application/json")


def test_a_channels_rules_are_made_changed_and_taken_away(owner):
    made = send(
        owner, "post", "channels/", workspace="acme", name="production", is_protected=True, required_suites=["golden"]
    )
    assert (made.status_code, made.json()["required_approvals"]) == (201, 1)
    path = f"channels/{made.json()['id']}/"
    assert send(owner, "patch", path, publishers=["pam"]).json()["publishers"] == ["pam"]
    assert Channel.objects.get(name="production").required_suites == ["golden"]
    assert send(owner, "post", "channels/", workspace="acme", name="production").status_code == 400
    assert send(owner, "patch", path, required_approvals=9).status_code == 400
    assert send(owner, "patch", path, publishers="pam").status_code == 400
    assert send(owner, "delete", path).status_code == 204


def test_a_webhooks_secret_is_sealed_and_never_shown(owner):
    url = "https://hooks.acme.example/prompts"
    made = send(
        owner, "post", "prompt-webhooks/", workspace="acme", url=url, secret="very-secret", events=["prompt.published"]
    )
    assert (made.status_code, made.json()["is_signed"]) == (201, True)
    assert "very-secret" not in made.content.decode()
    row = Webhook.objects.get(url=url)
    assert settings.KEYRING.open(row.sealed, row.seal_context) == b"very-secret"
    path = f"prompt-webhooks/{row.pk}/"
    moved = send(owner, "patch", path, url="https://elsewhere.example/")
    assert (moved.status_code, "secret" in moved.json()) == (400, True)
    assert send(owner, "patch", path, url="https://elsewhere.example/", secret="new").status_code == 200
    assert "secret" not in owner.get(f"/api/{path}").json()


@pytest.mark.parametrize("wrong", [{"url": "http://169.254.169.254/latest"}, {"events": ["prompt.eaten"]}, {"url": ""}])
def test_an_address_or_an_event_that_can_not_be_is_refused(owner, wrong):
    told = {"workspace": "acme", "url": "https://hooks.acme.example/x"} | wrong
    assert send(owner, "post", "prompt-webhooks/", **told).status_code == 400
