"""Days, weeks and months as their people live them, also when clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from budgets.periods import Clock, bucket, period

ZONES = ("Africa/Johannesburg", "America/New_York", "Pacific/Auckland")
HOUR = 3600


def at(zone, *when):
    return datetime(*when, tzinfo=ZoneInfo(zone)).timestamp()


@settings(max_examples=300, deadline=None)
@given(
    zone=st.sampled_from([*ZONES, "America/Santiago", "Africa/Cairo", "Australia/Lord_Howe"]),
    per=st.sampled_from(["day", "week", "month"]),
    instant=st.integers(
        int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2030, 1, 1, tzinfo=UTC).timestamp())
    ),
)
@example(zone="America/New_York", per="day", instant=int(at("America/New_York", 2026, 3, 8, 12)))
@example(zone="America/New_York", per="day", instant=int(at("America/New_York", 2026, 11, 1, 12)))
@example(zone="America/Santiago", per="day", instant=int(at("America/Santiago", 2026, 9, 6, 12)))
def test_periods_follow_each_other_without_gap_or_overlap(zone, per, instant):
    now = period(zone, per, instant)
    assert now.start <= instant < now.end
    assert period(zone, per, now.start) == now
    assert period(zone, per, now.end - 1) == now
    assert period(zone, per, now.end).start == now.end
    assert period(zone, per, now.start - 1).end == now.start
    first = datetime.fromtimestamp(now.start, ZoneInfo(zone))
    before = datetime.fromtimestamp(now.start - 1, ZoneInfo(zone))
    assert first.date() == before.date() + timedelta(days=1)
    if per == "week":
        assert first.weekday() == 0
    if per == "month":
        assert first.day == 1


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Africa/Johannesburg", (2026, 3, 29), 24),
        ("America/New_York", (2026, 3, 8), 23),
        ("America/New_York", (2026, 11, 1), 25),
        ("Pacific/Auckland", (2026, 9, 27), 23),
        ("Pacific/Auckland", (2026, 4, 5), 25),
        ("America/Santiago", (2026, 9, 6), 23),  # midnight itself does not exist on this day
        ("Australia/Lord_Howe", (2026, 10, 4), 23.5),
    ],
)
def test_a_day_has_as_many_hours_as_its_clocks_show(zone, day, hours):
    start, end = period(zone, "day", at(zone, *day, 12))
    assert end - start == hours * HOUR


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("when", [(2026, 2, 28), (2024, 2, 29), (2026, 12, 31), (2026, 4, 30)])
def test_the_last_instant_of_a_month_belongs_to_it_and_the_next_one_does_not(zone, when):
    clock = Clock(zone)
    last = at(zone, *when, 23, 59, 59) + 0.9
    ending, beginning = clock.period("month", last), clock.period("month", last + 0.1)
    assert ending.end == beginning.start == round(last + 0.1)
    assert clock.period("month", last) == ending


def test_in_total_never_ends():
    assert period("UTC", "total", 0) == period("UTC", "total", 4_000_000_000)
    with pytest.raises(ValueError, match="'year' is not a period"):
        period("UTC", "year", 0)


def test_a_bucket_is_named_by_who_spends_what_in_which_period():
    assert bucket("1", "user", "a:b", "day", 86_400, "usd") == "{1}:user:day:86400:usd:a:b"
