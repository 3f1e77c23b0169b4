"""Price calls anew after a price was corrected."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from budgets.compiler import price_lists
from budgets.management.commands.statement import instant
from budgets.services.repricing import Outcome, Wanted, foresee, reprice
from gateway.core.money import dollars
from tenants.models import Workspace


class Command(BaseCommand):
    help = (
        "Price the calls of a time by the prices that hold for it now, e.g. after one was corrected. Books a ledger "
        "line for each difference and changes none; budgets, pages and statements follow. Done again it books nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", metavar="W", help="only this one's; else every workspace's")
        parser.add_argument("--model", metavar="M", default="", help="only calls of this model; else of all")
        parser.add_argument("--since", metavar="ISO", required=True, help="calls from then on")
        parser.add_argument("--until", metavar="ISO", help="calls before then; default: now")
        parser.add_argument("--reason", metavar="TEXT", default="", help="why; it stands in the audit trail")
        parser.add_argument("--by", metavar="NAME", default="command line")
        parser.add_argument("--dry-run", action="store_true", help="say what would be booked")

    def handle(self, *, workspace: str | None, model: str, dry_run: bool, **options: Any) -> None:
        rows = Workspace.objects.order_by("name")
        if workspace is not None:
            rows = rows.filter(name=workspace)
            if not rows:
                raise CommandError(f"There is no workspace {workspace!r}.")
        since, until = instant(options["since"]), instant(options["until"]) or timezone.now()
        prices = price_lists()
        if model and model not in prices:
            raise CommandError(f"There is no price for the model {model!r}. Write one first.")
        for row in rows:
            wanted = Wanted(row, since, until, model)
            try:
                if dry_run:
                    outcome = foresee(wanted, prices)
                else:
                    outcome = reprice(wanted=wanted, prices=prices, reason=options["reason"], by=options["by"])
            except ValidationError as error:
                raise CommandError(" ".join(error.messages)) from None
            self.stdout.write(f"{row.name}: {in_words(outcome, dry_run=dry_run)}")


def in_words(outcome: Outcome, *, dry_run: bool) -> str:
    """One line that says what came of it."""
    done = "would be booked" if dry_run else "booked"
    text = f"{outcome.lines} corrections {done}, ${dollars(outcome.nanos)} in all"
    left = [
        f"{count} {why}"
        for count, why in ((outcome.unpriced, "of models without a price"), (outcome.unknown, "of unknown tokens"))
        if count
    ]
    return f"{text}; left as they are: {', '.join(left)}" if left else text
