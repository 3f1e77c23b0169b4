"""Rows → TenantsSnapshot. Three queries, whatever the number of rows."""

from collections import defaultdict
from ipaddress import ip_network
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.utils import timezone

from gateway.core.call import Caller
from tenants.models import ApiKey, RateLimit, Workspace
from tenants.snapshot import KeyView, LimitView, TenantsSnapshot, WorkspaceView

WINDOW_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "": 0}


def snapshot(*, counters: Any) -> TenantsSnapshot:
    """Every key of every workspace, also revoked and expired ones, so that their callers are told why."""
    workspaces = {row.pk: workspace_view(row) for row in Workspace.objects.all()}
    keys: dict[bytes, KeyView] = {}
    for row in ApiKey.objects.select_related("team"):
        view = key_view(row, workspaces[row.workspace_id])
        keys[bytes(row.digest)] = view
        if row.previous_digest and row.previous_until and row.previous_until > timezone.now():
            until = row.previous_until.timestamp()
            keys[bytes(row.previous_digest)] = KeyView(
                view.caller, view.workspace, min(until, view.expires_at or until), view.revoked, view.networks
            )
    return TenantsSnapshot(
        keys=MappingProxyType(keys),
        peppers=tuple(secret.encode() for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)),
        limits=MappingProxyType(limits()),
        on_unavailable=MappingProxyType({view.id: view.on_limits_unavailable for view in workspaces.values()}),
        counters=counters,
    )


def workspace_view(row: Workspace) -> WorkspaceView:
    return WorkspaceView(
        id=str(row.pk),
        name=row.name,
        timezone=row.timezone,
        is_active=row.is_active,
        on_unpriced=row.on_unpriced,
        on_budgets_unavailable=row.on_budgets_unavailable,
        on_limits_unavailable=row.on_limits_unavailable,
        on_audit_unavailable=row.on_audit_unavailable,
        blocked_users=frozenset(row.blocked_users),
    )


def key_view(row: ApiKey, workspace: WorkspaceView) -> KeyView:
    team = row.team
    return KeyView(
        caller=Caller(
            workspace_id=workspace.id,
            workspace=workspace.name,
            key_id=str(row.pk),
            key=row.name,
            team_id=str(team.pk) if team else "",
            team=team.name if team else "",
            models=frozenset(row.allowed_models) if row.allowed_models else None,
        ),
        workspace=workspace,
        expires_at=row.expires_at.timestamp() if row.expires_at else None,
        revoked=row.revoked_at is not None,
        networks=tuple(ip_network(network) for network in row.allowed_ips),
    )


def limits() -> dict[str, tuple[LimitView, ...]]:
    """Rate limits by workspace id."""
    found: dict[str, list[LimitView]] = defaultdict(list)
    for row in RateLimit.objects.order_by("pk"):
        found[str(row.workspace_id)].append(
            LimitView(row.of, row.match, row.unit, row.amount, WINDOW_S[row.per], row.burst)
        )
    return {workspace: tuple(views) for workspace, views in found.items()}
