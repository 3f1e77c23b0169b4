"""What holds in a workspace: budgets, redaction, guardrails, alerts: rows ⇄ items."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from budgets.models import AlertChannel, Budget, thresholds_default
from evals.models import Guardrail
from gateway.core.money import dollars, nanos
from gateway.models import RedactionPolicy
from gateway.services.configuration.items import Item, numbered, sorted_lists
from gateway.services.configuration.kinds import Secret
from gateway.services.configuration.rows import Plain, Rows, decimal, holds_secret, number, save, sealed


class Budgets(Plain):
    kind = "budget"

    def read(self) -> Iterator[Item]:
        for row in Budget.objects.select_related("workspace").order_by("workspace__name", "name"):
            is_of_call = row.of == "call"
            fields = {
                "of": row.of,
                "match": row.match or None,
                "per": None if is_of_call else row.per,
                "limit_usd": None if row.limit_nanos is None else dollars(row.limit_nanos),
                "limit_tokens": row.limit_tokens,
                "mode": row.mode,
                "alert_at": thresholds_default() if is_of_call else row.alert_at,
                "afford": row.afford,
            }
            parent = (row.workspace.name,)
            yield Item("budget", (*parent, row.name), sorted_lists(fields, "alert_at"), parent, row=row)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        workspace, name = item.name
        fields = item.fields
        return save(
            row or Budget(workspace=rows.find("workspace", workspace), name=name),
            of=fields["of"],
            match=fields["match"] or "",
            per=fields["per"] or "total",
            limit_nanos=None if fields["limit_usd"] is None else nanos(fields["limit_usd"]),
            limit_tokens=fields["limit_tokens"],
            mode=fields["mode"],
            alert_at=fields["alert_at"],
            afford=fields["afford"],
        )


class Redactions(Plain):
    kind = "redaction"

    def read(self) -> Iterator[Item]:
        for row in RedactionPolicy.objects.select_related("workspace").order_by("workspace__name"):
            name = (row.workspace.name,)
            fields = {"detect": row.detect, "action": row.action, "on_error": row.on_error, "options": row.options}
            yield Item("redaction", name, sorted_lists(fields, "detect"), name, row=row)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        return save(row or RedactionPolicy(workspace=rows.find("workspace", *item.name)), **item.fields)


class Guardrails(Plain):
    """A guardrail has no name: it is known by its kind, and the second of a kind by its number."""

    kind = "guardrail"

    def read(self) -> Iterator[Item]:
        found = Guardrail.objects.select_related("workspace").order_by("workspace__name", "position", "id")
        for workspace, group in groupby(found, key=lambda row: row.workspace.name):
            for row, nth in numbered(group, lambda row: row.kind):
                fields = {
                    "action": row.action,
                    "threshold": number(row.threshold),
                    "words": row.words,
                    "options": row.options,
                }
                name = (workspace, row.kind, nth)
                yield Item("guardrail", name, fields, (workspace,), row=row, position=row.position)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        workspace, kind, _ = item.name
        return save(
            row or Guardrail(workspace=rows.find("workspace", workspace), kind=kind),
            **item.fields | {"threshold": decimal(item.fields["threshold"])},
            position=item.position,
        )


class Alerts(Plain):
    kind = "alert"

    def read(self) -> Iterator[Item]:
        for row in AlertChannel.objects.select_related("workspace").order_by("workspace__name", "kind", "url"):
            parent = (row.workspace.name,)
            fields = sorted_lists({"to": row.to, "enabled": row.is_enabled}, "to")
            yield Item("alert", (*parent, row.kind, row.url), fields, parent, row=row)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        workspace, kind, url = item.name
        row = row or AlertChannel(workspace=rows.find("workspace", workspace), kind=kind, url=url)
        values = {"to": item.fields["to"], "is_enabled": item.fields["enabled"]}
        return save(row, **values, **sealed(row, item.secret))

    def has_secret(self, row: Any, secret: Secret) -> bool:
        return holds_secret(row, secret)
