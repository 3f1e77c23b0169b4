"""Rows → AuditSnapshot. One query, whatever the number of rows."""

import hmac
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from django.conf import settings

from audit.snapshot import AuditSnapshot, Keeping
from gateway.core.call import Call
from tenants.models import Workspace

Listener = Callable[[Call], None]


def snapshot(*, journal: Any, begin: Listener | None = None, write: Listener | None = None) -> AuditSnapshot:
    """How every workspace keeps its calls.

    `journal` is this worker's Recorder, or None where nothing is recorded; `begin` and `write` are told of every call
    besides.
    """
    return AuditSnapshot(
        keeping=MappingProxyType({str(row.pk): keeping(row) for row in Workspace.objects.all()}),
        recorder=journal,
        begin=begin,
        write=write,
    )


def keeping(row: Workspace) -> Keeping:
    return Keeping(
        store_bodies=row.store_bodies,
        records_days=row.records_days,
        bodies_days=row.bodies_days,
        is_strict=row.on_audit_unavailable == Workspace.OnAuditUnavailable.STRICT,
        subject_key=subject_key(str(row.pk)),
    )


def subject_key(workspace_id: str) -> bytes:
    """The key under which this workspace's end users have their pseudonyms."""
    return hmac.digest(settings.SECRET_KEY.encode(), f"subject:{workspace_id}".encode(), "sha256")
