"""Furnish an empty installation, once: nothing that somebody made or changed is ever touched."""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from gateway.services.configuration.applying import apply_file
from gateway.services.demo.history import write_history
from tenants.history import acting
from tenants.models import ApiKey, Workspace
from tenants.services.keys import new_secret

ACTOR = "demo"
CONFIGURATION = Path(__file__).with_name("demo.yaml")
ADMIN = "admin"
KEPT = "first_start.txt"


@dataclass(frozen=True, slots=True)
class Furnished:
    """What was made now. Nothing of it is known later but from the file in which it is kept."""

    password: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    calls: int = 0

    @property
    def is_first(self) -> bool:
        return bool(self.password or self.key)


def furnish() -> Furnished:
    """Make an admin where there is no user, and the demo where there is no workspace. All of it or nothing."""
    with acting(ACTOR), transaction.atomic():
        password = make_admin()
        if Workspace.objects.exists():
            return Furnished(password)
        secret = new_secret()
        apply_file(path=CONFIGURATION, environment={"DEMO_KEY": secret}, actor=ACTOR)
        calls = write_history(workspace=Workspace.objects.get(name="demo"), keys=list(ApiKey.objects.all()))
    return Furnished(password, secret, calls)


def make_admin() -> str:
    """The password of a new superuser, or "" where there is a user already."""
    users = get_user_model().objects
    if users.exists():
        return ""
    password = secrets.token_urlsafe(12)
    users.create_superuser(ADMIN, "", password)
    return password


def kept_path() -> Path:
    """Where the first start's name, password and key are kept."""
    return settings.DATA_DIR / KEPT


def keep(text: str) -> None:
    """Keep what the first start printed, readable by the owner alone."""
    path = kept_path()
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
