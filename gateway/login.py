"""The login form: members of a workspace may enter, and guessing is slow."""

import hashlib
from typing import Any

from django.core.cache import cache
from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm

from audit.origin import address_of
from tenants.queries import access_of

MOST_FAILURES_BY_NAME = 5  # for one name from one address
MOST_FAILURES_BY_ADDRESS = 20  # for one address, whatever the names
LOCKED_SECONDS = 15 * 60


class LoginForm(AuthenticationForm):  # type: ignore[misc]
    """Refuses without looking at the password once a name or an address has failed too often."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "This name and password don't match. Both may be case-sensitive.",
        "no_role": "You have an account but no role in any workspace. Ask an owner of yours to add you.",
        "locked": f"Too many attempts. Try again in {LOCKED_SECONDS // 60} minutes.",
    }

    def clean(self) -> dict[str, Any]:
        keys = self._keys()
        if any((cache.get(key) or 0) >= most for key, most in keys):
            raise ValidationError(self.error_messages["locked"], code="locked")
        try:
            cleaned: dict[str, Any] = super().clean()
        except ValidationError:
            for key, _ in keys:
                cache.add(key, 0, LOCKED_SECONDS)
                cache.incr(key)
            raise
        cache.delete(keys[0][0])
        return cleaned

    def confirm_login_allowed(self, user: Any) -> None:
        if not user.is_active:
            raise ValidationError(self.error_messages["inactive"], code="inactive")
        if not access_of(user).is_member:
            raise ValidationError(self.error_messages["no_role"], code="no_role")

    def _keys(self) -> list[tuple[str, int]]:
        address = address_of(self.request) if self.request else ""
        name = self.cleaned_data.get("username", "").casefold()
        return [
            (_key("name", f"{name}|{address}"), MOST_FAILURES_BY_NAME),
            (_key("address", address), MOST_FAILURES_BY_ADDRESS),
        ]


def _key(kind: str, value: str) -> str:
    return f"login:{kind}:{hashlib.sha256(value.encode()).hexdigest()}"
