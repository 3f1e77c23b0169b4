"""`manage.py export`: the running configuration as a file."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gateway.services.configuration.exporting import export_configuration


class Command(BaseCommand):
    help = "Print the running configuration, without secrets, as a file that `apply` finds nothing to change in."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--workspace", metavar="W", help="this workspace alone, without providers, models and routes"
        )

    def handle(self, *args: Any, workspace: str | None, **options: Any) -> None:
        try:
            text = export_configuration(workspace=workspace)
        except LookupError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(text, ending="")
