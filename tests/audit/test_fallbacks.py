"""Calls that another model answered than the one that was asked first are found, wherever they are, and no others."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.fallbacks import fallback_page, fell_back
from audit.models import CallRecord
from audit.search import ANY, PAGE_ROWS, CallSearch
from audit.services.rollups import roll_up
from tests.gateway.admin.test_home import record

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 9, 12, 34, 56, tzinfo=UTC)


def call(number: int, asked: str, answered: str = "small", **values) -> str:
    models = [asked] if asked == answered else [asked, answered]
    attempts = [{"model": name, "reason": "a \\u0000 that PostgreSQL has no text for"} for name in models]
    values.setdefault("at", NOW - timedelta(minutes=number))
    return record(number, model=answered, rest=json.dumps({"attempts": attempts}), **values).id


def pages(search: CallSearch) -> list[list[str]]:
    """The ids of each page, until there is none."""
    found, cursor, seen = fell_back(search.found(None), search.fields["fallback"]), "", []
    while True:
        page = fallback_page(search, found, None, cursor)
        seen.append([row.id for row in page.rows])
        if not (cursor := page.older):
            return seen


def test_calls_that_fell_back_are_told_from_all_others() -> None:
    fallen = call(1, "large")
    call(2, "small")
    other = call(3, "other")
    record(4, at=NOW, cache="hit-exact")

    assert set(fell_back(CallRecord.objects.all(), ANY).values_list("pk", flat=True)) == {fallen, other}
    assert [each.pk for each in fell_back(CallRecord.objects.all(), "large")] == [fallen]
    assert not fell_back(CallRecord.objects.all(), "small").exists()


@pytest.mark.parametrize("is_rolled", [True, False], ids=["summed up", "not summed up"])
def test_pages_of_fallbacks_hold_each_of_them_once_newest_first(is_rolled: bool) -> None:
    fallen = [call(number, "large", at=NOW - timedelta(hours=number)) for number in range(2 * PAGE_ROWS)]
    for number in range(1000, 1020):
        call(number, "small", at=NOW - timedelta(hours=number - 1000))
    if is_rolled:
        roll_up(now=NOW)

    search = CallSearch({"period": "all", "fallback": "large"})
    assert [each for page in pages(search) for each in page] == fallen
    assert [len(page) for page in pages(search)][:2] == [PAGE_ROWS, PAGE_ROWS]
    assert pages(CallSearch({"period": "all", "fallback": "no-such-model"})) == [[]]
    narrowed = CallSearch({"since": f"{NOW - timedelta(hours=3, minutes=1):%Y-%m-%dT%H:%M:%S}", "fallback": "any"})
    assert pages(narrowed) == [fallen[:4]]


def test_only_the_hours_that_have_some_are_read() -> None:
    call(1, "large", at=NOW - timedelta(hours=30))
    roll_up(now=NOW)
    search = CallSearch({"period": "all", "fallback": "large"})
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert len(pages(search)[0]) == 1
    read = [each["sql"] for each in asked if "audit_callrecord" in each["sql"]]
    assert len(read) == 2  # what is not summed up yet, and that hour
