"""The home page's figures. Of every call, summed up where it can be; within one period and its workspaces."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from audit.models import CallRecord
from audit.search import in_workspaces
from audit.traffic import Found, Sums, Times, Wanted, gathered
from gateway.routing.shadow import PREFIX

TOP = 6


@dataclass(frozen=True, slots=True)
class Period:
    """How far back the page looks, and how finely."""

    name: str
    title: str
    length: timedelta
    step: timedelta
    label: str  # strftime

    @property
    def buckets(self) -> int:
        return self.length // self.step

    def start_of(self, moment: datetime) -> datetime:
        """The beginning of the bucket that holds this moment; buckets are counted from midnight, UTC."""
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + (moment - midnight) // self.step * self.step


PERIODS = (
    Period("1h", "Hour", timedelta(hours=1), timedelta(minutes=1), "%H:%M"),
    Period("24h", "Day", timedelta(hours=24), timedelta(hours=1), "%H:%M"),
    Period("7d", "Week", timedelta(days=7), timedelta(hours=6), "%a %H:%M"),
    Period("30d", "Month", timedelta(days=30), timedelta(days=1), "%d %b"),
)


@dataclass(slots=True)
class Bucket:
    """What happened in one step of the period. Costs in nano-dollars, durations in microseconds."""

    answered: int = 0
    refused: int = 0
    failed: int = 0
    left: int = 0
    cost_nanos: int = 0
    tokens: int = 0
    durations: Times = field(default_factory=Counter)

    @property
    def calls(self) -> int:
        return self.answered + self.refused + self.failed + self.left


@dataclass(frozen=True, slots=True)
class Totals:
    """A whole period. `cached` counts answers from the cache, `redacted` calls in which something was masked."""

    calls: int = 0
    answered: int = 0
    failed: int = 0
    refused: int = 0
    cached: int = 0
    redacted: int = 0
    cost_nanos: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """All that the page shows of calls."""

    now: Totals
    before: Totals
    moments: Sequence[datetime]  # when each bucket begins, and when the last one ends
    labels: Sequence[str]
    buckets: Sequence[Bucket]
    p50_us: int | None
    p95_us: int | None
    ttft_p50_us: int | None
    models: Sequence[dict[str, Any]]
    keys: Sequence[dict[str, Any]]
    errors: Sequence[dict[str, Any]]
    newest: Sequence[CallRecord]


def figures(*, workspace_ids: Iterable[Any] | None, period: Period, until: datetime) -> Figures:
    """The figures of the period that ends now. `workspace_ids` of None means all workspaces.

    Of real calls: copies that went to a shadow are nobody's traffic and nobody's spending.
    """
    first = period.start_of(until) - (period.buckets - 1) * period.step
    ids = None if workspace_ids is None else frozenset(workspace_ids)
    found = gathered(Wanted(ids, first, until, without_routes=PREFIX), start_of=period.start_of, step=period.step)
    earlier = Wanted(ids, first - period.length, first - timedelta(microseconds=1), without_routes=PREFIX)
    before = gathered(earlier, start_of=period.start_of, step=period.step, with_names=False)
    buckets = _buckets(found, period, first)
    first_tokens: Times = Counter()
    durations: Times = Counter()
    for sums in found.steps.values():
        first_tokens.update(sums.first_tokens)
        durations.update(sums.times)
    return Figures(
        now=_totals(found),
        before=_totals(before),
        moments=[*buckets, first + period.buckets * period.step],
        labels=[moment.strftime(period.label) for moment in buckets],
        buckets=list(buckets.values()),
        p50_us=percentile(durations, 50),
        p95_us=percentile(durations, 95),
        ttft_p50_us=percentile(first_tokens, 50),
        models=ranked(found, ("model",), TOP),
        keys=ranked(found, ("workspace", "key"), TOP),
        errors=errors(found, TOP),
        newest=list(
            in_workspaces(CallRecord.objects.exclude(route__startswith=PREFIX), ids)
            .order_by("-at", "-id")
            .defer("rest")[:8]
        ),
    )


def percentile(values: Times | Sequence[int], percent: int) -> int | None:
    """The nearest-rank percentile: the smallest value that at least `percent` per cent do not exceed. None of none."""
    counted = values if isinstance(values, Counter) else Counter(values)
    rank = -(-counted.total() * percent // 100)
    for value in sorted(counted):
        rank -= counted[value]
        if rank <= 0:
            return value
    return None


def _buckets(found: Found, period: Period, first: datetime) -> dict[datetime, Bucket]:
    """Every step of the period in order, also those in which nothing happened."""
    buckets = {first + number * period.step: Bucket() for number in range(period.buckets)}
    for (start, outcome, _), sums in found.steps.items():
        bucket = buckets.get(start)
        if bucket is None:
            continue
        bucket.cost_nanos += sums.cost_nanos
        bucket.tokens += sums.input_tokens + sums.output_tokens
        bucket.durations.update(sums.times)
        match outcome:
            case "answered":
                bucket.answered += sums.calls
            case "refused":
                bucket.refused += sums.calls
            case "client_left":
                bucket.left += sums.calls
            case _:
                bucket.failed += sums.calls
    return buckets


def _totals(found: Found) -> Totals:
    total, counted = Sums(), Counter[str]()
    for (_, outcome, cache), sums in found.steps.items():
        counted[outcome] += sums.calls
        counted["cached"] += sums.calls if cache.startswith("hit") else 0
        total.calls += sums.calls
        total.cost_nanos += sums.cost_nanos
        total.input_tokens += sums.input_tokens
        total.output_tokens += sums.output_tokens
        total.redacted += sums.redacted
    return Totals(
        calls=total.calls,
        answered=counted["answered"],
        failed=counted["failed"] + counted["in_doubt"],
        refused=counted["refused"],
        cached=counted["cached"],
        redacted=total.redacted,
        cost_nanos=total.cost_nanos,
        input_tokens=total.input_tokens,
        output_tokens=total.output_tokens,
    )


def ranked(found: Found, columns: Sequence[str], top: int) -> list[dict[str, Any]]:
    """The dearest first; where nothing costs, the busiest. What has no name is left out."""
    totals: dict[tuple[str, ...], list[int]] = {}
    for row, sums in found.rows():
        if row[columns[-1]]:
            known = totals.setdefault(tuple(row[column] for column in columns), [0, 0])
            known[0] += sums.calls
            known[1] += sums.cost_nanos
    dearest = sorted(totals.items(), key=lambda item: (-item[1][1], -item[1][0], item[0]))[:top]
    return [dict(zip(columns, names, strict=True)) | {"calls": calls, "cost": cost} for names, (calls, cost) in dearest]


def errors(found: Found, top: int) -> list[dict[str, Any]]:
    """The codes that calls ended with, the commonest first."""
    counted: Counter[str] = Counter()
    for row, sums in found.rows():
        if row["code"]:
            counted[row["code"]] += sums.calls
    commonest = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:top]
    return [{"code": code, "calls": calls} for code, calls in commonest]
