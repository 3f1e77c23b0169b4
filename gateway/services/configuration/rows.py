"""What it takes to turn items into rows and back: one shape for each kind, which reads and writes side by side."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from django.conf import settings
from django.db import models

from gateway.core.crypto import Undecryptable
from gateway.services.configuration.items import Item, Key
from gateway.services.configuration.kinds import Secret

ACTOR = "apply"


@dataclass(slots=True)
class Rows:
    """The rows that exist by now, by the key of their item, and the secrets that were made on the way."""

    by_key: dict[Key, Any] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)

    def find(self, kind: str, *name: str) -> Any:
        return self.by_key[kind, name]


class Shape(Protocol):
    """How one kind of item lies in the database."""

    kind: str

    def read(self) -> Iterator[Item]:
        """Every item of this kind, in a stable order, with its row. A fixed number of queries."""
        ...

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        """Make the row (when `row` is None) or change it, and return it. Raises ValidationError."""
        ...

    def remove(self, row: Any) -> None:
        """Delete the row, or take it out of use where it must stay."""
        ...

    def has_secret(self, row: Any, secret: Secret) -> bool:
        """Whether this is the secret that the row holds already."""
        ...


class Plain:
    """What most shapes share: no secret, and rows that may be deleted."""

    def remove(self, row: Any) -> None:
        row.delete()

    def has_secret(self, row: Any, secret: Secret) -> bool:
        return True


def save(row: models.Model, **values: Any) -> Any:
    """Set these values, check the whole and save; a row that has them all is left alone. Raises ValidationError."""
    if not row._state.adding and all(getattr(row, name) == value for name, value in values.items()):
        return row
    for name, value in values.items():
        setattr(row, name, value)
    row.full_clean()
    row.save()
    return row


def decimal(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def holds_secret(row: Any, secret: Secret) -> bool:
    """Whether this is the secret that the row keeps in `sealed`, bound to its `seal_context`."""
    if row.sealed is None:
        return False
    try:
        return bool(settings.KEYRING.open(row.sealed, row.seal_context) == secret.text.encode())
    except Undecryptable:
        return False


def sealed(row: Any, secret: Secret | None) -> dict[str, bytes]:
    """The value of `sealed` where the file gives another secret than the row keeps; else nothing."""
    if secret is None or holds_secret(row, secret):
        return {}
    return {"sealed": settings.KEYRING.seal(secret.text.encode(), row.seal_context)}
