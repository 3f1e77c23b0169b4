"""Calls that another model answered than the one that was asked first: how they are found among all others.

A record says it only within its attempts. So that a page of them need not look into every record, the hourly sums tell in
which hours there are any.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import CharField, F, Func, Q, QuerySet, Sum

from audit.models import CallRecord, RolledUp, Traffic
from audit.search import ANY, PAGE_ROWS, CallSearch, Page, cursor_of, in_workspaces, page_of, read_cursor
from audit.traffic import HOUR

HOURS_AT_ONCE = 50


class FirstModel(Func):
    """The model that a record's first attempt asked, from `rest`; NULL where nothing was sent."""

    output_field = CharField()
    template = "JSON_EXTRACT(%(expressions)s, '$.attempts[0].model')"

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # Only the name is read as text: somewhere else in `rest` may stand what PostgreSQL has no text for.
        template = "((%(expressions)s)::json #> '{attempts,0,model}') #>> '{}'"
        return self.as_sql(compiler, connection, template=template, **context)


def fell_back(found: QuerySet[CallRecord], asked: str) -> QuerySet[CallRecord]:
    """Those that asked this model first, or ANY, and another one in the end."""
    found = found.alias(asked_first=FirstModel("rest"))
    if asked == ANY:
        return found.filter(asked_first__isnull=False).exclude(asked_first=F("model"))
    return found.filter(asked_first=asked).exclude(model=asked)


def fallback_page(
    search: CallSearch, found: QuerySet[CallRecord], workspace_ids: frozenset[Any] | None, cursor: str
) -> Page[CallRecord]:
    """One page of the calls that `found`, of this search for fallbacks in these workspaces, holds."""
    rolled = RolledUp.objects.first()
    if rolled is None:
        return page_of(found, cursor)
    page = page_of(found.filter(at__gte=rolled.hours), cursor)
    rows = page.rows
    for hours in _some_at_a_time(_hours(search, workspace_ids, read_cursor(cursor)[0]), PAGE_ROWS):
        if page.older:
            return Page(rows, page.older)
        if len(rows) == PAGE_ROWS:
            return Page(rows, cursor_of(rows[-1]))
        within = Q()
        for hour in hours:
            within |= Q(at__gte=hour, at__lt=hour + HOUR)
        page = page_of(found.filter(within, at__lt=rolled.hours), cursor, size=PAGE_ROWS - len(rows))
        rows = rows + page.rows
    return Page(rows, page.older)


def _hours(
    search: CallSearch, workspace_ids: frozenset[Any] | None, until: datetime | None
) -> Iterator[tuple[datetime, int]]:
    """(hour, calls) of the hours that have any, the newest first."""
    asked = search.fields["fallback"]
    named = Q(first_model__gt="") if asked == ANY else Q(first_model=asked)
    sums = in_workspaces(Traffic.objects.filter(named, span="h", **search.having), workspace_ids)
    if until is not None:
        sums = sums.filter(at__lte=until)
    if (since := search.since()) is not None:
        sums = sums.filter(at__gt=since - HOUR)
    yield from sums.order_by("-at").values_list("at").annotate(Sum("calls"))


def _some_at_a_time(hours: Iterator[tuple[datetime, int]], wanted: int) -> Iterator[list[datetime]]:
    """As many hours as hold the calls of a page, if nothing else narrows them."""
    some: list[datetime] = []
    calls = 0
    for hour, count in hours:
        some.append(hour)
        calls += count
        if calls > wanted or len(some) == HOURS_AT_ONCE:
            yield some
            some, calls = [], 0
    if some:
        yield some
