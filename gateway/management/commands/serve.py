"""The production server as a command."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.server import serve


class Command(BaseCommand):
    help = "Serve the web UI and /v1. One worker needs no service; more need PostgreSQL and Redis."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="the port to listen on (default: %(default)s)")
        parser.add_argument("--workers", type=int, default=1, help="processes that answer calls (default: %(default)s)")
        parser.add_argument(
            "--role",
            choices=["all", "proxy", "web"],
            default="all",
            help="serve everything, only /v1, or only the web UI and API (default: %(default)s)",
        )

        parser.add_argument(
            "--no-background",
            action="store_true",
            help="leave background work to `celery -A gateway worker` and `celery -A gateway beat`",
        )

    def handle(self, *, host: str, port: int, workers: int, role: str, **options: Any) -> None:
        if workers < 1:
            raise CommandError("--workers must be 1 or more.")
        if workers > 1 and (settings.IS_SQLITE or not settings.REDIS_URL):
            raise CommandError(
                "More than one worker needs a shared database and shared counters: "
                "set DATABASE_URL to PostgreSQL and REDIS_URL to Redis, or serve with --workers 1."
            )
        serve(host=host, port=port, workers=workers, role=role, embedded=not options["no_background"])
