"""The records of calls, newest first."""

import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.models import CallRecord
from audit.queries import contract_lines
from tenants.models import Workspace


class Command(BaseCommand):
    help = "Print call records, newest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workspace", metavar="W", help="only calls of this workspace")
        parser.add_argument("--since", metavar="ISO", help="only calls from this moment on, e.g. 2026-01-31T08:00:00Z")
        parser.add_argument("--id", metavar="CALL_ID", help="only this call")
        parser.add_argument("--jsonl", action="store_true", help="one JSON object a line")

    def handle(self, *, workspace: str | None, since: str | None, id: str | None, jsonl: bool, **options: Any) -> None:
        records = CallRecord.objects.order_by("-at", "-id")
        if workspace is not None:
            if (
                not Workspace.objects.filter(name=workspace).exists()
                and not records.filter(workspace=workspace).exists()
            ):
                raise CommandError(f"There is no workspace {workspace!r}.")
            records = records.filter(workspace=workspace)
        if since is not None:
            records = records.filter(at__gte=moment(since))
        if id is not None:
            records = records.filter(pk=id)
        write = self._line if jsonl else self._row
        for line in contract_lines(records.iterator(chunk_size=500)):
            write(line)

    def _line(self, call: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(call, ensure_ascii=False))

    def _row(self, call: dict[str, Any]) -> None:
        who = "/".join(part for part in (call["workspace"], call["key"], call["user"]) if part) or "nobody"
        where = " at ".join(part for part in (call["model"], call["provider"]) if part) or "-"
        ended = f"{call['status']} {call['outcome']}" + (f" ({call['code']})" if call["code"] else "")
        tokens = f"{call['input_tokens']}+{call['output_tokens']} tokens"
        self.stdout.write(
            f"{call['at']}  {call['call_id']}  {who}  {where}  {ended}  {tokens}  ${call['cost_usd']}  {call['ms']:.0f} ms"
        )


def moment(text: str) -> datetime:
    """The moment that an ISO 8601 text names; UTC unless it says otherwise. Raises CommandError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a moment; write one like 2026-01-31T08:00:00Z.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
