"""Issuing, rotating and revoking keys."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from tenants.models import ApiKey, Team, Workspace, key_digest_of
from tenants.services.keys import KeyTerms, issue_key, new_secret, revoke_key, rotate_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace() -> Workspace:
    return Workspace.objects.create(name="acme")


def test_a_key_is_kept_as_a_digest_and_a_hint(workspace) -> None:
    issued = issue_key(workspace=workspace, name="web")
    stored = ApiKey.objects.values().get()

    assert (bytes(stored["digest"]), stored["hint"]) == (key_digest_of(issued.secret), issued.secret[-4:])
    assert issued.secret not in repr(stored)
    assert issued.secret not in repr(issued)


def test_random_secrets_are_long_and_differ() -> None:
    made = {new_secret() for _ in range(50)}

    assert len(made) == 50
    assert {len(secret) for secret in made} == {46}


@pytest.mark.parametrize("secret", ["short", " with a space before it", "line\nbreak-in-the-key"])
def test_what_cannot_be_a_key_is_refused_and_nothing_is_kept(workspace, secret: str) -> None:
    with pytest.raises(ValidationError) as caught:
        issue_key(workspace=workspace, name="web", secret=secret)

    assert list(caught.value.message_dict) == ["secret"]
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("secret", ["has a space in it, twice", "schlüssel-für-äöü", "ключ-от-всех-дверей"])
def test_an_operators_own_key_may_be_any_text_that_a_header_carries(workspace, secret: str) -> None:
    assert issue_key(workspace=workspace, name="web", secret=secret).secret == secret


def test_a_secret_opens_one_key_only_also_while_it_overlaps(workspace) -> None:
    first = issue_key(workspace=workspace, name="a", secret="a-secret-of-the-operator")
    rotate_key(key=first.key)

    with pytest.raises(ValidationError, match="is a key already"):
        issue_key(workspace=workspace, name="b", secret="a-secret-of-the-operator")


def test_a_key_takes_no_team_of_another_workspace(workspace) -> None:
    other = Team.objects.create(workspace=Workspace.objects.create(name="umbra"), name="theirs")

    with pytest.raises(ValidationError, match="belongs to another workspace"):
        issue_key(workspace=workspace, name="web", terms=KeyTerms(team=other))


def test_an_overlap_of_zero_closes_the_old_secret_at_once(workspace) -> None:
    issued = issue_key(workspace=workspace, name="web")
    rotate_key(key=issued.key, overlap=timedelta(0))
    key = ApiKey.objects.get()

    assert (key.previous_digest, key.previous_until) == (None, None)
    assert bytes(key.digest) != key_digest_of(issued.secret)


def test_rotating_twice_leaves_the_last_two_secrets(workspace) -> None:
    issued = issue_key(workspace=workspace, name="web")
    second = rotate_key(key=issued.key)
    third = rotate_key(key=issued.key)
    key = ApiKey.objects.get()

    assert (bytes(key.digest), bytes(key.previous_digest)) == (
        key_digest_of(third.secret),
        key_digest_of(second.secret),
    )


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=91)])
def test_an_overlap_is_no_longer_than_ninety_days(workspace, overlap: timedelta) -> None:
    issued = issue_key(workspace=workspace, name="web")

    with pytest.raises(ValidationError, match="Choose between 0 and 2160 hours"):
        rotate_key(key=issued.key, overlap=overlap)


def test_revoking_twice_keeps_the_first_moment(workspace) -> None:
    issued = issue_key(workspace=workspace, name="web")
    first = revoke_key(key=issued.key).revoked_at
    second = revoke_key(key=issued.key).revoked_at

    assert first == second
    assert first <= timezone.now()
    assert issued.key.history.filter(history_type="~").count() == 1


def test_every_change_of_a_key_is_in_its_history_without_its_digest(workspace) -> None:
    issued = issue_key(workspace=workspace, name="web")
    rotate_key(key=issued.key)
    revoke_key(key=issued.key)
    kept = issued.key.history.all()

    assert [entry.history_type for entry in kept] == ["~", "~", "+"]
    assert not hasattr(kept[0], "digest")
