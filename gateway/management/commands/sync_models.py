"""`manage.py sync_models`: prices and context sizes from the catalogue into our own tables."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gateway.models import Provider
from gateway.services.catalogue import sync_catalogue


class Command(BaseCommand):
    help = "Take over what the installed price catalogue says of the configured models. Own prices and sizes win."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--provider", metavar="P", help="this provider's models alone")

    def handle(self, *args: Any, provider: str | None, **options: Any) -> None:
        if provider is not None and not Provider.objects.filter(name=provider).exists():
            raise CommandError(f"There is no provider {provider!r}.")
        changes = sync_catalogue(provider=provider)
        for change in changes:
            self.stdout.write(str(change))
        if not any(change.price or change.context_tokens for change in changes):
            self.stdout.write("nothing to change")
