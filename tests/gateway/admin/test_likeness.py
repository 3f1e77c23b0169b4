"""The page of a route's likeness: pairs to try, hits and near misses to mark, and the threshold that follows."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit.models import CallRecord
from gateway.models import Judgement, Route
from tests import rows
from tests.gateway.caching import tiny_model

pytestmark = pytest.mark.django_db


@pytest.fixture
def route(settings, tmp_path: Path) -> Route:
    settings.EMBEDDING_MODEL_DIR = str(tiny_model.make(tmp_path / "tiny"))
    route = rows.platform().route
    route.cache_mode, route.cache_threshold = "semantic", "0.900"
    route.save()
    return route


def record(number: int, workspace, likeness: float | None, cache: str, days_ago: int = 0, route: str = "chat") -> str:
    told = {} if likeness is None else {"likeness": {"likeness": likeness, "threshold": 0.9, "call_id": "earlier"}}
    CallRecord.objects.create(
        id=f"call{number}", at=timezone.now() - timedelta(days=days_ago, minutes=number), workspace=workspace.name,
        workspace_id=str(workspace.pk), route=route, status=200, outcome="answered", cache=cache, streamed=False,
        input_tokens=1, output_tokens=1, cached_tokens=0, cost_nanos=0, total_us=1, redacted=0, worker="w", seq=number,
        rest=json.dumps(told),
    )  # fmt: skip
    return f"call{number}"


def page(route: Route) -> str:
    return reverse("admin:gateway_route_likeness", args=[route.pk])


def test_hits_and_near_misses_are_listed_newest_first_and_only_of_workspaces_that_one_sees(
    client: Client, route
) -> None:
    acme, umbra = rows.tenant("acme"), rows.tenant("umbra")
    record(1, acme.workspace, 0.95, "hit-semantic")
    record(2, acme.workspace, 0.8, "miss")
    record(3, acme.workspace, 0.7, "miss")  # far
    record(4, acme.workspace, None, "miss")
    record(5, acme.workspace, 0.95, "hit-semantic", days_ago=9)
    record(6, acme.workspace, 0.95, "hit-semantic", route="other")
    record(7, umbra.workspace, 0.99, "hit-semantic")
    client.force_login(acme.person("admin"))
    shown = client.get(page(route))
    assert [(str(each.record.pk), each.likeness, each.is_hit) for each in shown.context["sightings"]] == [
        ("call1", 0.95, True),
        ("call2", 0.8, False),
    ]
    assert b"umbra" not in shown.content
    client.force_login(rows.superuser())
    assert len(client.get(page(route)).context["sightings"]) == 3


def test_a_wrong_hit_is_marked_and_a_threshold_follows_from_what_was_marked(client: Client, route) -> None:
    acme = rows.tenant("acme")
    calls = {
        record(number, acme.workspace, likeness, "hit-semantic"): likeness
        for number, likeness in enumerate((0.91, 0.92, 0.97, 0.98))
    }
    client.force_login(acme.person("admin"))
    assert client.get(page(route)).context["suggestion"] is None
    for call, likeness in calls.items():
        verdict = "same" if likeness > 0.95 else "another"
        assert client.post(page(route), {"mark": call, "verdict": verdict}).status_code == 302
    shown = client.get(page(route))
    assert shown.context["suggestion"][:3] == (0.921, 0, 0)
    assert [each.is_same for each in shown.context["sightings"]] == [False, False, True, True]
    assert b"0.921" in shown.content
    assert b"a wrong hit" in shown.content


def test_who_does_not_run_the_workspace_of_a_call_marks_nothing(client: Client, route) -> None:
    acme, umbra = rows.tenant("acme"), rows.tenant("umbra")
    call = record(1, umbra.workspace, 0.95, "hit-semantic")
    client.force_login(acme.person("admin"))
    assert client.post(page(route), {"mark": call, "verdict": "same"}).status_code == 404
    assert client.post(page(route), {"mark": "nowhere", "verdict": "same"}).status_code == 404
    client.force_login(umbra.person("viewer"))
    assert client.get(page(route)).status_code == 200
    assert client.post(page(route), {"mark": call, "verdict": "same"}).status_code == 403
    assert Judgement.objects.count() == 0


def test_a_pair_is_tried_and_only_its_likeness_is_kept(client: Client, route) -> None:
    client.force_login(rows.superuser())
    tried = client.post(page(route), {"one": "how do i reset it", "other": "how do i reset it"})
    assert (tried.context["likeness"], tried.context["would_hit"]) == (pytest.approx(1.0, abs=1e-3), True)
    assert Judgement.objects.count() == 0
    kept = client.post(page(route), {"one": "weather", "other": "how do i", "verdict": "another"})
    judgement = Judgement.objects.get()
    assert (judgement.likeness, judgement.is_same, judgement.call_id) == (kept.context["likeness"], False, "")
    assert "Kept as another question" in kept.content.decode()
    opposed = client.post(page(route), {"one": "how do i enable it", "other": "how do i disable it"})
    assert (opposed.context["would_hit"], opposed.context["opposed"]) == (False, True)
    assert "says the opposite" in opposed.content.decode()
    assert "This field is required" in client.post(page(route), {"one": "x", "other": ""}).content.decode()


def test_a_route_without_an_embedding_model_says_what_to_do(client: Client, route, settings) -> None:
    settings.EMBEDDING_MODEL_DIR = ""
    client.force_login(rows.superuser())
    assert "There is no embedding model" in client.get(page(route)).content.decode()
    assert "There is no embedding model" in client.post(page(route), {"one": "a", "other": "b"}).content.decode()
