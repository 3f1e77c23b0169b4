"""`manage.py keys list|create|rotate|revoke`: API keys from the command line.

`create` and `rotate` print the secret, and nothing else, to standard output: KEY=$(manage.py keys create …). Whatever
there is to say besides goes to standard error.
"""

import json
import os
from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from tenants.history import acting
from tenants.models import ApiKey, Team, Workspace
from tenants.services.keys import KeyTerms, issue_key, revoke_key, rotate_key


class Command(BaseCommand):
    help = "List, create, rotate or revoke API keys. A new secret is printed once, alone on standard output."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|create|rotate|revoke")
        for action, told in (
            ("list", "each key with its state; no secrets"),
            ("create", "make a key and print its secret"),
            ("rotate", "give a key a new secret and print it; the old one opens until the overlap ends"),
            ("revoke", "close a key for good, at once"),
        ):
            sub = actions.add_parser(action, help=told)
            sub.add_argument("--workspace", metavar="W", required=action != "list", help="the workspace's name")
            sub.add_argument("--name", metavar="N", required=action != "list", help="the key's name")
            if action == "list":
                sub.add_argument("--json", action="store_true", help="print a JSON list")
            if action in ("create", "rotate"):
                sub.add_argument("--secret-env", metavar="VAR", help="take the secret from this environment variable")
            if action == "create":
                sub.add_argument("--team", metavar="T", help="a team of the workspace")
                sub.add_argument("--models", metavar="A,B", help="routes and models it may call; left out: all")
                sub.add_argument("--ips", metavar="A,B", help="addresses and networks it may come from; left out: any")
                sub.add_argument("--expires", metavar="ISO", help="when it ends, e.g. 2027-01-31T18:00:00Z")
            if action == "rotate":
                sub.add_argument(
                    "--overlap-hours", type=float, default=24.0, help="default: %(default)s; 0 closes at once"
                )

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        try:
            with acting("keys"):
                getattr(self, action)(options)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None

    def list(self, options: dict[str, Any]) -> None:
        keys = ApiKey.objects.select_related("workspace", "team")
        if options["workspace"]:
            keys = keys.filter(workspace=workspace_named(options["workspace"]))
        if options["name"]:
            keys = keys.filter(name=options["name"])
        described = [describe(key) for key in keys]
        if options["json"]:
            self.stdout.write(json.dumps(described, indent=2, ensure_ascii=False))
            return
        for each in described:
            team = each["team"] or "-"
            models = "all" if each["models"] is None else ",".join(each["models"])
            self.stdout.write(f"{each['workspace']}/{each['name']}  …{each['hint']}  {each['state']}  {team}  {models}")

    def create(self, options: dict[str, Any]) -> None:
        workspace = workspace_named(options["workspace"])
        terms = KeyTerms(
            team=team_named(workspace, options["team"]) if options["team"] else None,
            allowed_models=parts(options["models"]) or None,
            allowed_ips=parts(options["ips"]),
            expires_at=moment(options["expires"]) if options["expires"] else None,
        )
        issued = issue_key(workspace=workspace, name=options["name"], terms=terms, secret=given_secret(options))
        self.stderr.write(f"key {workspace}/{issued.key.name} is made; its secret is shown this once:")
        self.stdout.write(issued.secret)

    def rotate(self, options: dict[str, Any]) -> None:
        key = key_named(options)
        hours = options["overlap_hours"]
        issued = rotate_key(key=key, overlap=timedelta(hours=hours), secret=given_secret(options))
        old = f"the old one opens for {hours:g} h more" if hours else "the old one is closed"
        self.stderr.write(f"key {key.workspace}/{key.name} has a new secret, shown this once; {old}:")
        self.stdout.write(issued.secret)

    def revoke(self, options: dict[str, Any]) -> None:
        key = key_named(options)
        if key.revoked_at is not None:
            self.stdout.write(
                f"key {key.workspace}/{key.name} was revoked at {key.revoked_at:%Y-%m-%d %H:%M} UTC already"
            )
            return
        revoke_key(key=key)
        self.stdout.write(f"key {key.workspace}/{key.name} is revoked")


def describe(key: ApiKey) -> dict[str, Any]:
    """What may be shown of a key."""
    state = "revoked" if key.revoked_at else "active" if key.is_usable else "expired"
    return {
        "workspace": key.workspace.name,
        "name": key.name,
        "hint": key.hint,
        "state": state,
        "team": key.team.name if key.team else None,
        "models": key.allowed_models,
        "allowed_ips": key.allowed_ips,
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "overlap_until": key.previous_until.isoformat() if is_rotating(key) and key.previous_until else None,
    }


def is_rotating(key: ApiKey) -> bool:
    return key.previous_until is not None and key.previous_until > timezone.now()


def workspace_named(name: str) -> Workspace:
    found = Workspace.objects.filter(name=name).first()
    if found is None:
        names = ", ".join(Workspace.objects.values_list("name", flat=True)) or "none"
        raise CommandError(f"There is no workspace {name!r}. There are: {names}.")
    return found


def team_named(workspace: Workspace, name: str) -> Team:
    found = Team.objects.filter(workspace=workspace, name=name).first()
    if found is None:
        raise CommandError(f"{workspace} has no team {name!r}.")
    return found


def key_named(options: dict[str, Any]) -> ApiKey:
    workspace = workspace_named(options["workspace"])
    found = ApiKey.objects.filter(workspace=workspace, name=options["name"]).first()
    if found is None:
        names = ", ".join(ApiKey.objects.filter(workspace=workspace).values_list("name", flat=True)) or "none"
        raise CommandError(f"{workspace} has no key {options['name']!r}. It has: {names}.")
    return found


def given_secret(options: dict[str, Any]) -> str:
    """The secret that the operator chose, or "" for one to be made."""
    name = options["secret_env"]
    if name and not os.environ.get(name):
        raise CommandError(f"The environment variable {name} is not set.")
    return os.environ[name] if name else ""


def parts(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a moment; write one like 2027-01-31T18:00:00Z.") from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.get_default_timezone())
