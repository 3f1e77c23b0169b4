"""A suite that changes outdates what it has passed: a channel that requires it must not go on trusting old runs."""

from typing import Any

from django.db.models.signals import post_delete, post_save

from evals.models import Case, Suite
from evals.services.outdating import outdate


def connect() -> None:
    """Listen. Called once, when the apps are ready."""
    for model in (Suite, Case):
        for signal in (post_save, post_delete):
            signal.connect(changed, sender=model, dispatch_uid=f"evals:outdate:{model.__name__}:{id(signal)}")


def changed(*, instance: Suite | Case, raw: bool = False, **kwargs: Any) -> None:
    if not raw:
        suite = instance if isinstance(instance, Suite) else instance.suite
        outdate(workspace_id=suite.workspace_id, name=suite.name)
