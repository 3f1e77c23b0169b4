"""What calls did in a period, summed up: from the hourly and daily sums where they are there, else from the records.

The rows of whole days and hours are read from Traffic; what is left at the edges, and what is too fresh to be summed
up, from the records themselves. So a figure is of every call, and a month costs what its days cost.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from django.db.models import Count, Max, Min, QuerySet, Sum

from audit.models import CallRecord, RolledUp, Subject, Traffic, TrafficOfUser
from audit.search import in_workspaces

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NAMES = ("workspace_id", "workspace", "key", "model", "provider", "route", "outcome", "code", "cache", "first_model")
AMOUNTS = ("calls", "cost_nanos", "input_tokens", "output_tokens", "cached_tokens", "redacted")
MOST_COUNTED = 20_000  # newest calls whose end users are counted where no daily sums know the answer
_RECORD = ("at", *NAMES[:-1], "cost_nanos", "input_tokens", "output_tokens", "cached_tokens", "redacted")

Times = Counter[int]  # microseconds, rounded -> calls
StartOf = Callable[[datetime], datetime]
encode_times = msgspec.msgpack.Encoder().encode
decode_times = msgspec.msgpack.Decoder(dict[int, int]).decode


class _Model(msgspec.Struct):
    model: str = ""


class _Attempts(msgspec.Struct):
    attempts: list[_Model] = []


_attempts = msgspec.json.Decoder(_Attempts).decode


@dataclass(slots=True)
class Sums:
    """Amounts of some calls. `redacted` counts calls in which something was masked."""

    calls: int = 0
    cost_nanos: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    redacted: int = 0
    times: Times = field(default_factory=Counter)
    first_tokens: Times = field(default_factory=Counter)

    def add(self, calls: int, cost: int, put_in: int, out: int, cached: int, redacted: int) -> None:
        self.calls += calls
        self.cost_nanos += cost
        self.input_tokens += put_in
        self.output_tokens += out
        self.cached_tokens += cached
        self.redacted += redacted


class Wanted(NamedTuple):
    """Which calls: of these workspaces (None: all), with these values in these columns, from `since` to `until`."""

    workspace_ids: frozenset[Any] | None
    since: datetime
    until: datetime
    having: Mapping[str, Any] = {}
    subjects: frozenset[str] | None = None  # of these end users only
    without_routes: str = ""  # but for routes whose names begin so


@dataclass(slots=True)
class Found:
    """`steps` by (start of the step, outcome, cache); `names` by NAMES. Times stand in `steps` only."""

    steps: dict[tuple[datetime, str, str], Sums] = field(default_factory=dict)
    names: dict[tuple[str, ...], Sums] = field(default_factory=dict)

    def rows(self) -> Iterator[tuple[dict[str, str], Sums]]:
        """`names` with the name of each column."""
        for values, sums in self.names.items():
            yield dict(zip(NAMES, values, strict=True)), sums

    def step(self, key: tuple[datetime, str, str]) -> Sums:
        return self.steps.setdefault(key, Sums())

    def name(self, key: tuple[str, ...]) -> Sums:
        return self.names.setdefault(key, Sums())


def rounded(us: int) -> int:
    """The duration to about 1 %, so that many calls share one: three digits, the last one in twos, fives or tens."""
    if us < 200:
        return us
    scale = int(10 ** (len(str(us)) - 3))
    digits = us // scale
    fine = 2 if digits < 200 else 5 if digits < 500 else 10
    return digits // fine * fine * scale


def start_of_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def start_of_day(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def ceiling(moment: datetime, start_of: StartOf, span: timedelta) -> datetime:
    start = start_of(moment)
    return start if start == moment else start + span


# --- Reading ----------------------------------------------------------------------------------------------


def gathered(wanted: Wanted, *, start_of: StartOf, step: timedelta, with_names: bool = True) -> Found:
    """The sums of the wanted calls, in steps. A few queries for each part of the period, whatever is in it."""
    found = Found()
    for source, since, until in parts(wanted, step):
        if source == "records":
            is_last = until == wanted.until
            records = of(CallRecord.objects.all(), wanted).filter(at__gte=since)
            records = records.filter(at__lte=until) if is_last else records.filter(at__lt=until)
            for row in summed_up(records, start_of):
                add_row(found, row, with_names=with_names)
        else:
            sums = of(Traffic.objects.filter(span=source), wanted).filter(at__gte=since, at__lt=until)
            _read(found, sums, start_of, with_names=with_names)
    return found


def parts(wanted: Wanted, step: timedelta) -> Iterator[tuple[str, datetime, datetime]]:
    """(source, since, until): records, hours (h) and days (d) that make up the period."""
    since, until = wanted.since, wanted.until
    rolled = None if wanted.subjects is not None or step < HOUR else RolledUp.objects.first()
    if rolled is None:
        yield "records", since, until
        return
    first = ceiling(since, start_of_hour, HOUR)
    last = max(first, min(start_of_hour(until), rolled.hours))
    if first >= until:
        yield "records", since, until
        return
    if since < first:
        yield "records", since, first
    first_day = ceiling(first, start_of_day, DAY)
    last_day = min(start_of_day(last), rolled.days)
    if step >= DAY and first_day < last_day:
        if first < first_day:
            yield "h", first, first_day
        yield "d", first_day, last_day
        if last_day < last:
            yield "h", last_day, last
    elif first < last:
        yield "h", first, last
    yield "records", last, until


def of(found: QuerySet[Any], wanted: Wanted) -> QuerySet[Any]:
    """Rows of these workspaces, names and end users; the caller says of when."""
    found = in_workspaces(found, wanted.workspace_ids).order_by()
    if wanted.having:
        found = found.filter(**wanted.having)
    if wanted.without_routes:
        found = found.exclude(route__startswith=wanted.without_routes)
    return found if wanted.subjects is None else found.filter(subject__in=sorted(wanted.subjects))


def where_they_are(found: QuerySet[CallRecord], having: Mapping[str, Any]) -> QuerySet[CallRecord]:
    """The same records, looked for only on the days on which there are any, as the daily sums know.

    Without this a name that hardly any call has, or none, is looked for in every record.
    """
    rolled = RolledUp.objects.first() if having else None
    if rolled is None:
        return found
    days = Traffic.objects.filter(span="d", **having).order_by().aggregate(first=Min("at"), last=Max("at"))
    if days["first"] is None:
        return found.filter(at__gte=rolled.days)
    if not found.filter(at__gte=rolled.days).exists():
        found = found.filter(at__lt=days["last"] + DAY)
    return found.filter(at__gte=days["first"])


def _read(found: Found, sums: QuerySet[Traffic], start_of: StartOf, *, with_names: bool) -> None:
    amounts = {f"sum_{name}": Sum(name) for name in AMOUNTS}
    for at, outcome, cache, *values in sums.values_list("at", "outcome", "cache").annotate(**amounts):
        found.step((start_of(at), outcome, cache)).add(*values)
    if not with_names:
        return
    timed = sums.filter(outcome="answered").values_list("at", "cache", "times", "first_tokens")
    for at, cache, times, first_tokens in timed:
        step = found.step((start_of(at), "answered", cache))
        for counted, kept in ((step.times, times), (step.first_tokens, first_tokens)):
            if kept:
                for us, calls in decode_times(kept).items():
                    counted[us] += calls
    for row in sums.values_list(*NAMES).annotate(**amounts):
        found.name(row[: len(NAMES)]).add(*row[len(NAMES) :])


def add_row(found: Found, row: Traffic, *, with_names: bool) -> None:
    amounts = [getattr(row, name) for name in AMOUNTS]
    step = found.step((row.at, row.outcome, row.cache))
    step.add(*amounts)
    if with_names:
        found.name(tuple(getattr(row, name) for name in NAMES)).add(*amounts)
        for counted, kept in ((step.times, row.times), (step.first_tokens, row.first_tokens)):
            if kept:
                counted.update(decode_times(bytes(kept)))


# --- Summing up -------------------------------------------------------------------------------------------


def summed_up(records: QuerySet[CallRecord], start_of: StartOf, *, span: str = "h") -> list[Traffic]:
    """Rows of Traffic, not saved, with the sums of these records in steps that begin at start_of(time)."""
    kinds: dict[tuple[Any, ...], Sums] = {}
    read = records.order_by().values_list(*_RECORD, "total_us", "ttft_us", "rest").iterator(chunk_size=5000)
    for row in read:
        at, *names = row[:10]
        cost, put_in, out, cached, redacted, total_us, ttft_us, rest = row[10:]
        key = (start_of(at), *names, first_model(rest))
        sums = kinds.get(key)
        if sums is None:
            sums = kinds[key] = Sums()
        sums.add(1, cost, put_in, out, cached, redacted > 0)
        if names[6] == "answered":
            sums.times[rounded(total_us)] += 1
            if ttft_us is not None:
                sums.first_tokens[rounded(ttft_us)] += 1
    return [row_of(span, key, sums) for key, sums in kinds.items()]


def row_of(span: str, key: tuple[Any, ...], sums: Sums) -> Traffic:
    at, *names = key
    return Traffic(
        span=span,
        at=at,
        **dict(zip(NAMES, names, strict=True)),
        **{name: int(getattr(sums, name)) for name in AMOUNTS},
        times=encode_times(sums.times) if sums.times else None,
        first_tokens=encode_times(sums.first_tokens) if sums.first_tokens else None,
    )


def first_model(rest: str) -> str:
    """The model that was asked first, where another one was asked last."""
    attempts = _attempts(rest).attempts
    return attempts[0].model if len(attempts) > 1 and attempts[0].model != attempts[-1].model else ""


# --- End users --------------------------------------------------------------------------------------------


def users(wanted: Wanted, *, top: int) -> list[dict[str, Any]]:
    """The dearest end users: workspace_id, subject, user (name or pseudonym), calls, cost.

    Where the calls are narrowed by more than their workspace, among the newest MOST_COUNTED calls.
    """
    totals: dict[tuple[str, str], list[int]] = {}
    for workspace_id, subject, calls, cost in _user_sums(wanted):
        known = totals.setdefault((workspace_id, subject), [0, 0])
        known[0] += calls
        known[1] += cost
    ranked = sorted(totals.items(), key=lambda item: (-item[1][1], -item[1][0], item[0]))[:top]
    tokens = [subject for (_, subject), _ in ranked]
    known_as = {
        (workspace_id, token): name
        for workspace_id, token, name in Subject.objects.filter(token__in=tokens).values_list(
            "workspace_id", "token", "name"
        )
        if name
    }
    return [
        {"workspace_id": id_, "subject": token, "user": known_as.get((id_, token), token), "calls": calls, "cost": cost}
        for (id_, token), (calls, cost) in ranked
    ]


def _user_sums(wanted: Wanted) -> Iterable[tuple[str, str, int, int]]:
    records = of(CallRecord.objects.filter(subject__isnull=False), wanted)
    within = records.filter(at__gte=wanted.since, at__lte=wanted.until)
    if wanted.subjects is None and set(wanted.having) - {"workspace"}:
        for workspace_id, subject, cost in within.order_by("-at").values_list("workspace_id", "subject", "cost_nanos")[
            :MOST_COUNTED
        ]:
            yield workspace_id, subject or "", 1, cost
        return
    rolled = None if wanted.subjects is not None else RolledUp.objects.first()
    first = ceiling(wanted.since, start_of_day, DAY)
    last = first if rolled is None else max(first, min(start_of_day(wanted.until), rolled.days))
    if first < last:
        days = of(TrafficOfUser.objects.all(), wanted).filter(at__gte=first, at__lt=last)
        yield from days.values_list("workspace_id", "subject").annotate(Sum("calls"), Sum("cost_nanos"))
    # Each with one bound on each side: SQLite seeks by the first that it is given.
    edges = (records.filter(at__gte=wanted.since, at__lt=first), records.filter(at__gte=last, at__lte=wanted.until))
    for edge in edges if first < last else (within,):
        yield from edge.values_list("workspace_id", "subject").annotate(Count("pk"), Sum("cost_nanos"))
