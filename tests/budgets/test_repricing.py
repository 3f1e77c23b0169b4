"""Pricing calls anew: lines of the differences, totals and counters that follow, a trail, and nothing edited."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from time import time

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from audit.models import AuditEvent
from budgets.compiler import price_lists
from budgets.ledger.memory import MemoryLedger
from budgets.models import Entry, Price, Repricing, Total
from budgets.queries import opening_sums
from budgets.running import Watch, open_missing
from budgets.services import repricing
from budgets.services.repricing import Wanted, foresee, reprice
from budgets.services.spending import book
from budgets.statement import make_statement
from tests import rows
from tests.budgets.test_spending import line

pytestmark = pytest.mark.django_db

MODEL = "small"


@pytest.fixture
def world():
    """Four calls of ten tokens in and five out at a price that was ten times too high, and others to leave alone."""
    ours = rows.tenant("acme")
    Price.objects.create(
        model=MODEL, valid_from=datetime(2020, 1, 1, tzinfo=UTC), input_nanos=10**8, output_nanos=2 * 10**8
    )
    charged = {"model": MODEL, "nanos": 20_000, "key": str(ours.key.pk)}
    book(
        [line(ours.workspace, f"a{n}.1", **charged) for n in range(4)]
        + [
            line(ours.workspace, "old.1", **charged, at=time() - 40 * 86_400),
            line(ours.workspace, "free.1", **charged | {"nanos": 0, "status": "assumed_zero", "classes": {}}),
            line(ours.workspace, "doubt.1", **charged | {"status": "in_doubt"}),
            line(ours.workspace, "swept.1", **charged | {"classes": {}}),
            line(ours.workspace, "other.1", model="nobody-knows"),
        ]
    )
    return ours


def wanted(world, **fields):
    now = timezone.now()
    return Wanted(world.workspace, **{"since": now - timedelta(hours=1), "until": now + timedelta(hours=1), **fields})


def total(world):
    return Total.objects.filter(of="workspace").order_by("-day").first().nanos


def priced_anew(world, **fields):
    return reprice(wanted=wanted(world, **fields), prices=price_lists(), reason="a wrong price", by="ann")


def test_differences_are_booked_as_new_lines_and_a_second_time_there_are_none(world):
    before, lines = total(world), Entry.objects.count()
    assert foresee(wanted(world), price_lists()).lines == 4
    assert Entry.objects.count() == lines
    outcome = priced_anew(world)
    assert (outcome.lines, outcome.nanos, outcome.unpriced, outcome.unknown) == (4, 4 * (2000 - 20_000), 1, 2)
    assert total(world) == before - 4 * 18_000
    new = Entry.objects.filter(status="repriced")
    number = Repricing.objects.get().pk
    assert sorted(new.values_list("attempt", "nanos", "tokens")) == [(f"a{n}.1~{number}", -18_000, 0) for n in range(4)]
    assert {entry.price for entry in new} == {str(Price.objects.get().pk)}
    assert Total.objects.filter(of="workspace").order_by("-day").first().attempts == 8
    again = priced_anew(world)
    assert (again.lines, again.nanos) == (0, 0)
    Price.objects.update_or_create(model=MODEL, defaults={"output_nanos": 4 * 10**8})
    assert priced_anew(world).nanos == 4 * 1000


def test_a_run_that_broke_off_is_finished_by_the_next(world, monkeypatch):
    monkeypatch.setattr(repricing, "AT_ONCE", 2)
    broken = iter([True, False])

    def book_once(lines):
        if next(broken):
            return book(lines)
        raise RuntimeError("killed")

    monkeypatch.setattr(repricing, "book", book_once)
    with pytest.raises(RuntimeError):
        priced_anew(world)
    monkeypatch.setattr(repricing, "book", book)
    assert Entry.objects.filter(status="repriced").count() == 2
    assert priced_anew(world).lines == 2
    assert sum(Entry.objects.filter(status="repriced").values_list("nanos", flat=True)) == -4 * 18_000
    assert [bool(row.finished_at) for row in Repricing.objects.order_by("pk")] == [False, True]


def test_the_service_tier_that_was_billed_is_priced_again(world):
    price = Price.objects.get()
    price.details = {"service_tiers": {"flex": {"input": "0.05", "output": "0.1"}}}
    price.save()
    book([line(world.workspace, "flex.1", model=MODEL, classes={"input": 10, "output": 5, "service_tier": "flex"})])
    priced_anew(world)
    assert Entry.objects.get(attempt__startswith="flex.1~").nanos == 1000 - 4500


def test_counters_come_down_by_what_was_priced_anew_and_never_below_the_lines(world):
    ledger = MemoryLedger()
    open_missing(ledger)
    watch = Watch(ledger, "me")
    watch._begin()
    (name,) = (name for name in ledger.buckets if ":usd:" in name)
    ledger.buckets[name].spent += 700  # settled, its line still on the way
    before = ledger.buckets[name].spent
    priced_anew(world)
    for _ in range(2):
        watch.correct()
        watch.compare()
    assert ledger.buckets[name].spent == before - 4 * 18_000
    assert opening_sums(time())[name][0] == ledger.buckets[name].spent - 700
    Price.objects.update_or_create(model=MODEL, defaults={"output_nanos": 20 * 10**8})
    priced_anew(world)
    watch.correct()
    assert ledger.buckets[name].spent == opening_sums(time())[name][0]
    late = Watch(ledger, "late")
    late._begin()
    spent = ledger.buckets[name].spent
    late.correct()
    assert ledger.buckets[name].spent == spent


def test_it_is_in_the_trail_and_in_the_statement(world):
    month = f"{timezone.now():%Y-%m}"
    before = make_statement(world.workspace, month)
    priced_anew(world)
    event = AuditEvent.objects.filter(object_type="repricing").order_by("at").last()
    after = json.loads(event.after)
    assert (after["reason"], after["by"], after["lines"], after["nanos"]) == ("a wrong price", "ann", 4, -72_000)
    later = make_statement(world.workspace, month)
    assert (later.rows[-1][-3], before.rows[-1][-3]) == ("-0.000072", "0")
    assert make_statement(world.workspace, month, as_of=before.as_of).text == before.text


def test_the_command_foresees_does_and_says_what_is_wrong(world):
    said = StringIO()
    since = ["--since", (timezone.now() - timedelta(hours=1)).isoformat(), "--workspace", "acme"]
    call_command("reprice", *since, "--dry-run", stdout=said)
    call_command("reprice", *since, "--model", MODEL, "--reason", "typo", stdout=said)
    assert said.getvalue().splitlines() == [
        "acme: 4 corrections would be booked, $-0.000072 in all; left as they are: 1 of models without a price, "
        "2 of unknown tokens",
        "acme: 4 corrections booked, $-0.000072 in all; left as they are: 2 of unknown tokens",
    ]
    for wrong, says in (
        ([*since], "Say why"),
        ([*since, "--model", "unheard-of"], "no price for the model"),
        (["--since", "soon", "--reason", "x"], "is not a time"),
        (["--since", "2030-01-01T00:00:00Z", "--reason", "x"], "begins after it ends"),
    ):
        with pytest.raises(CommandError, match=says):
            call_command("reprice", *wrong)
    with pytest.raises(ValidationError):
        foresee(wanted(world, until=timezone.now() - timedelta(days=2)), price_lists())


def test_a_superuser_prices_calls_anew_on_the_page_of_the_price_and_nobody_else_may(client, world):
    price = Price.objects.get()
    url = reverse("admin:budgets_price_reprice_calls", args=[price.pk])
    client.force_login(world.person("finance"))
    assert client.post(url, {"reason": "x"}).status_code == 403
    client.force_login(rows.superuser())
    page = client.get(url)
    assert page.status_code == 200
    assert "acme: 5 corrections, $-0.00009 in all" in page.content.decode()
    assert client.post(url, {"reason": ""}).status_code == 200
    assert not Entry.objects.filter(status="repriced").exists()
    assert client.post(url, {"reason": "a typo"}).status_code == 302
    assert Entry.objects.filter(status="repriced").count() == 5
    assert set(Repricing.objects.values_list("by", "reason")) == {("root", "a typo")}
    Price.objects.create(model="next", valid_from=timezone.now() + timedelta(days=1), input_nanos=1)
    later = reverse("admin:budgets_price_reprice_calls", args=[Price.objects.get(model="next").pk])
    assert client.get(later).status_code == 302
