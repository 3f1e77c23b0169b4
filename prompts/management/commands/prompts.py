"""manage.py prompts export|import|sync DIR: prompts as files that a repository can hold."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from prompts.services.files import FileError, export_prompts, import_prompts
from tenants.history import acting
from tenants.models import Workspace


class Command(BaseCommand):
    help = "Write prompts as files, or read them in as new versions. Nothing is served by this: publish it afterwards."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["export", "import", "sync"], help="sync imports, then exports")
        parser.add_argument("directory", type=Path, metavar="DIR")
        parser.add_argument("--workspace", metavar="W", help="default: the only one there is")

    def handle(self, *, action: str, directory: Path, workspace: str | None, **options: Any) -> None:
        where = find_workspace(workspace)
        try:
            if action != "export":
                if not directory.is_dir():
                    raise CommandError(f"There is no directory {directory}.")
                with acting("prompts import"):
                    for version in import_prompts(workspace=where, directory=directory):
                        self.stdout.write(f"+ {version}")
            if action != "import":
                for path in export_prompts(workspace=where, directory=directory):
                    self.stdout.write(f"~ {path}")
        except (FileError, UnicodeDecodeError, OSError) as error:
            raise CommandError(f"{error}. Nothing was imported.") from None


def find_workspace(name: str | None) -> Workspace:
    """Raises CommandError where there is no such workspace, or several and none is named."""
    names = list(Workspace.objects.order_by("name").values_list("name", flat=True))
    if name is None and len(names) == 1:
        name = names[0]
    if name not in names:
        known = ", ".join(names) or "none yet"
        raise CommandError(f"Name a workspace with --workspace. There are: {known}.")
    return Workspace.objects.get(name=name)
