"""`manage.py demo`: furnish an empty installation and say how to use it."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from gateway.services.demo.furnishing import ADMIN, Furnished, furnish, keep, kept_path

CURL = """\
curl http://127.0.0.1:{port}/v1/chat/completions \\
  -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \\
  -d '{{"model": "chat", "messages": [{{"role": "user", "content": "Hello! What can you do?"}}]}}'"""


class Command(BaseCommand):
    help = "Furnish an empty installation: an admin, a workspace with a key and two weeks of calls. Once; never overwrites."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="the port in what is printed (default: %(default)s)")

    def handle(self, *args: Any, port: int, **options: Any) -> None:
        furnished = furnish()
        if furnished.is_first:
            text = first_start(furnished, port)
            keep(text)
            self.stdout.write(text)
            self.stdout.write(f"This is kept in {shown(kept_path())}, readable by you alone.\n")
        else:
            self.stdout.write(f"Web UI and /v1 at http://127.0.0.1:{port}/")
            if kept_path().exists():
                self.stdout.write(f"The first start's password and API key are in {shown(kept_path())}")


def shown(path: Any) -> str:
    """A path as short as it can be said from here."""
    base = settings.BASE_DIR
    return str(path.relative_to(base) if path.is_relative_to(base) else path)


def first_start(furnished: Furnished, port: int) -> str:
    """What a person needs to begin."""
    lines = ["", f"Web UI      http://127.0.0.1:{port}/"]
    if furnished.password:
        lines.append(f"Sign in     name: {ADMIN}   password: {furnished.password}")
    if furnished.key:
        lines += [f"API key     {furnished.key}   (key web of workspace demo)", "", "Try it:", ""]
        lines += CURL.format(port=port, key=furnished.key).splitlines()
        lines += ["", 'With "stream": true in the body, and curl -N, the answer comes word by word.']
    return "\n".join(lines) + "\n"
