"""Appending events: what somebody did, in the transaction of the deed."""

import json
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.utils import timezone

from audit.batch import append_event
from audit.models import AuditEvent
from audit.origin import Origin, origin_now
from audit.rows import text
from gateway.core.ids import new_id
from tenants.models import Workspace

FOR_EVER = frozenset({"retention.drop", "erasure", "hold.place", "hold.release", "record.unreadable"})


def record_event(
    *,
    kind: str,
    workspace: Workspace | str | None = None,
    origin: Origin | None = None,
    about: models.Model | None = None,
    reason: str = "",
    **told: Any,
) -> AuditEvent:
    """Append one event. `told` may hold before, after and data: what JSON can say.

    `workspace` may be an id, of a workspace that is gone. What explains why records are missing is kept for ever.

    Raises DatabaseError when it can't be written; then the deed must not happen either.
    """
    origin = origin or origin_now()
    now = timezone.now()
    with transaction.atomic():
        return append_event(
            AuditEvent(
                id=uuid.UUID(new_id()),
                at=now,
                kind=kind,
                **_place(kind, workspace, now),
                actor_id=origin.actor_id,
                actor=text(origin.actor, 200),
                origin=text(origin.origin, 200),
                request_id=text(origin.request_id, 64),
                object_type="" if about is None else str(about._meta.verbose_name),
                object_id="" if about is None else str(about.pk)[:64],
                object_name="" if about is None else text(str(about), 300),
                reason=text(reason, 300),
                **{name: as_text(value) for name, value in told.items()},
            )
        )


def _place(kind: str, workspace: Workspace | str | None, now: datetime) -> dict[str, Any]:
    """Which workspace an event belongs to, and until when it is kept."""
    if not isinstance(workspace, Workspace):
        return {"workspace_id": workspace or "", "keep_until": None}
    keep_until = None if kind in FOR_EVER else now + timedelta(days=workspace.records_days)
    return {"workspace_id": str(workspace.pk), "workspace": workspace.name, "keep_until": keep_until}


def as_text(value: Any) -> str:
    """JSON with sorted keys; what both databases keep."""
    written = json.dumps(value, cls=_Encoder, sort_keys=True, ensure_ascii=False)
    return written.encode("utf-8", "replace").decode("utf-8")


class _Encoder(DjangoJSONEncoder):
    """Also writes what JSON has no form for."""

    def default(self, o: Any) -> Any:
        try:
            return super().default(o)
        except TypeError:
            return str(o)


def workspace_of(row: models.Model | None) -> Workspace | None:
    """The workspace that a configuration row belongs to, if it belongs to one."""
    for _ in range(4):
        if row is None or isinstance(row, Workspace):
            return row
        parents = ("workspace", "prompt", "version", "suite", "team", "budget", "experiment")
        row = next((getattr(row, name) for name in parents if isinstance(getattr(row, name, None), models.Model)), None)
    return None
