"""How full each budget is, as a table or as JSON."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from budgets.drift import rebuild_totals
from budgets.states import budget_states
from tenants.models import Workspace

COLUMNS = ("workspace", "name", "scope", "period_start", "limit_usd", "spent_usd", "held_usd", "in_doubt_usd")


class Command(BaseCommand):
    help = "Show each budget: its limit, what was spent, what is held for running calls, and what is in doubt."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", metavar="W", help="only the budgets of this workspace")
        parser.add_argument("--json", action="store_true", help="print a JSON array")

        parser.add_argument(
            "--rebuild", action="store_true", help="make the daily totals again from the ledger's lines, then show"
        )

    def handle(self, *, workspace: str | None, json: bool, rebuild: bool, **options: Any) -> None:
        if rebuild:
            self.stderr.write(f"The totals are made again from {rebuild_totals()} ledger lines.")
        rows = Workspace.objects.prefetch_related("budgets").order_by("name")
        if workspace is not None:
            rows = rows.filter(name=workspace)
            if not rows:
                names = ", ".join(Workspace.objects.order_by("name").values_list("name", flat=True)) or "none"
                raise CommandError(f"There is no workspace {workspace!r}. There are: {names}.")
        states = [state for each in rows for state in budget_states(each)]
        if json:
            self.stdout.write(as_json(states))
        elif not states:
            self.stdout.write("There are no budgets.")
        else:
            self.stdout.write(as_table(states))


def as_json(states: list[dict[str, Any]]) -> str:
    return json.dumps(states, indent=2)


def as_table(states: list[dict[str, Any]]) -> str:
    """Columns as wide as their widest cell; token budgets show tokens."""
    lines = [list(COLUMNS)]
    for state in states:
        cells = [str(state["workspace"]), state["name"], state["scope"], state["period_start"] or "-"]
        for name in ("limit", "spent", "held", "in_doubt"):
            usd, tokens = state[f"{name}_usd"], state[f"{name}_tokens"]
            cells.append(usd if usd is not None else f"{tokens} tokens")
        lines.append(cells)
    widths = [max(len(line[place]) for line in lines) for place in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
