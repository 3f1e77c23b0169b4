"""`manage.py provider_table`: docs/providers.md as it should be."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from gateway.services.provider_table import page


class Command(BaseCommand):
    help = "Write docs/providers.md from what the adapters declare."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page lags")

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        path = settings.BASE_DIR / "docs" / "providers.md"
        wanted = page()
        if path.exists() and path.read_text(encoding="utf-8") == wanted:
            self.stdout.write("docs/providers.md is current.")
        elif check:
            raise CommandError("docs/providers.md lags. Run: python manage.py provider_table")
        else:
            path.write_text(wanted, encoding="utf-8")
            self.stdout.write("docs/providers.md was written.")
