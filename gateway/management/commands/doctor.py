"""`manage.py doctor`: is everything well?"""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from gateway.services.diagnosis import diagnose


class Command(BaseCommand):
    help = "Check settings, database, configuration, credentials, triggers, Redis, disk: one line each, exit 1 if any fails."
    requires_system_checks: list[str] = []  # it makes them itself, and says so in its own line

    def handle(self, *args: Any, **options: Any) -> None:
        failed = False
        for finding in diagnose():
            self.stdout.write(str(finding))
            failed |= finding.state == "FAIL"
        if failed:
            sys.exit(1)
