"""Noticing crossings: with every batch of records, so with few statements, however many budgets and subjects."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from budgets.models import Alert, Budget, Raise
from budgets.services.spending import book
from tenants.models import ApiKey, Workspace
from tests.budgets.test_spending import line as line_now

pytestmark = pytest.mark.django_db
MAY = datetime(2026, 5, 4, 12, tzinfo=UTC)


def line(workspace, attempt="a.1", **fields):
    """As others write it, at a fixed time: a day or month that ends meanwhile would divide the sums."""
    return line_now(workspace, attempt, **({"at": MAY.timestamp()} | fields))


@pytest.fixture
def acme():
    return Workspace.objects.create(name="acme", timezone="Africa/Johannesburg")


def budget(workspace, name, **fields):
    return Budget.objects.create(
        workspace=workspace, **{"name": name, "of": "workspace", "limit_nanos": 10_000, "alert_at": [80]} | fields
    )


def noted():
    return sorted(Alert.objects.values_list("budget__name", "subject", "threshold", "spent", "limit"))


def test_budgets_that_are_not_near_a_threshold_cost_the_same_statements_one_or_twelve(acme):
    budget(acme, "month", limit_nanos=10**9)
    book([line(acme)])
    with CaptureQueriesContext(connection) as one:
        book([line(acme, "b.1")])
    for of in ("user", "model", "provider"):
        for per in ("day", "month", "total"):
            budget(acme, f"{of} a {per}", of=of, per=per, limit_nanos=10**9)
    book([line(acme, "c.1")])
    with CaptureQueriesContext(connection) as many:
        book([line(acme, "d.1")])
    assert len(many) == len(one) + 1  # five sums at once
    assert Alert.objects.count() == 0


def test_budgets_without_thresholds_are_not_looked_at(acme):
    budget(acme, "quiet", limit_nanos=10, alert_at=[])
    book([line(acme)])
    with CaptureQueriesContext(connection) as queries:
        book([line(acme, "b.1")])
    assert [each["sql"] for each in queries if "SUM(" in each["sql"] or "advisory" in each["sql"]] == []


def test_each_of_many_users_has_its_thresholds_to_itself(acme):
    budget(acme, "users", of="user", per="day", limit_nanos=9000)
    lines = [line(acme, f"{number}.1", user=f"user-{number:03d}") for number in range(400)]
    lines += [line(acme, f"{number}.2", user=f"user-{number:03d}", nanos=4000) for number in (7, 399)]
    book(lines)
    assert noted() == [("users", "user-007", 80, 8500, 9000), ("users", "user-399", 80, 8500, 9000)]


def test_days_before_count_for_the_period_they_are_in_and_no_other(acme):
    for per in ("day", "week", "month", "total"):
        budget(acme, per, per=per)
    at = MAY.timestamp()
    book([line(acme, "april", at=at - 10 * 86_400), line(acme, "last week", at=at - 3 * 86_400)])
    assert noted() == [("total", str(acme.pk), 80, 9000, 10_000)]
    book([line(acme, "today", at=at)])
    assert [name for name, *_ in noted()] == ["month", "total"]
    book([line(acme, "tomorrow", at=at + 86_400)])
    assert [name for name, *_ in noted()] == ["month", "total", "week"]


def test_tokens_and_dollars_of_one_subject_are_told_apart(acme):
    budget(acme, "dollars", of="model", limit_nanos=5000)
    budget(acme, "tokens", of="model", limit_nanos=None, limit_tokens=100)
    book([line(acme, tokens=79)])
    assert noted() == [("dollars", "gpt-4o-mini", 80, 4500, 5000)]
    book([line(acme, "b.1", nanos=0, tokens=1)])
    assert noted()[1:] == [("tokens", "gpt-4o-mini", 80, 80, 100)]


def test_a_named_key_is_found_by_its_name_when_its_sum_is_reached(acme):
    key = ApiKey.objects.create(workspace=acme, name="web", digest=b"1" * 32, hint="abcd")
    budget(acme, "web", of="key", match="web", limit_nanos=4500)
    book([line(acme, key="7"), line(acme, "b.1", key=str(key.pk))])
    assert noted() == [("web", str(key.pk), 80, 4500, 4500)]


def test_what_is_granted_for_a_time_moves_the_thresholds_up(acme):
    month = budget(acme, "month", limit_nanos=5000)
    now = timezone.now()
    Raise.objects.create(
        workspace=acme, budget=month, subject=str(acme.pk), subject_name="acme", asked_by="ann", state="granted",
        amount=5000, starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1),
    )  # fmt: skip
    book([line(acme)])
    assert noted() == []
    book([line(acme, "b.1")])
    assert noted() == [("month", str(acme.pk), 80, 9000, 10_000)]
