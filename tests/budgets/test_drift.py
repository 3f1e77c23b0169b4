"""What protects the ledger, and whether sums agree with it: found out, named, and what to do said."""

import time
from contextlib import nullcontext
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from budgets import append_only
from budgets.drift import counters_off, rebuild_totals, totals_off
from budgets.ledger.keeper import Keeper
from budgets.ledger.memory import MemoryLedger
from budgets.ledger.redis import LUA, RedisLedger
from budgets.models import Entry, Total
from budgets.running import Watch
from budgets.services.spending import book
from gateway.counters.batch import LIMITS, RedisBatch, script_of
from gateway.guards import TableGuards, missing_triggers
from gateway.runtime import ready
from gateway.services.diagnosis import check_ledger, check_triggers
from tests import rows
from tests.budgets.test_spending import line

SCRIPT = script_of(LIMITS, LUA)


@pytest.fixture
def world(db):
    ours = rows.tenant("acme")
    book([line(ours.workspace), line(ours.workspace, "b.1", nanos=900, status="in_doubt")])
    book([line(ours.workspace, "b.1", nanos=500)])
    return ours


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE budgets_entry SET nanos = 1",
        "UPDATE budgets_entry SET id = id + 100",
        "DELETE FROM budgets_entry",
        "TRUNCATE budgets_entry",
        "INSERT INTO budgets_entry SELECT * FROM budgets_entry WHERE true ON CONFLICT (attempt) DO UPDATE SET nanos = 1",
    ],
)
def test_the_database_refuses_to_change_what_was_booked(world, statement):
    if statement.startswith("TRUNCATE") and connection.vendor == "sqlite":
        pytest.skip("SQLite has no TRUNCATE")
    before = list(Entry.objects.order_by("pk").values())
    ignored = statement.startswith("INSERT") and connection.vendor == "sqlite"
    refused = nullcontext() if ignored else pytest.raises(DatabaseError, match="append-only")
    with refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert list(Entry.objects.order_by("pk").values()) == before


def test_a_line_is_not_replaced_on_sqlite(world):
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite has REPLACE")
    before = list(Entry.objects.order_by("pk").values())
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE copied AS SELECT * FROM budgets_entry")
        cursor.execute("UPDATE copied SET nanos = 0")
        cursor.execute("INSERT OR REPLACE INTO budgets_entry SELECT * FROM copied")
    assert list(Entry.objects.order_by("pk").values()) == before


DROP = {
    "budgets_entry": ("budgets_entry_no_delete", "no_delete"),
    "prompts_promptversion": ("prompts_promptversion_no_update",) * 2,
}


@pytest.mark.parametrize("table", DROP)
def test_a_trigger_that_is_gone_is_named_by_the_doctor_and_takes_the_process_out_of_service(db, table):
    assert missing_triggers() == []
    on_sqlite, on_postgresql = DROP[table]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"DROP TRIGGER {on_sqlite}")
        else:
            cursor.execute(f"DROP TRIGGER {on_postgresql} ON {table}")
    guards = TableGuards()
    guards.missing = missing_triggers()
    is_ready, problems = ready(None, [guards])
    name = on_sqlite if connection.vendor == "sqlite" else on_postgresql
    assert not is_ready
    assert name in problems["append_only"]
    assert "manage.py migrate" in problems["append_only"]
    found = check_triggers()
    assert found.state == "FAIL"
    assert name in found.message
    call_command("migrate", verbosity=0)
    assert missing_triggers() == []


def test_a_trigger_that_is_switched_off_is_named_on_postgresql(db):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite can't switch a trigger off")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE budgets_entry DISABLE TRIGGER no_update")
    assert append_only.missing(connection) == ["trigger no_update of budgets_entry is changed or switched off"]
    append_only.install(connection)
    assert append_only.missing(connection) == []


def test_totals_that_are_not_the_sum_of_their_lines_are_named_and_made_again(world, settings):
    settings.REDIS_URL = ""
    assert (totals_off(), check_ledger().state) == ([], "ok")
    before = list(Total.objects.order_by("of", "subject").values_list("of", "subject", "nanos", "tokens", "attempts"))
    doubts = list(Total.objects.order_by("of", "subject").values_list("doubt_nanos", "doubt_tokens"))
    Total.objects.filter(of="workspace").update(nanos=1)
    Total.objects.filter(of="user").delete()
    assert totals_off() == [("acme", 1 - 5000)]
    found = check_ledger()
    assert found.state == "FAIL"
    assert "acme are -4999 nano-dollars off" in found.message
    assert "budgets --rebuild" in found.message
    call_command("budgets", "--rebuild", stdout=StringIO(), stderr=StringIO())
    assert totals_off() == []
    after = Total.objects.order_by("of", "subject")
    assert list(after.values_list("of", "subject", "nanos", "tokens", "attempts")) == before
    assert list(after.values_list("doubt_nanos", "doubt_tokens")) == doubts == [(0, 0)] * len(doubts)
    assert rebuild_totals() == 3


def test_a_budget_from_before_redis_that_is_too_large_for_it_is_named(world, settings):
    settings.REDIS_URL = ""
    world.budget.limit_nanos = 2**53
    world.budget.save()
    assert check_ledger().state == "ok"
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    found = check_ledger()
    assert found.state == "FAIL"
    assert "the budget acme-budget of acme is larger than 9,007,199,254,740,991: lower it" in found.message


def test_asking_whether_the_totals_agree_takes_two_sums_however_many_lines(world):
    with CaptureQueriesContext(
        connection,
    ) as asked:
        totals_off()
    few = len(asked)
    book([line(world.workspace, f"m{n}.1") for n in range(50)])
    with CaptureQueriesContext(connection) as asked:
        totals_off()
    assert len(asked) == few


def test_a_process_tells_of_drift_and_of_lost_counters_and_goes_on():
    watch = Watch(MemoryLedger(), "me")
    assert ready(None, [watch])[1].keys() <= {"configuration"}
    watch.drift = {"{1}:key:month:0:usd:7": 12}
    is_well, problems = watch.troubles()
    assert is_well
    assert "{1}:key:month:0:usd:7 by 12" in problems["budget_drift"]
    ledger = RedisLedger(RedisBatch("redis://127.0.0.1:1/0", SCRIPT), "w")
    keeper = Keeper(ledger, "redis://127.0.0.1:1/0", SCRIPT, lambda: None)
    is_well, problems = keeper.troubles()
    assert is_well
    assert "being made again" in problems["budgets"]
    ledger.is_fenced = False
    assert keeper.troubles() == (True, {})


@pytest.mark.services
@pytest.mark.django_db(transaction=True)
def test_the_doctor_finds_lost_and_lagging_counters_in_redis(own_redis, settings):
    settings.REDIS_URL = own_redis.url
    world = rows.tenant("acme")
    assert counters_off(own_redis.url) == ""
    book([line(world.workspace)])
    assert "Redis holds no counters of budgets" in check_ledger().message
    ledger = RedisLedger(RedisBatch(own_redis.url, SCRIPT), "w")
    keeper = Keeper(ledger, own_redis.url, SCRIPT, lambda: None)
    keeper.turn()
    until = time.monotonic() + 10
    while ledger.is_fenced and time.monotonic() < until:
        keeper.turn()
    assert check_ledger().state == "ok"
    book([line(world.workspace, "unseen.1")])
    found = check_ledger()
    assert (found.state, "1 counter(s) in Redis are behind" in found.message) == ("FAIL", True)
    keeper.store.client.close()
