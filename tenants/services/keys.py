"""Issue, rotate and revoke API keys. A secret is returned once, to be shown once; it is neither stored nor logged."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from tenants.models import ApiKey, Team, Workspace, key_digest_of

PREFIX = "tg_"
SECRET_BYTES = 32
SHORTEST_SECRET = 16
OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key and, this once, its secret."""

    key: ApiKey
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What a key may do. Empty `allowed_models` is all, empty `allowed_ips` is any."""

    team: Team | None = None
    allowed_models: Iterable[str] | None = None
    allowed_ips: Iterable[str] = ()
    expires_at: datetime | None = None


def new_secret() -> str:
    """A fresh key: 256 random bits, with a prefix by which scanners recognise it."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


@transaction.atomic
def issue_key(*, workspace: Workspace, name: str, terms: KeyTerms | None = None, secret: str = "") -> IssuedKey:
    """Make a key. Without `secret` a random one is made.

    Raises ValidationError, by field, when the name is taken, the team is another workspace's, or the secret is too
    short or in use.
    """
    terms = terms or KeyTerms()
    secret = secret or new_secret()
    key = ApiKey(
        workspace=workspace,
        name=name,
        team=terms.team,
        allowed_models=list(terms.allowed_models) if terms.allowed_models else None,
        allowed_ips=list(terms.allowed_ips),
        expires_at=terms.expires_at,
    )
    _put(key, secret)
    check_key(key=key)
    key.full_clean()
    key.save()
    return IssuedKey(key, secret)


@transaction.atomic
def rotate_key(*, key: ApiKey, overlap: timedelta = OVERLAP, secret: str = "") -> IssuedKey:
    """Give the key a new secret; the old one opens until the overlap ends. An overlap of zero closes it at once.

    Raises ValidationError when the key was revoked, the overlap is no span from 0 to 90 days, or the secret is too
    short or in use.
    """
    key = ApiKey.objects.select_for_update(of=("self",)).select_related("workspace", "team").get(pk=key.pk)
    if key.revoked_at is not None:
        raise ValidationError("This key was revoked; issue a new one instead.")
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise ValidationError({"overlap_hours": f"Choose between 0 and {LONGEST_OVERLAP.days * 24} hours."})
    secret = secret or new_secret()
    old = bytes(key.digest)
    _put(key, secret)
    key.previous_digest, key.previous_until = (old, timezone.now() + overlap) if overlap else (None, None)
    key.save()
    return IssuedKey(key, secret)


@transaction.atomic
def revoke_key(*, key: ApiKey) -> ApiKey:
    """Close the key for good, the secret in overlap too. Revoking twice changes nothing."""
    key = ApiKey.objects.select_for_update().get(pk=key.pk)
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        key.previous_digest = key.previous_until = None
        key.save()
    return key


def check_key(*, key: ApiKey) -> None:
    """Raises ValidationError when the key's team belongs to another workspace."""
    if key.team is not None and key.team.workspace_id != key.workspace_id:
        raise ValidationError({"team": "This team belongs to another workspace."})


def check_secret(*, secret: str) -> None:
    """Raises ValidationError unless the secret can be a key and is none yet."""
    if len(secret) < SHORTEST_SECRET:
        raise ValidationError(
            {"secret": f"A key has at least {SHORTEST_SECRET} characters; this one has {len(secret)}."}
        )
    if secret != secret.strip() or not secret.isprintable():
        raise ValidationError(
            {"secret": "No header can carry this key: leave out control characters, and spaces at its ends."}
        )
    digest = key_digest_of(secret)
    if ApiKey.objects.filter(Q(digest=digest) | Q(previous_digest=digest)).exists():
        raise ValidationError({"secret": "This secret is a key already; choose another."})


def _put(key: ApiKey, secret: str) -> None:
    """Store the secret's digest and hint."""
    check_secret(secret=secret)
    key.digest, key.hint = key_digest_of(secret), secret[-4:]
