"""The ledger's lines: booked once, never changed, and the truth of every counter."""

import json
from datetime import UTC, datetime
from io import StringIO
from time import time
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from budgets import periods, queries
from budgets.ledger.memory import MemoryLedger
from budgets.models import Alert, Budget, Entry, Exposure, Total
from budgets.queries import opening_sums
from budgets.running import LOOK_ANYWAY_SECONDS, Watch, open_missing
from budgets.services.spending import book, book_records
from tenants.models import Team, Workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme():
    workspace = Workspace.objects.create(name="acme", timezone="Africa/Johannesburg")
    Team.objects.create(workspace=workspace, name="search")
    return workspace


def line(workspace, attempt="a.1", **fields):
    """A ledger line of 4500 nano-dollars and 15 tokens, as a call's hold makes it."""
    return {
        "attempt": attempt,
        "at": time(),
        "workspace": str(workspace.pk),
        "team": "",
        "key": "7",
        "user": "ann",
        "model": "gpt-4o-mini",
        "provider": "openai",
        "nanos": 4500,
        "tokens": 15,
        "status": "exact",
        "price": "mini",
        "classes": {"input": 10, "output": 5},
    } | fields


def totals(of):
    return list(Total.objects.filter(of=of).values_list("subject", "nanos", "tokens", "doubt_nanos", "attempts"))


def test_a_line_that_is_booked_again_counts_once(acme):
    assert book([line(acme), line(acme, "b.1")]) == 2
    assert book([line(acme), line(acme, "c.1")]) == 1
    assert Entry.objects.count() == 3
    assert totals("user") == [("ann", 13_500, 45, 0, 3)]


def test_a_late_answer_replaces_what_was_charged_in_doubt_by_a_line_of_the_difference(acme):
    book([line(acme, nanos=90_000, tokens=300, status="in_doubt")])
    assert totals("workspace") == [(str(acme.pk), 90_000, 300, 90_000, 1)]
    late = line(acme)
    assert book([late]) == 1
    assert book([late]) == 0
    assert totals("workspace") == [(str(acme.pk), 4500, 15, 0, 1)]
    assert sorted(Entry.objects.values_list("attempt", "nanos", "status")) == [
        ("a.1", 90_000, "in_doubt"),
        ("a.1+1", -85_500, "correction"),
    ]


def test_a_doubt_that_comes_after_the_answer_changes_nothing(acme):
    book([line(acme)])
    assert book([line(acme, nanos=90_000, status="in_doubt")]) == 0
    assert totals("workspace") == [(str(acme.pk), 4500, 15, 0, 1)]


@pytest.mark.parametrize("statement", ["UPDATE budgets_entry SET nanos = 0", "DELETE FROM budgets_entry"])
def test_the_database_refuses_to_change_what_was_booked(acme, statement):
    book([line(acme)])
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert Entry.objects.get().nanos == 4500


def test_a_line_belongs_to_the_local_day_of_its_reservation(acme):
    just_before_midnight_in_johannesburg = datetime(2026, 3, 31, 21, 59, 59, tzinfo=UTC).timestamp()
    book(
        [
            line(acme, at=just_before_midnight_in_johannesburg),
            line(acme, "b.1", at=just_before_midnight_in_johannesburg + 1),
        ]
    )
    days = Total.objects.filter(of="workspace").order_by("day").values_list("day", "nanos")
    assert [(str(day), nanos) for day, nanos in days] == [("2026-03-31", 4500), ("2026-04-01", 4500)]


def test_names_that_no_database_keeps_are_booked_all_the_same(acme):
    book([line(acme, user="a\x00b\ud800" + "c" * 500)])
    assert Entry.objects.get().user == ("a\ufffdb?" + "c" * 500)[:200]


def test_counters_begin_with_the_sum_of_the_lines(acme):
    Budget.objects.create(workspace=acme, name="month", of="workspace", limit_nanos=10**9)
    Budget.objects.create(workspace=acme, name="user tokens", of="user", per="day", limit_tokens=1000)
    book_records([SimpleNamespace(entries=[line(acme), line(acme, "b.1", user="bob", status="in_doubt")])])
    ledger = MemoryLedger()

    open_missing(ledger)

    found = {}
    for name, (spent, held, doubt) in ledger.sums().items():
        _, of, per, _, unit, subject = name.split(":", 5)
        found[(of, per, unit, subject)] = (spent, held, doubt)
    assert found[("workspace", "month", "usd", str(acme.pk))] == (9000, 0, 4500)
    assert found[("user", "day", "tokens", "ann")] == (15, 0, 0)
    assert found[("user", "day", "tokens", "bob")] == (15, 0, 15)


def test_a_new_kind_of_budget_finds_what_was_spent_before_it(acme):
    book([line(acme)])
    ledger = MemoryLedger()
    open_missing(ledger)
    assert ledger.sums() == {}
    Budget.objects.create(workspace=acme, name="models", of="model", per="total", limit_nanos=10**9)
    open_missing(ledger)
    assert [(name.split(":", 5)[1::4], sums) for name, sums in ledger.sums().items() if ":usd:" in name] == [
        (["model", "gpt-4o-mini"], (4500, 0, 0))
    ]


def test_each_threshold_is_noted_once_in_the_transaction_that_crosses_it(acme):
    budget = Budget.objects.create(
        workspace=acme, name="users", of="user", per="day", limit_nanos=10_000, alert_at=[50, 80, 100]
    )
    book([line(acme, user="bob", nanos=100)])
    assert list(Alert.objects.values_list("threshold", flat=True)) == []
    book([line(acme, "b.1", nanos=5000)])
    book([line(acme, "c.1", nanos=4000)])
    book([line(acme, "d.1", nanos=2000), line(acme, "e.1", nanos=1)])
    alerts = Alert.objects.order_by("threshold").values_list("budget", "subject", "threshold", "spent", "limit")
    assert list(alerts) == [
        (budget.pk, "ann", 50, 5000, 10_000),
        (budget.pk, "ann", 80, 9000, 10_000),
        (budget.pk, "ann", 100, 11_001, 10_000),
    ]


def test_a_named_team_is_told_of_its_own_spending_only(acme):
    team = Team.objects.get()
    Budget.objects.create(workspace=acme, name="search", of="team", match="search", limit_nanos=4000, alert_at=[100])
    book([line(acme, team="99999"), line(acme, "b.1", team=str(team.pk))])
    assert list(Alert.objects.values_list("subject", flat=True)) == [str(team.pk)]


async def reserve(ledger, workspace, amount):
    from gateway.core.counters import Ask, Wish

    name = next(name for name in ledger.sums() if ":workspace:" in name and ":usd:" in name)
    await ledger.reserve("running", [Ask(name, amount, 0, None)], Wish(0, 0), str)


async def settle(ledger):
    from gateway.core.counters import Spent

    await ledger.settle("running", Spent(1, 1))


def test_the_command_shows_each_budget_with_what_is_held_and_in_doubt(acme):
    import asyncio

    Budget.objects.create(workspace=acme, name="one call", of="call", limit_nanos=500_000_000)
    Budget.objects.create(workspace=acme, name="month", of="workspace", limit_nanos=10**9)
    Budget.objects.create(workspace=acme, name="user tokens", of="user", per="day", limit_tokens=1000)
    book([line(acme), line(acme, "b.1", status="in_doubt")])
    ledger = MemoryLedger()
    open_missing(ledger)
    watch = Watch(ledger)
    asyncio.run(reserve(ledger, acme, 2000))
    watch.tell()

    out = StringIO()
    call_command("budgets", "--workspace", "acme", "--json", stdout=out)
    states = {state["name"]: state for state in json.loads(out.getvalue())}
    month = states["month"]
    assert (month["scope"], month["limit_usd"], month["spent_usd"]) == ("workspace", "1", "0.000009")
    assert (month["held_usd"], month["in_doubt_usd"]) == ("0.000002", "0.0000045")
    assert month["period_start"].endswith("T22:00:00Z")
    users = states["user tokens"]
    assert (users["scope"], users["limit_tokens"], users["spent_tokens"], users["limit_usd"]) == (
        "user:ann",
        1000,
        30,
        None,
    )
    assert (states["one call"]["scope"], states["one call"]["period_start"]) == ("call", None)

    asyncio.run(settle(ledger))
    watch.tell()
    assert Exposure.objects.count() == 0


def test_the_command_names_the_workspaces_there_are(acme):
    with pytest.raises(CommandError, match="There are: acme"):
        call_command("budgets", "--workspace", "nobody", stdout=StringIO())
    out = StringIO()
    call_command("budgets", stdout=out)
    assert out.getvalue() == "There are no budgets.\n"


def test_a_counter_behind_the_lines_takes_them_over(acme):
    Budget.objects.create(workspace=acme, name="month", of="workspace", limit_nanos=10**9)
    ledger = MemoryLedger()
    open_missing(ledger)
    book([line(acme)])
    watch = Watch(ledger)
    watch.compare()
    assert {spent for name, (spent, _, _) in ledger.sums().items() if ":usd:" in name} == {4500}
    assert {
        name: spent for name, (spent, _) in opening_sums(time()).items() if ":usd:" in name
    }.keys() <= ledger.sums().keys()


def test_counters_that_agreed_are_compared_again_only_when_a_line_or_a_counter_has_changed(acme):
    Budget.objects.create(workspace=acme, name="month", of="workspace", limit_nanos=10**9)
    ledger = MemoryLedger()
    open_missing(ledger)
    watch = Watch(ledger)
    book([line(acme)])
    watch.compare()
    watch.compare()  # takes notice of what the first one loaded
    with CaptureQueriesContext(connection) as queries:
        watch.compare()
    assert len(queries) == 1
    book([line(acme, "b.1")])
    watch.compare()
    assert {spent for name, (spent, _, _) in ledger.sums().items() if ":usd:" in name} == {9000}
    watch._all_compared_at -= LOOK_ANYWAY_SECONDS
    with CaptureQueriesContext(connection) as queries:
        watch.compare()
    assert len(queries) > 1


def test_between_whole_comparisons_only_those_who_spent_are_looked_at(acme, monkeypatch):
    Budget.objects.create(workspace=acme, name="each", of="user", limit_nanos=10**9)
    ledger = MemoryLedger()
    open_missing(ledger)
    watch = Watch(ledger)
    book([line(acme, f"{name}.1", user=name) for name in ("ann", "bob", "eve")])
    watch.compare()
    watch.compare()  # takes notice of what the first one loaded
    asked = []
    spent = queries.spent_by_subject

    def noted(*args, subjects=None):
        asked.append(subjects)
        return spent(*args, subjects=subjects)

    monkeypatch.setattr(queries, "spent_by_subject", noted)
    book([line(acme, "bob.2", user="bob")])
    ann = next(bucket for name, bucket in ledger.buckets.items() if name.endswith(":usd:ann"))
    ann.spent += 5  # counted, and not booked yet
    watch.compare()
    assert asked == [{"ann", "bob"}]
    assert {name.rsplit(":", 1)[1]: bucket.spent for name, bucket in ledger.buckets.items() if ":usd:" in name} == {
        "ann": 4505,
        "bob": 9000,
        "eve": 4500,
    }
    watch.compare()
    assert asked[1] == {"ann", "bob"}, "it is ahead until its line comes; the lines of a while ago are looked at again"


def test_the_name_of_a_bucket_says_whose_it_is():
    name = periods.bucket("7", "user", "a:b{c}", "month", 1_700_000_000, "usd")
    assert periods.subject_of(name) == ("7", "user", "a:b{c}")


def test_counters_of_periods_that_are_long_over_are_forgotten(acme):
    ledger = MemoryLedger()
    now = int(time())
    old, held, new, total = (
        periods.bucket(str(acme.pk), "user", name, per, start, "usd")
        for name, per, start in (
            ("old", "day", now - 4 * 86_400),
            ("held", "week", now - 11 * 86_400),
            ("new", "month", now - 39 * 86_400),
            ("total", "total", 0),
        )
    )
    ledger.load(dict.fromkeys((old, held, new, total), (5, 0)))
    ledger.buckets[held].held = 1
    Watch(ledger).compare()
    assert ledger.buckets.keys() == {held, new, total}
