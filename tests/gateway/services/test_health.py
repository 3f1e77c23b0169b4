"""What the health page is told: configured places, all living workers together, no credential for those without."""

import json
import os
import time
from pathlib import Path

import pytest

from gateway.services.health import configured_places, model_states, places_for, together
from gateway.telemetry.shared import ALIVE_SECONDS, places_seen
from tests import rows


def seen(state: str = "closed", *, answered: int = 0, failed: int = 0, p50: int | None = None, **fields) -> dict:
    return {
        "provider": "openai",
        "model": "gpt",
        "upstream": "gpt",
        "credential": "main",
        "state": state,
        "answered": answered,
        "failed": failed,
        "first_token_p50_ms": p50,
        "first_token_p95_ms": p50,
        "why": "connect",
        "history": [],
        **fields,
    }


def test_workers_are_put_together_with_the_worst_state_and_the_slowest_times() -> None:
    one = seen(answered=9, p50=20, history=[{"at": 2.0, "state": "closed", "why": "b"}])
    two = seen("open", failed=1, p50=40, history=[{"at": 1.0, "state": "open", "why": "a"}])
    assert together([one, two]) == {
        "state": "open",
        "why": "connect",
        "calls": 10,
        "failed_share": 0.1,
        "p50_ms": 40,
        "p95_ms": 40,
        "history": [{"at": 1.0, "state": "open", "why": "a"}, {"at": 2.0, "state": "closed", "why": "b"}],
    }


def test_a_place_that_nobody_asked_is_unused_and_not_failing() -> None:
    assert together([])["state"] == "unused"
    assert together([])["failed_share"] is None


def test_a_model_is_as_well_as_the_best_of_its_credentials() -> None:
    assert model_states([seen("open"), seen("closed", credential="other")]) == {"gpt": "closed"}


def test_dead_workers_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "run.1.json").write_text(json.dumps({"places": [seen()]}))
    (tmp_path / "run.2.json").write_text(json.dumps({"places": [seen("open")]}))
    old = time.time() - ALIVE_SECONDS - 1
    os.utime(tmp_path / "run.2.json", (old, old))
    assert places_seen(tmp_path) == [[seen()]]


@pytest.mark.django_db
def test_members_see_places_without_credentials_and_strangers_nothing(settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    rows.platform()
    member = rows.tenant("acme").person("viewer")
    places = places_for(member.pk)
    assert places is not None
    assert {place["credential"] for place in places} == {""}
    assert [place["model"] for place in places] == [place["model"] for place in configured_places()]
    assert {place["credential"] for place in places_for(rows.superuser().pk) or ()} != {""}
    assert places_for(None) is None
