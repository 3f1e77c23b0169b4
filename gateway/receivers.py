"""A configuration row changed: raise the revision in the same transaction, and tell every process after it."""

from typing import Any

from django.apps import apps
from django.db import models, transaction
from django.db.models import F
from django.db.models.signals import post_delete, post_save

from gateway import reload
from gateway.models import Revision
from tenants.history import ConfigManager


def config_models() -> list[type[models.Model]]:
    """Every model whose rows the running gateway is compiled from."""
    return [model for model in apps.get_models() if isinstance(model._default_manager, ConfigManager)]


def connect() -> None:
    """Listen to every configuration model. Called once, when the apps are ready."""
    for model in [*config_models(), *(apps.get_model(name) for name in reload.ALSO_COMPILED)]:
        post_save.connect(bump, sender=model, dispatch_uid=f"revision:save:{model._meta.label}")
        post_delete.connect(bump, sender=model, dispatch_uid=f"revision:delete:{model._meta.label}")


def bump(*, using: str, **kwargs: Any) -> None:
    """Raise the revision with the change, and announce it once the change is committed."""
    connection = transaction.get_connection(using)
    pending = any(getattr(hook[1], "announces_revision", False) for hook in connection.run_on_commit)
    if pending and connection.in_atomic_block:
        return  # this transaction has raised it already
    if not Revision.objects.filter(pk=1).update(number=F("number") + 1):
        Revision.objects.get_or_create(pk=1, defaults={"number": 1})
    transaction.on_commit(announce, using=using)


def announce() -> None:
    reload.announce()


announce.announces_revision = True  # type: ignore[attr-defined]
