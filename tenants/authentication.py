"""Who is asking /api/: an admin token as bearer. A key of /v1 is something else and opens nothing here."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from gateway.core.crypto import key_digest
from tenants.models import AdminToken


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer TOKEN`. The digest is looked up, so no secret is ever compared byte by byte."""

    def authenticate(self, request: Request) -> tuple[Any, AdminToken] | None:
        scheme, _, secret = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        peppers = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        shown = secret.strip().decode("latin-1")
        digests = [key_digest(pepper.encode(), shown) for pepper in peppers]
        token = AdminToken.objects.select_related("user").filter(digest__in=digests).first()
        if token is None:
            raise AuthenticationFailed(
                "This is no admin token. Keys of /v1 do not work here; make one under Admin tokens."
            )
        if not token.is_usable:
            raise AuthenticationFailed("This token was revoked or has expired.")
        if not token.user.is_active:
            raise AuthenticationFailed("This token's user is not active.")
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema names it."""

    target_class = TokenAuthentication
    name = "adminToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An admin token, `tgadm_…`."}
