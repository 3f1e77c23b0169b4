"""Legal holds: nothing of a workspace is deleted or erased while one stands."""

from django.db import transaction
from django.utils import timezone

from audit.models import LegalHold
from audit.origin import Origin, origin_now
from audit.services.changes import record_event
from tenants.models import Workspace


def place_hold(*, workspace: Workspace, reason: str, origin: Origin | None = None) -> LegalHold:
    """Place a hold. Raises ValueError when one stands already, or without a reason."""
    if not reason.strip():
        raise ValueError("A hold needs a reason.")
    origin = origin or origin_now()
    if LegalHold.objects.filter(workspace_id=str(workspace.pk), released_at=None).exists():
        raise ValueError(f"{workspace.name} is under a hold already.")
    with transaction.atomic():
        hold = LegalHold.objects.create(
            workspace_id=str(workspace.pk), workspace=workspace.name, reason=reason[:300], placed_by=origin.actor
        )
        record_event(kind="hold.place", workspace=workspace, origin=origin, about=hold, reason=reason)
    return hold


def release_hold(*, workspace: Workspace, reason: str, origin: Origin | None = None) -> LegalHold:
    """Release the hold that stands. Raises ValueError when none does, or without a reason."""
    if not reason.strip():
        raise ValueError("Releasing a hold needs a reason.")
    origin = origin or origin_now()
    hold = LegalHold.objects.filter(workspace_id=str(workspace.pk), released_at=None).first()
    if hold is None:
        raise ValueError(f"{workspace.name} is under no hold.")
    with transaction.atomic():
        hold.released_by, hold.released_at = origin.actor, timezone.now()
        hold.save(update_fields=["released_by", "released_at"])
        record_event(kind="hold.release", workspace=workspace, origin=origin, about=hold, reason=reason)
    return hold
