"""Issue and revoke admin tokens. The secret is returned once, to be shown once."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from tenants.models import AdminToken, key_digest_of

PREFIX = "tgadm_"
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token and, this once, its secret."""

    token: AdminToken
    secret: str = field(repr=False)


@transaction.atomic
def issue_token(*, user: Any, name: str, is_read_only: bool = False, expires_at: datetime | None = None) -> IssuedToken:
    """Make a token that acts as this person. Raises ValidationError when they have one of this name."""
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    token = AdminToken(
        user=user,
        name=name,
        digest=key_digest_of(secret),
        hint=secret[-4:],
        is_read_only=is_read_only,
        expires_at=expires_at,
    )
    token.full_clean()
    token.save()
    return IssuedToken(token, secret)


@transaction.atomic
def revoke_token(*, token: AdminToken) -> AdminToken:
    """Close the token for good. Revoking twice changes nothing."""
    token = AdminToken.objects.select_for_update().get(pk=token.pk)
    if token.revoked_at is None:
        token.revoked_at = timezone.now()
        token.save()
    return token
