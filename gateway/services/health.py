"""What is known about providers now: the configured places with what all workers of this machine have seen of them."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model

from gateway.models import Credential, ServedModel
from gateway.telemetry.shared import places_seen
from tenants.queries import access_of

WORST_FIRST = ("open", "half_open", "cooling", "unused", "closed")
SHOWN_CHANGES = 20
Place = dict[str, Any]


def places_for(user_id: Any) -> list[Place] | None:
    """The places as this person may see them; None for whoever may not. Only those who see providers see credentials."""
    user = get_user_model().objects.filter(pk=user_id, is_active=True).first()
    if user is None or not access_of(user).may("view", "catalogue"):
        return None
    places = configured_places()
    if not access_of(user).may("view", "platform"):
        for place in places:
            place["credential"] = ""
    return places


def configured_places() -> list[Place]:
    """A line for each (provider, model, credential) that calls may go to, the configuration's order by name."""
    seen: dict[tuple[str, str, str], list[Place]] = {}
    for worker in places_seen(settings.DATA_DIR / "metrics"):
        for place in worker:
            seen.setdefault((place["provider"], place["upstream"], place["credential"]), []).append(place)
    credentials: dict[int, list[str]] = {}
    for row in Credential.objects.filter(is_enabled=True).order_by("position", "name"):
        credentials.setdefault(row.provider_id, []).append(row.name)
    models = ServedModel.objects.filter(is_enabled=True, provider__is_enabled=True).select_related("provider")
    return [
        {
            "provider": row.provider.name,
            "model": row.name,
            "credential": credential,
            **together(seen.get((row.provider.name, row.upstream, credential), ())),
        }
        for row in models.order_by("provider__name", "name")
        for credential in credentials.get(row.provider_id, [""])
    ]


def together(workers: Iterable[Place]) -> Place:
    """One place as several workers see it: the worst state, all calls, the slowest times, the newest changes.

    `failed_share` is of the calls of the last 5 to 10 seconds, 0 to 1; None where there were none.
    """
    found = list(workers)
    answered, failed = sum(each["answered"] for each in found), sum(each["failed"] for each in found)
    worst = min(found, key=lambda each: WORST_FIRST.index(each["state"]), default=None)
    history = sorted((change for each in found for change in each["history"]), key=lambda change: change["at"])
    return {
        "state": worst["state"] if worst is not None else "unused",
        "why": worst["why"] if worst is not None and worst["state"] != "closed" else "",
        "calls": answered + failed,
        "failed_share": failed / (answered + failed) if answered + failed else None,
        "p50_ms": max(
            (each["first_token_p50_ms"] for each in found if each["first_token_p50_ms"] is not None), default=None
        ),
        "p95_ms": max(
            (each["first_token_p95_ms"] for each in found if each["first_token_p95_ms"] is not None), default=None
        ),
        "history": history[-SHOWN_CHANGES:],
    }


def model_states(places: Iterable[Place]) -> dict[str, str]:
    """The best state of any of a model's credentials, by the model's name: that one is taken."""
    found: dict[str, str] = {}
    for place in places:
        before = found.get(place["model"], WORST_FIRST[0])
        found[place["model"]] = max(before, place["state"], key=WORST_FIRST.index)
    return found
