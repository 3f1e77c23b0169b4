"""`manage.py apply FILE`: make the running configuration what a file says."""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from gateway.services.configuration.applying import Applied, apply_file
from gateway.services.configuration.document import DocumentError


class Command(BaseCommand):
    help = "Configuration as code: print the plan (+ add, ~ change, - remove), then do it in one transaction."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path, help="the configuration, in YAML")
        parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
        parser.add_argument(
            "--prune",
            action="store_true",
            help="also remove what the file doesn't name, in the sections that it has; keys are revoked, prompts archived",
        )
        parser.add_argument("--json", action="store_true", help="print a JSON object, with the secrets that were made")

    def handle(self, *args: Any, file: Path, dry_run: bool, prune: bool, **options: Any) -> None:
        try:
            applied = apply_file(path=file, dry_run=dry_run, prune=prune)
        except DocumentError as error:
            for problem in error.problems:
                self.stderr.write(str(problem))
            self.stderr.write(f"{len(error.problems)} problem(s); nothing was changed")
            if options["json"]:
                self.write_json({"applied": False, "errors": [_problem(problem) for problem in error.problems]})
            sys.exit(1)
        for note in applied.plan.notes:
            self.stderr.write(f"note: {note}")
        if options["json"]:
            self.write_json(as_json(applied))
        else:
            self.write_plan(applied)

    def write_plan(self, applied: Applied) -> None:
        for line in applied.plan.lines():
            self.stdout.write(line)
        if applied.plan.changes and not applied.is_done:
            self.stdout.write("dry run: nothing was changed")
        for name, secret in applied.secrets.items():
            self.stdout.write(f"secret of key {name}, shown this once: {secret}")

    def write_json(self, value: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(value, indent=2, ensure_ascii=False))


def _problem(problem: Any) -> dict[str, Any]:
    return {name: getattr(problem, name) for name in ("file", "line", "column", "path", "message")}


def as_json(applied: Applied) -> dict[str, Any]:
    """The plan and the made secrets as JSON has them."""
    words = {"+": "add", "~": "change", "-": "remove"}
    changes = [
        {
            "action": words[change.sign],
            "kind": change.item.kind,
            "name": "/".join(part for part in change.item.name if part),
            "fields": {
                name: {"replaced": True} if name == "secret" else {"old": old, "new": new}
                for name, old, new in change.fields
            },
        }
        for change in applied.plan.changes
    ]
    return {
        "applied": applied.is_done,
        "changes": changes,
        "notes": applied.plan.notes,
        "secrets": applied.secrets,
    }
