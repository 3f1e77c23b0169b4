"""The home page's figures equal the records they are of."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from audit.models import CallRecord
from gateway import reload
from gateway.admin import home
from gateway.admin.figures import PERIODS, figures, percentile
from tests import rows

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
DAY = PERIODS[1]


def record(number: int, **values) -> CallRecord:
    given = {
        "id": f"call{number}",
        "at": NOON - timedelta(minutes=5),
        "workspace_id": "1",
        "workspace": "acme",
        "key": "web",
        "model": "small",
        "status": 200,
        "outcome": "answered",
        "streamed": False,
        "input_tokens": 10,
        "output_tokens": 5,
        "cached_tokens": 0,
        "cost_nanos": 1000,
        "total_us": 1_000_000,
        "redacted": 0,
        "worker": "w",
        "seq": number,
        "rest": "{}",
    }
    return CallRecord.objects.create(**{**given, **values})


def test_totals_and_buckets_hold_each_call_once() -> None:
    record(1)
    record(2, cost_nanos=3000, cache="hit-exact", at=NOON - timedelta(hours=2))
    record(3, outcome="refused", status=429, code="rate_limit_exceeded", model="", cost_nanos=0)
    record(4, outcome="in_doubt", status=502, code="all_targets_failed")
    record(5, outcome="client_left", redacted=2)
    record(6, at=NOON - timedelta(hours=30))  # the period before
    found = figures(workspace_ids=None, period=DAY, until=NOON)

    assert (found.now.calls, found.now.answered, found.now.refused, found.now.failed) == (5, 2, 1, 1)
    assert (found.now.cost_nanos, found.now.input_tokens, found.now.cached, found.now.redacted) == (6000, 50, 1, 1)
    assert found.before.calls == 1
    assert len(found.buckets) == 24
    assert [bucket.calls for bucket in found.buckets[-3:]] == [1, 0, 4]
    assert sum(bucket.cost_nanos for bucket in found.buckets) == found.now.cost_nanos
    assert found.labels[-1] == "12:00"


def test_another_workspaces_calls_are_not_counted() -> None:
    record(1)
    record(2, workspace_id="2", workspace="umbra", model="secret-model", key="umbra-key")
    found = figures(workspace_ids=[1], period=DAY, until=NOON)

    assert found.now.calls == 1
    assert [row["model"] for row in found.models] == ["small"]
    assert [row["key"] for row in found.keys] == ["web"]
    assert [row.id for row in found.newest] == ["call1"]


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([], 50, None), ([7], 95, 7), ([1, 2, 3, 4], 50, 2), (list(range(1, 101)), 95, 95), ([3, 1, 2], 100, 3)],
)
def test_percentiles_are_of_the_nearest_rank(values: list[int], percent: int, expected: int | None) -> None:
    assert percentile(values, percent) == expected


@pytest.mark.parametrize(("calls", "queries"), [(1, 8), (3, 8)])
def test_home_asks_as_often_whatever_the_traffic(
    client: Client, django_assert_num_queries, calls: int, queries: int
) -> None:
    client.force_login(rows.superuser())
    for number in range(calls):
        record(number, at=timezone.now())
    with django_assert_num_queries(queries):
        assert client.get("/admin/").status_code == 200


def test_every_figure_leads_to_its_calls(client: Client) -> None:
    client.force_login(rows.superuser())
    at = timezone.now()
    acme = rows.tenant("acme").workspace
    ours = {"at": at, "workspace_id": str(acme.pk), "workspace": "acme"}
    record(1, **ours)
    record(2, **ours, outcome="in_doubt", status=502, code="all_targets_failed", model="large")
    record(3, **ours, cache="hit-exact")
    record(4, at=at, workspace_id="0", workspace="umbra")
    page = client.get(f"/admin/?workspace={acme.pk}").context

    def behind(url: str) -> int:
        return len(client.get(url).context["page"].rows)

    assert [behind(kpi["url"]) for kpi in page["kpis"]] == [3, 3, 3, 2, 2, 1]
    assert [behind(chart["url"]) for chart in page["charts"]] == [3, 3, 2, 1]
    assert [behind(row["url"]) for row in page["models"]] == [2, 1]
    assert [behind(row["url"]) for row in (*page["keys"], *page["errors"])] == [3, 1]
    assert len(json.loads(page["charts"][0]["moments"])) == DAY.buckets + 1


def test_a_member_sees_only_their_workspaces_calls(client: Client) -> None:
    acme, umbra = rows.tenant("acme"), rows.tenant("umbra")
    record(1, at=timezone.now(), workspace_id=str(acme.workspace.pk))
    record(2, at=timezone.now(), workspace_id=str(umbra.workspace.pk), workspace="umbra", model="umbra-model")
    client.force_login(acme.person("viewer"))

    assert b"umbra" not in client.get("/admin/").content
    assert b"umbra" not in client.get("/admin/", {"workspace": umbra.workspace.pk}).content


def test_before_the_first_call_the_page_says_what_to_do(client: Client) -> None:
    client.force_login(rows.superuser())
    empty = client.get("/admin/")
    rows.platform()
    begun = client.get("/admin/")

    assert [step["done"] for step in empty.context["steps"]] == [False] * 5
    assert [step["done"] for step in begun.context["steps"]] == [True, True, False, False, False]
    assert b"No calls yet" in empty.content


def test_a_configuration_that_does_not_compile_is_said_on_every_page(client: Client, monkeypatch) -> None:
    client.force_login(rows.superuser())
    silent = client.get("/admin/gateway/route/")
    monkeypatch.setattr(reload.status, "error", "ValueError: route chat has no target")
    said = client.get("/admin/gateway/route/")

    assert b"The saved configuration is not in force." not in silent.content
    assert b"ValueError: route chat has no target" in said.content


def test_charts_hold_one_value_for_each_label() -> None:
    record(1)
    charts = home._charts(figures(workspace_ids=None, period=DAY, until=NOON), home.calls_url)

    for chart in charts:
        data = json.loads(chart["data"])
        assert {len(series["data"]) for series in data["datasets"]} == {len(data["labels"])} == {24}


@pytest.mark.parametrize("period", PERIODS, ids=lambda period: period.name)
def test_every_period_holds_its_calls_in_its_buckets(period) -> None:
    record(1)
    record(2, at=NOON - period.length * 2 / 3)
    found = figures(workspace_ids=None, period=period, until=NOON)

    assert len(found.buckets) == len(set(found.labels)) == period.buckets
    assert sum(bucket.calls for bucket in found.buckets) == found.now.calls == 2


@pytest.mark.parametrize(
    ("nanos", "text"),
    [(0, "$0"), (1, "$0.0000000010"), (12_345, "$0.000012"), (123_456_789, "$0.12"), (1_234_500_000_000, "$1,234.50")],
)
def test_money_for_the_eye_keeps_two_digits_that_count(nanos: int, text: str) -> None:
    assert home.money(nanos) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(0, 0, "–"), (0, 5, "0 %"), (5, 5, "100 %"), (1999, 2000, "99.9 %"), (1, 3, "33.3 %")]
)
def test_a_share_is_a_hundred_only_when_it_is_all(part: int, whole: int, text: str) -> None:
    assert home.share(part, whole) == text
