"""The dashboards' figures equal the records they are of, lead to them, and show nobody what he may not see."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from audit.models import Subject
from audit.search import CallSearch
from audit.traffic import Wanted
from budgets.models import Budget
from gateway.admin.breakdown import MOST_DAYS, breakdown
from gateway.admin.dashboards import window
from gateway.admin.fullness import rings
from tenants.models import Workspace
from tests import rows
from tests.gateway.admin.test_home import record

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
DAY = timedelta(hours=24)


def of_the_day():
    return breakdown(Wanted(None, NOON - DAY, NOON))


def attempts(*models: str) -> str:
    return json.dumps({"attempts": [{"model": name, "provider": "p"} for name in models]})


def test_every_call_is_counted_once_in_its_step_and_its_names() -> None:
    Subject.objects.create(workspace_id="1", token="t1", name="ann")
    record(1, total_us=100, ttft_us=10, subject="t1")
    record(2, total_us=300, ttft_us=30, cache="hit-exact", at=NOON - timedelta(hours=2), subject="t2")
    record(3, outcome="refused", status=429, code="rate_limit_exceeded", model="", cost_nanos=0)
    record(4, outcome="in_doubt", status=502, code="all_targets_failed", rest=attempts("small", "small"))
    record(5, rest=attempts("small", "large"), model="large", cost_nanos=9000)
    found = of_the_day()

    assert [step.calls for step in found.steps[-3:]] == [1, 0, 4]
    assert found.total.outcomes == {"answered": 3, "refused": 1, "in_doubt": 1}
    assert (found.total.hits, found.total.cost_nanos, found.total.input_tokens) == (1, 12_000, 50)
    assert sorted(found.total.times.elements()) == [100, 300, 1_000_000]
    assert sorted(found.total.first_tokens.elements()) == [10, 30]
    assert (found.fallbacks, found.opened) == ([(("small", "large"), 1)], 4)
    assert [(row["code"], row["calls"]) for row in found.errors] == [
        ("all_targets_failed", 1),
        ("rate_limit_exceeded", 1),
    ]
    assert [(row["model"], row["calls"], row["cost"]) for row in found.by["model"]] == [
        ("large", 1, 9000),
        ("small", 3, 3000),
    ]
    assert [(row["user"], row["calls"]) for row in found.by["user"]] == [("ann", 1), ("t2", 1)]


@pytest.mark.parametrize("count", [1, 3])
def test_the_number_of_queries_does_not_follow_the_number_of_calls(count, django_assert_num_queries) -> None:
    for number in range(count):
        record(number, subject=f"t{number}", model=f"m{number}", code="x", outcome="failed")
    with django_assert_num_queries(5):
        of_the_day()


@pytest.mark.parametrize(
    ("given", "length"),
    [
        ({"period": "24h"}, DAY),
        ({"period": "all"}, timedelta(days=MOST_DAYS)),
        ({"since": "2026-03-04 10:00"}, timedelta(hours=2, minutes=30)),
        ({"since": "2026-03-01", "until": "2026-03-02"}, DAY),
        ({"since": "2020-01-01"}, timedelta(days=MOST_DAYS)),
        ({"since": "2026-03-04", "until": "2026-03-01"}, timedelta(0)),
        ({"until": "2030-01-01", "period": "1h"}, timedelta(hours=1)),
    ],
)
def test_any_period_is_shown_up_to_a_year(given, length) -> None:
    since, until = window(CallSearch(given), NOON)
    assert until - since == length


def test_the_page_narrows_and_leads_to_the_calls(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    record(1, at=timezone.now(), model="small")
    record(2, at=timezone.now(), model="large-canary", key="other-canary")
    page = client.get("/admin/dashboards/?model=small").content.decode()

    assert "large-canary" not in page
    assert "other-canary" not in page
    assert "/admin/audit/callrecord/?period=24h&amp;model=small&amp;outcome=failed" in page


def test_the_fullest_budgets_are_drawn_for_those_alone_who_may_see_them(client: Client) -> None:
    acme, umbra = rows.tenant("acme"), rows.tenant("umbra")
    for number, tenant in enumerate((acme, umbra)):
        workspace = tenant.workspace
        record(number, at=timezone.now(), workspace_id=str(workspace.pk), workspace=workspace.name)
    each_key = {"of": "key", "match": acme.key.name, "limit_nanos": 10**9}
    Budget.objects.create(workspace=acme.workspace, name="one key", **each_key)
    client.force_login(acme.person("viewer"))

    def drawn(query: str = "") -> list[tuple[str, str]]:
        page = client.get(f"/admin/dashboards/?{query}")
        assert page.status_code == 200
        return sorted((ring["name"], ring["scope"]) for ring in page.context["rings"])

    both = [("acme / acme-budget", ""), ("acme / one key", "key acme-key")]
    assert drawn() == both
    assert drawn("key=acme-key&workspace=acme") == both
    assert drawn("key=another&workspace=acme") == both[:1]
    assert drawn("workspace=umbra") == []


def test_a_picture_knows_when_each_of_its_steps_begins_and_ends(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    chart = client.get("/admin/dashboards/?since=2026-03-04T10:00&until=2026-03-04T20:00").context["charts"][0]
    moments = json.loads(chart["moments"])
    assert len(moments) == len(json.loads(chart["data"])["labels"]) + 1
    assert (moments[0], moments[1]) == ("2026-03-04T10:00:00Z", "2026-03-04T11:00:00Z")


def test_nonsense_in_the_address_is_told_or_passed_over(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    page = client.get("/admin/dashboards/?since=yesterday&until=%00&period=ever")
    assert page.status_code == 200
    assert "Write a moment like" in page.content.decode()


def test_a_stranger_sees_no_dashboard(client: Client) -> None:
    client.force_login(User.objects.create_user("nobody"))
    assert client.get("/admin/dashboards/").status_code == 302


def test_a_member_sees_only_their_workspaces_calls_whatever_they_ask_for(client: Client) -> None:
    acme, umbra = rows.tenant("acme"), rows.tenant("umbra")
    record(1, at=timezone.now(), workspace_id=str(acme.workspace.pk))
    record(2, at=timezone.now(), workspace_id=str(umbra.workspace.pk), workspace="umbra", model="canary", key="canary")
    client.force_login(acme.person("viewer"))

    assert b"canary" not in client.get("/admin/dashboards/").content
    narrowed = client.get("/admin/dashboards/", {"workspace": "umbra"})
    assert b"canary" not in narrowed.content
    assert narrowed.context["kpis"][0]["value"] == "0"


def test_every_figure_leads_to_its_calls(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    Subject.objects.create(workspace_id="1", token="t1", name="ann")
    at = timezone.now()
    for number, stood_in in enumerate("abcdefghij"):  # more than the ranking shows
        record(number, at=at, rest=attempts("small", stood_in), model=stood_in, subject="t1", cost_nanos=number)
    record(20, at=at, outcome="failed", status=502, code="all_targets_failed")
    record(21, at=at, outcome="in_doubt", status=502)
    record(22, at=at, outcome="refused", status=429, code="rate_limit_exceeded")
    record(23, at=at, cache="hit-exact")
    page = client.get("/admin/dashboards/?period=24h&workspace=acme").context

    def behind(url: str) -> int:
        assert url.startswith("/admin/audit/callrecord/?")
        return len(client.get(url).context["page"].rows)

    figures = {kpi["label"]: behind(kpi["url"]) for kpi in page["kpis"]}
    assert figures == {
        "Calls": 14,
        "Spend": 14,
        "Tokens": 14,
        "Whole answer, median": 11,
        "First token, median": 11,
        "Failed": 2,
        "From cache": 1,
        "Fell back": 10,
    }
    fell_back = next(kpi for kpi in page["kpis"] if kpi["label"] == "Fell back")
    assert fell_back["note"].startswith("10 of 13 calls")
    assert {chart["title"]: behind(chart["url"]) for chart in page["charts"]}["Errors"] == 3
    ranked = {ranking["title"]: [behind(row["url"]) for row in ranking["rows"]] for ranking in page["rankings"]}
    assert ranked["Fallbacks"] == [1] * 8
    assert ranked["Errors by kind"] == [1, 1]
    assert (ranked["Keys"], ranked["Workspaces"], ranked["End users"]) == ([14], [14], [10])


@pytest.mark.parametrize("tenants", [1, 4])
def test_the_budgets_of_many_workspaces_are_asked_for_at_once(django_assert_num_queries, tenants: int) -> None:
    names = [f"w{number}" for number in range(tenants)]
    for name in names:
        workspace = rows.tenant(name).workspace
        for of in ("user", "team", "key"):
            Budget.objects.create(workspace=workspace, name=of, of=of, per="day", limit_nanos=10**9)
    with django_assert_num_queries(11):
        drawn = rings(CallSearch({}), Workspace.objects.all(), names)
    assert len(drawn) == min(4 * tenants, 8)
