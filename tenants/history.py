"""Configuration that remembers: every change of such a row is kept, and none can slip past.

`QuerySet.update()` and `bulk_*` write no history and send no signal, so a change made with them would reach neither
the audit trail nor the running gateway. On configuration they refuse.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

from django.db import models
from simple_history.signals import pre_create_historical_record

_actor: ContextVar[str] = ContextVar("actor", default="")


class BulkWriteRefused(TypeError):
    """A bulk write on configuration: save each row instead, so that its change is recorded and takes effect."""


class ConfigQuerySet(models.QuerySet[Any]):
    """A queryset of configuration rows. Writes go row by row."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise BulkWriteRefused(f"{self.model.__name__} is configuration: save each row, so that the change is recorded")

    def bulk_create(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise BulkWriteRefused(f"{self.model.__name__} is configuration: create each row with save()")

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise BulkWriteRefused(f"{self.model.__name__} is configuration: save each row, so that the change is recorded")


@contextmanager
def acting(actor: str) -> Iterator[None]:
    """Every change made inside was made by this actor, where no person is logged in: "apply", "demo" …"""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def current_actor() -> str:
    """Who acts now by `acting`, or nothing."""
    return _actor.get()


def name_actor(*, history_instance: Any, **kwargs: Any) -> None:
    """Put the actor into the history, where nothing else gives a reason."""
    if not history_instance.history_change_reason and current_actor():
        history_instance.history_change_reason = current_actor()


pre_create_historical_record.connect(name_actor, dispatch_uid="tenants:name_actor")
ConfigManager = models.Manager.from_queryset(ConfigQuerySet)
