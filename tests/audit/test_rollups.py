"""Sums equal the records that they are of, whatever part of a period they stand for, and can be made again."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from audit import batch
from audit.models import CallRecord, LateHour, RolledUp, Traffic, TrafficOfUser
from audit.record import AttemptRecord, Record
from audit.rows import micros
from audit.services.rollups import forget, roll_up
from audit.traffic import (
    DAY,
    HOUR,
    Wanted,
    gathered,
    parts,
    rounded,
    start_of_day,
    start_of_hour,
    users,
    where_they_are,
)

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 9, 12, 34, 56, tzinfo=UTC)


def record(number: int, at: datetime, chance: random.Random, **fields) -> Record:
    outcome = chance.choice(("answered", "answered", "failed", "refused"))
    names = ["small"] if chance.random() < 0.8 else ["large", "small"]
    return Record(
        **{
            "call_id": f"call-{number}",
            "at_us": micros(at),
            "worker": "w",
            "seq": number,
            "workspace_id": chance.choice(("1", "2")),
            "workspace": "acme",
            "key": chance.choice(("web", "batch")),
            "subject": chance.choice(("", "a" * 32, "b" * 32)),
            "model": "small",
            "route": "chat",
            "status": 200,
            "outcome": outcome,
            "code": "" if outcome == "answered" else f"{outcome}_code",
            "cache": chance.choice(("", "hit-exact", "miss")),
            "attempts": [AttemptRecord(model=name, provider="p") for name in names],
            "input_tokens": chance.randrange(100),
            "output_tokens": chance.randrange(100),
            "cost_nanos": chance.randrange(10**9),
            "ttft_us": chance.randrange(10**6) if outcome == "answered" else None,
            "us": chance.randrange(10**7),
            "redacted": chance.choice((0, 0, 3)),
            **fields,
        }
    )


def fill(count: int = 200, days: float = 4.0) -> None:
    chance = random.Random(7)
    times = [NOW - timedelta(days=days * chance.random()) for _ in range(count)]
    batch.write([record(number, at, chance) for number, at in enumerate(times)], "", -1)


def figures(since: datetime, until: datetime, step: timedelta, **wanted):
    start_of = start_of_day if step >= DAY else start_of_hour
    found = gathered(Wanted(None, since, until, **wanted), start_of=start_of, step=step)
    return found.steps, found.names


@pytest.mark.parametrize("step", [HOUR, DAY])
@pytest.mark.parametrize(
    ("since", "until"),
    [
        (NOW - timedelta(days=5), NOW),
        (NOW - timedelta(days=3, minutes=17), NOW - timedelta(hours=7, seconds=3)),
        (start_of_day(NOW) - 2 * DAY, start_of_day(NOW)),
        (NOW - timedelta(minutes=50), NOW),
        (NOW - timedelta(hours=30), NOW - timedelta(hours=29, minutes=30)),
    ],
)
def test_figures_from_sums_are_those_of_the_records(since, until, step) -> None:
    fill()
    from_records = figures(since, until, step), users(Wanted(None, since, until), top=9)

    assert roll_up(now=NOW) > 50
    assert RolledUp.objects.get().hours == start_of_hour(NOW - timedelta(minutes=20))
    assert Traffic.objects.filter(span="d").exists()
    assert TrafficOfUser.objects.exists()
    assert (figures(since, until, step), users(Wanted(None, since, until), top=9)) == from_records


def test_what_is_narrowed_is_narrowed_in_the_sums_too() -> None:
    fill()
    span = (NOW - timedelta(days=5), NOW, DAY)
    narrowed = [{"having": {"key": "web"}}, {"having": {"provider": "none"}}, {"subjects": frozenset({"a" * 32})}]
    before = [figures(*span, **each) for each in narrowed]
    roll_up(now=NOW)
    assert [figures(*span, **each) for each in narrowed] == before


def test_of_a_period_of_days_only_the_edges_are_read_from_the_records() -> None:
    fill()
    roll_up(now=NOW)
    since, until = start_of_day(NOW) - 3 * DAY, start_of_day(NOW) - timedelta(microseconds=1)
    last = start_of_day(NOW) - DAY
    assert list(parts(Wanted(None, since, until), DAY)) == [
        ("d", since, last),
        ("h", last, start_of_hour(until)),
        ("records", start_of_hour(until), until),
    ]
    assert next(parts(Wanted(None, NOW - timedelta(minutes=30), NOW), HOUR))[0] == "records"
    assert [source for source, _, _ in parts(Wanted(None, since, until), timedelta(minutes=1))] == ["records"]


def test_a_record_that_comes_late_is_in_the_sums_after_the_next_turn() -> None:
    fill()
    roll_up(now=NOW)
    assert not LateHour.objects.exists()
    late = record(999, NOW - timedelta(days=2), random.Random(1), cost_nanos=10**12)
    batch.write([late], "", -1)
    roll_up(now=NOW)

    assert not LateHour.objects.exists()
    rolled = figures(NOW - timedelta(days=5), NOW, DAY)
    forget()
    assert rolled == figures(NOW - timedelta(days=5), NOW, DAY)
    assert sum(sums.cost_nanos for sums in rolled[0].values()) > 10**12


def test_sums_that_were_thrown_away_are_made_again_alike() -> None:
    fill()
    roll_up(now=NOW)
    rows = sorted(Traffic.objects.values_list("span", "at", "workspace_id", "outcome", "calls", "cost_nanos"))
    forget()
    assert not Traffic.objects.exists()
    roll_up(now=NOW)
    assert rows == sorted(Traffic.objects.values_list("span", "at", "workspace_id", "outcome", "calls", "cost_nanos"))


def test_a_turn_that_is_out_of_time_goes_on_the_next_time() -> None:
    fill()
    assert roll_up(now=NOW, seconds=0) == 0
    turns = 0
    while RolledUp.objects.values_list("hours", flat=True).first() != start_of_hour(NOW - timedelta(minutes=20)):
        roll_up(now=NOW, seconds=0.02)
        turns += 1
    rolled = figures(NOW - timedelta(days=5), NOW, DAY)
    forget()
    assert rolled == figures(NOW - timedelta(days=5), NOW, DAY)


def test_without_a_call_there_is_nothing_to_sum_up() -> None:
    assert roll_up(now=NOW) == 0
    assert not RolledUp.objects.exists()


def test_a_fresh_record_costs_no_note() -> None:
    fresh = datetime.now(UTC) - timedelta(minutes=5)
    batch.write([record(1, fresh, random.Random(1))], "", -1)
    assert not LateHour.objects.exists()


@pytest.mark.parametrize("us", [0, 1, 199, 200, 201, 999, 1_234_567, 59_999_999, 10**12 + 7])
def test_a_rounded_time_is_off_by_less_than_two_per_cent(us: int) -> None:
    assert 0 <= us - rounded(us) <= us * 0.02


@pytest.mark.parametrize("having", [{"key": "web"}, {"key": "rare"}, {"key": "fresh"}, {"key": "no-such"}, {}])
def test_calls_are_looked_for_only_where_they_are_and_all_of_them_are_found(having) -> None:
    fill()
    chance = random.Random(3)
    batch.write([record(901, NOW - timedelta(days=3), chance, key="rare")], "", -1)
    batch.write([record(902, NOW - timedelta(minutes=1), chance, key="fresh")], "", -1)
    everything = CallRecord.objects.filter(**having)
    assert set(where_they_are(everything, having)) == set(everything)
    roll_up(now=NOW)
    assert set(where_they_are(everything, having)) == set(everything)
