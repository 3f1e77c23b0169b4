"""Workspaces, teams, API keys, rate limits: rows ⇄ items."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from gateway.core.crypto import key_digest
from gateway.services.configuration.items import Item, sorted_lists
from gateway.services.configuration.kinds import Secret, canonical_moment
from gateway.services.configuration.rows import Plain, Rows, save
from tenants.models import ApiKey, RateLimit, Team, Workspace
from tenants.services.keys import KeyTerms, issue_key, revoke_key, rotate_key


class Workspaces(Plain):
    kind = "workspace"

    def read(self) -> Iterator[Item]:
        for row in Workspace.objects.order_by("name"):
            fields = {
                "timezone": row.timezone,
                "enabled": row.is_active,
                "on_unpriced": row.on_unpriced,
                "on_unavailable": {
                    "budgets": row.on_budgets_unavailable,
                    "limits": row.on_limits_unavailable,
                    "audit": row.on_audit_unavailable,
                },
                "blocked_users": sorted(row.blocked_users),
                "retention": {
                    "records_days": row.records_days,
                    "bodies_days": row.bodies_days,
                    "store_bodies": row.store_bodies,
                },
            }
            yield Item("workspace", (row.name,), fields, row=row, is_gone=not row.is_active)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        fields = item.fields
        values: dict[str, Any] = {
            name: fields[name] for name in ("timezone", "on_unpriced", "blocked_users") if name in fields
        }
        if "enabled" in fields:
            values["is_active"] = fields["enabled"]
        values |= {f"on_{name}_unavailable": value for name, value in fields.get("on_unavailable", {}).items()}
        values |= fields.get("retention", {})
        return save(row or Workspace(name=item.name[0]), **values)

    def remove(self, row: Any) -> None:
        """Records and keys outlive a workspace: it is switched off, and every key of it is refused."""
        save(row, is_active=False)


class Teams(Plain):
    kind = "team"

    def read(self) -> Iterator[Item]:
        for row in Team.objects.select_related("workspace").order_by("workspace__name", "name"):
            parent = (row.workspace.name,)
            yield Item("team", (*parent, row.name), {}, parent, row=row)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        workspace, name = item.name
        return save(row or Team(name=name), workspace=rows.find("workspace", workspace))


class Keys(Plain):
    kind = "key"

    def read(self) -> Iterator[Item]:
        for row in ApiKey.objects.select_related("workspace", "team").order_by("workspace__name", "name"):
            fields = {
                "team": row.team.name if row.team else None,
                "models": row.allowed_models,
                "allowed_ips": row.allowed_ips,
                "expires_at": canonical_moment(row.expires_at) if row.expires_at else None,
            }
            parent = (row.workspace.name,)
            gone = row.revoked_at is not None
            fields = sorted_lists(fields, "models", "allowed_ips")
            yield Item("key", (*parent, row.name), fields, parent, row=row, is_gone=gone)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        """A key that has no secret in the file gets one when it is made, and keeps it. A changed secret holds at once."""
        workspace, name = item.name
        fields = item.fields
        team = rows.find("team", workspace, fields["team"]) if fields["team"] else None
        expires_at = datetime.fromisoformat(fields["expires_at"]) if fields["expires_at"] else None
        if row is None:
            terms = KeyTerms(team, fields["models"], fields["allowed_ips"], expires_at)
            secret = item.secret.text if item.secret else ""
            issued = issue_key(workspace=rows.find("workspace", workspace), name=name, terms=terms, secret=secret)
            if item.secret is None:
                rows.made["/".join(item.name)] = issued.secret
            return issued.key
        if item.secret is not None and not self.has_secret(row, item.secret):
            row = rotate_key(key=row, overlap=timedelta(0), secret=item.secret.text).key
        if expires_at and row.expires_at and canonical_moment(row.expires_at) == fields["expires_at"]:
            expires_at = row.expires_at  # to the microsecond as it was
        return save(
            row, team=team, allowed_models=fields["models"], allowed_ips=fields["allowed_ips"], expires_at=expires_at
        )

    def remove(self, row: Any) -> None:
        revoke_key(key=row)

    def has_secret(self, row: Any, secret: Secret) -> bool:
        """Also the secret from before a rotation, while it still opens: the file is late, the key is not wrong."""
        peppers = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
        digests = {key_digest(pepper.encode(), secret.text) for pepper in peppers}
        if bytes(row.digest) in digests:
            return True
        overlaps = row.previous_digest is not None and row.previous_until > timezone.now()
        return overlaps and bytes(row.previous_digest) in digests


class Limits(Plain):
    kind = "limit"

    def read(self) -> Iterator[Item]:
        found = RateLimit.objects.select_related("workspace")
        for row in found.order_by("workspace__name", "of", "match", "unit", "per"):
            parent = (row.workspace.name,)
            fields = {"amount": row.amount, "burst": row.burst}
            yield Item("limit", (*parent, row.of, row.match, row.unit, row.per), fields, parent, row=row)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        workspace, of, match, unit, per = item.name
        row = row or RateLimit(workspace=rows.find("workspace", workspace), of=of, match=match, unit=unit, per=per)
        return save(row, amount=item.fields["amount"], burst=item.fields["burst"])
