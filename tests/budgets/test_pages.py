"""The pages that show how full budgets are and who spends."""

import csv
import io

import pytest
from django.urls import reverse

from budgets.models import Budget
from budgets.services.spending import book
from tests import rows
from tests.budgets.test_spending import line

pytestmark = pytest.mark.django_db


@pytest.fixture
def two(client):
    """Two tenants that spent, and somebody who sees the first only."""
    ours, theirs = rows.tenant("acme"), rows.tenant("rival")
    spent = {"nanos": 850_000_000, "tokens": 15}
    book([line(ours.workspace, key=str(ours.key.pk), user="=cmd()", team=str(ours.team.pk), **spent)])
    book([line(theirs.workspace, "b.1", user="their-user", **spent)])
    client.force_login(ours.person("viewer"))
    return ours, theirs


def test_budgets_are_shown_with_how_full_they_are_and_no_others(client, two):
    page = client.get(reverse("admin:budgets_budget_fullness"))
    text = page.content.decode()
    assert page.status_code == 200
    (group,) = page.context["groups"]
    assert [(row["workspace"], row["percent"], row["spent_text"]) for row in group["rows"]] == [("acme", 85, "$0.85")]
    assert group["rows"][0]["runs_out_at"] is not None
    assert page.context["tight"] == 1
    assert "rival" not in text


def test_a_budgets_own_page_shows_its_subjects_forecast_and_lines(client, two):
    ours, theirs = two
    page = client.get(reverse("admin:budgets_budget_usage", args=[ours.budget.pk]))
    assert page.status_code == 200
    assert [entry.attempt for entry in page.context["entries"]] == ["a.1"]
    assert [(row["scope"], row["percent"]) for row in page.context["rows"]] == [("workspace", 85)]
    ranked = {table["title"]: [row["name"] for row in table["rows"]] for table in page.context["tables"]}
    assert ranked == {"API keys": ["acme-key"], "End users": ["=cmd()"], "Models": ["gpt-4o-mini"]}
    assert client.get(reverse("admin:budgets_budget_usage", args=[theirs.budget.pk])).status_code == 404


def test_the_ledger_is_given_as_csv_in_which_nothing_is_a_formula(client, two):
    ours, _ = two
    answer = client.get(reverse("admin:budgets_budget_usage", args=[ours.budget.pk]), {"format": "csv"})
    (found,) = csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode()))
    assert (found["attempt"], found["user"], found["nanos"]) == ("a.1", "'=cmd()", "850000000")


def test_who_spends_is_ranked_by_every_kind_within_ones_workspaces(client, two):
    page = client.get(reverse("admin:budgets_budget_spenders"), {"days": "7"})
    found = {
        table["title"]: [(row["name"], row["figure"]) for row in table["rows"]] for table in page.context["tables"]
    }
    assert found.pop("Days")[0][1] == "$0.85"
    assert found == {
        "Workspaces": [("acme", "$0.85")],
        "Teams": [("acme / acme-team", "$0.85")],
        "API keys": [("acme / acme-key", "$0.85")],
        "End users": [("acme / =cmd()", "$0.85")],
        "Models": [("acme / gpt-4o-mini", "$0.85")],
        "Providers": [("acme / openai", "$0.85")],
    }
    assert "their-user" not in page.content.decode()


@pytest.mark.parametrize("people", [1, 30])
def test_a_budgets_page_asks_as_often_however_many_subjects_it_has(
    client, django_assert_max_num_queries, people: int
) -> None:
    ours = rows.tenant("acme")
    each = Budget.objects.create(workspace=ours.workspace, name="each", of="user", per="day", limit_nanos=10**9)
    book([line(ours.workspace, f"a.{number}", user=f"user-{number}") for number in range(people)])
    client.force_login(ours.person("viewer"))
    with django_assert_max_num_queries(24):
        page = client.get(reverse("admin:budgets_budget_usage", args=[each.pk]))
    assert len(page.context["rows"]) == people
