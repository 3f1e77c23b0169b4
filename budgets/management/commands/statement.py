"""A month's statement, as CSV; made again it is the same byte for byte."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from budgets.statement import make_statement
from tenants.models import Team, Workspace


class Command(BaseCommand):
    help = "Print what a workspace, or one of its teams, spent in a month, from the ledger. The digest goes to stderr."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", metavar="W", required=True)
        parser.add_argument("--team", metavar="T", help="only this team; else all, a line for each")
        parser.add_argument("--month", metavar="YYYY-MM", help="default: the current one")
        parser.add_argument("--as-of", metavar="ISO", help="only lines booked by then, to make an earlier one again")
        parser.add_argument("--output", metavar="FILE", help="write it there")
        parser.add_argument("--verify", metavar="SHA256", help="make it again; exit 1 unless it has this digest")

    def handle(self, *, workspace: str, team: str | None, month: str | None, **options: Any) -> None:
        owner = Workspace.objects.filter(name=workspace).first()
        if owner is None:
            raise CommandError(f"There is no workspace {workspace!r}.")
        asked = None if team is None else Team.objects.filter(workspace=owner, name=team).first()
        if team is not None and asked is None:
            names = ", ".join(owner.teams.order_by("name").values_list("name", flat=True)) or "none"
            raise CommandError(f"{workspace} has no team {team!r}. There are: {names}.")
        as_of = instant(options["as_of"])
        try:
            made = make_statement(owner, month or f"{timezone.now():%Y-%m}", team=asked, as_of=as_of)
        except ValueError as error:
            raise CommandError(str(error)) from None
        if options["verify"]:
            self._verify(made.digest, options["verify"])
        elif options["output"]:
            Path(options["output"]).write_bytes(made.text.encode())
        else:
            self.stdout.write(made.text, ending="")
        self.stderr.write(f"sha256 {made.digest}, {len(made.rows) - 1} lines")

    def _verify(self, digest: str, wanted: str) -> None:
        if digest != wanted.strip().lower():
            self.stderr.write(f"It has another digest: {digest}. Lines came later? Give --as-of the statement's own.")
            sys.exit(1)
        self.stdout.write("The same.")


def instant(text: str | None) -> Any:
    """A time with its zone, UTC where it has none. Raises CommandError."""
    if text is None:
        return None
    try:
        at = parse_datetime(text)
    except ValueError:
        at = None
    if at is None:
        raise CommandError(f"{text!r} is not a time; write it like 2026-11-30T12:00:00Z.")
    return at if timezone.is_aware(at) else timezone.make_aware(at)
