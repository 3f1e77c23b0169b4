"""Who does something, and from where: the person of the running request, or whoever typed a command."""

import getpass
import os
import sys
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from simple_history.models import HistoricalRecords


@dataclass(frozen=True, slots=True)
class Origin:
    """`actor_id` is the person's id, or empty for a command or a job."""

    actor_id: str
    actor: str
    origin: str
    request_id: str = ""


def origin_now(user: Any = None) -> Origin:
    """The origin of what happens in this thread now."""
    request = getattr(HistoricalRecords.context, "request", None)
    if request is None:
        return Origin(*_person(user, _command_line_actor()), origin=_command_line())
    return origin_of(request, user)


def origin_of(request: HttpRequest, user: Any = None) -> Origin:
    """The origin of what this request does."""
    return Origin(
        *_person(user or getattr(request, "user", None), "nobody"),
        origin=address_of(request),
        request_id=request.headers.get("x-request-id", "")[:64],
    )


def address_of(request: HttpRequest) -> str:
    """The address that the request came from: the socket's, or what the outermost of our own proxies saw."""
    direct: str = request.META.get("REMOTE_ADDR", "")
    hops = settings.TRUSTED_PROXY_HOPS
    entries = [part.strip() for part in request.headers.get("x-forwarded-for", "").split(",") if part.strip()]
    return (entries[-hops] if hops and len(entries) >= hops else direct)[:64]


def _person(user: Any, otherwise: str) -> tuple[str, str]:
    if user is None or not getattr(user, "is_authenticated", False):
        return "", otherwise
    return str(user.pk), str(user.get_username())[:200]


def _command_line_actor() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name} (on the machine)"


def _command_line() -> str:
    command = os.path.basename(sys.argv[0]) if sys.argv else ""
    return f"{command} {sys.argv[1]}"[:200] if len(sys.argv) > 1 else command
