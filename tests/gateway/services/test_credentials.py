"""Keeping and trying providers' secrets."""

import pytest
from django.core.exceptions import ValidationError

from gateway.core.crypto import Undecryptable
from gateway.models import Credential
from gateway.services.credentials import reseal, seal, store_credential, try_credential
from tests import rows
from tests.upstream.server import Upstream

pytestmark = pytest.mark.django_db

SECRET = "sk-canary-1234567890"


def shared(upstream: Upstream) -> rows.Platform:
    return rows.platform(kind="openai_compatible", base_url=upstream.url)


def test_a_secret_is_sealed_and_bound_to_its_row() -> None:
    platform = rows.platform()
    stored = store_credential(provider=platform.provider, name="second", secret=f"  {SECRET}\n")

    assert SECRET.encode() not in bytes(stored.sealed)
    assert (stored.secret, stored.hint) == (SECRET, "7890")
    moved = Credential(provider=platform.provider, name="third", sealed=stored.sealed)
    with pytest.raises(Undecryptable, match="belongs to another row"):
        assert moved.secret


def test_storing_again_replaces_the_secret_of_the_same_row() -> None:
    platform = rows.platform()
    first = store_credential(provider=platform.provider, name="second", secret=SECRET)
    again = store_credential(provider=platform.provider, name="second", secret="sk-other-0987654321")

    assert (again.pk, again.secret) == (first.pk, "sk-other-0987654321")


@pytest.mark.parametrize("secret", ["", "   ", "x\x00y", "x" * 20_001])
def test_what_cannot_be_a_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValidationError):
        seal(credential=rows.platform().credential, secret=secret)


def test_a_secret_that_no_key_opens_any_more_has_to_be_written_again() -> None:
    credential = rows.platform().credential
    credential.name, credential.sealed = "renamed", b"\x01nonsense"

    with pytest.raises(ValidationError, match="write it again"):
        reseal(credential=credential, old_context="credential:1:first")


def test_trying_asks_the_provider_with_this_very_secret(upstream: Upstream) -> None:
    upstream.always(fault="status", status=401)
    upstream.for_key("sk-very-secret-1234", text="pong")
    trial = try_credential(credential=shared(upstream).credential)

    assert (trial.ok, trial.message) == (True, "small answered.")
    assert upstream.meter.requests == 1


def test_a_refused_secret_is_told(upstream: Upstream) -> None:
    upstream.always(fault="status", status=401, message="Incorrect API key provided: sk-very-secret-1234")
    trial = try_credential(credential=shared(upstream).credential)

    assert (trial.ok, trial.message) == (False, "small: the provider refused the gateway's credential (HTTP 401)")


def test_a_provider_that_repeats_the_secret_does_not_bring_it_to_the_page(upstream: Upstream) -> None:
    upstream.always(fault="status", status=400, message="no model small for sk-very-secret-1234")
    trial = try_credential(credential=shared(upstream).credential)

    assert (trial.ok, trial.message) == (False, "small: no model small for …")


def test_a_provider_that_is_not_there_is_told_so(refused_url: str) -> None:
    platform = rows.platform(kind="openai_compatible", base_url=refused_url)

    assert try_credential(credential=platform.credential).ok is False


def test_without_a_model_there_is_nothing_to_ask() -> None:
    platform = rows.platform()
    platform.route.delete()
    platform.model.delete()

    assert "has no chat model yet" in try_credential(credential=platform.credential).message


def test_the_demo_provider_answers_without_anything() -> None:
    assert try_credential(credential=rows.platform().credential).ok is True
