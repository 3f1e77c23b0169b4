"""The dashboards' figures: what a search's calls did over time, and by whom. Of every call, summed up where it can be."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from audit.traffic import Found, Sums, Times, Wanted, gathered, users
from gateway.admin.figures import Period, errors, percentile, ranked

TOP = 8
MOST_DAYS = 366
STEPS = (  # how finely a period is shown: the first whose length is not exceeded
    (timedelta(hours=2), timedelta(minutes=2), "%H:%M"),
    (timedelta(hours=26), timedelta(hours=1), "%H:%M"),
    (timedelta(days=8), timedelta(hours=6), "%a %H:%M"),
    (timedelta(days=MOST_DAYS), timedelta(days=1), "%d %b"),
)
BY = {
    "model": ("model",),
    "key": ("workspace", "key"),
    "workspace": ("workspace",),
}


@dataclass(slots=True)
class Step:
    """What happened in one step of the period. Costs in nano-dollars, times in microseconds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    caches: Counter[str] = field(default_factory=Counter)
    cost_nanos: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    times: Times = field(default_factory=Counter)
    first_tokens: Times = field(default_factory=Counter)

    @property
    def calls(self) -> int:
        return self.outcomes.total()

    @property
    def hits(self) -> int:
        return sum(count for cache, count in self.caches.items() if cache.startswith("hit"))

    def add(self, other: "Step") -> None:
        """Count what another step counted, too."""
        self.outcomes += other.outcomes
        self.caches += other.caches
        self.cost_nanos += other.cost_nanos
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cached_tokens += other.cached_tokens
        self.times.update(other.times)
        self.first_tokens.update(other.first_tokens)

    def take(self, outcome: str, cache: str, sums: Sums) -> None:
        """Count what is summed up already."""
        self.outcomes[outcome] += sums.calls
        self.caches[cache] += sums.calls
        self.cost_nanos += sums.cost_nanos
        self.input_tokens += sums.input_tokens
        self.output_tokens += sums.output_tokens
        self.cached_tokens += sums.cached_tokens
        self.times.update(sums.times)
        self.first_tokens.update(sums.first_tokens)


@dataclass(frozen=True, slots=True)
class Breakdown:
    """All that the page shows. `fallbacks` counts the commonest of (asked first, answered by), `fell_back` all of them,
    among the `opened` calls, which are all but the refused ones."""

    moments: Sequence[datetime]  # when each step begins
    step: timedelta
    labels: Sequence[str]
    steps: Sequence[Step]
    total: Step
    errors: Sequence[dict[str, Any]]
    fallbacks: Sequence[tuple[tuple[str, str], int]]
    fell_back: int
    opened: int
    by: dict[str, Sequence[dict[str, Any]]]


def shown_as(since: datetime, until: datetime) -> Period:
    """How finely the time from `since` to `until` is shown."""
    length = until - since
    for most, step, label in STEPS:
        if length <= most:
            return Period("", "", length, step, label)
    return Period("", "", length, STEPS[-1][1], STEPS[-1][2])


def breakdown(wanted: Wanted) -> Breakdown:
    """The figures of these calls. A few queries for each source that the period is read from."""
    period = shown_as(wanted.since, wanted.until)
    found = gathered(wanted, start_of=period.start_of, step=period.step)
    steps = _steps(found, period, wanted)
    total = Step()
    for step in steps.values():
        total.add(step)
    names = {row["workspace_id"]: row["workspace"] for row, _ in found.rows()}
    people = [row | {"workspace": names.get(row["workspace_id"], "")} for row in users(wanted, top=TOP)]
    stood_in = fallbacks(found)
    return Breakdown(
        moments=list(steps),
        step=period.step,
        labels=[moment.strftime(period.label) for moment in steps],
        steps=list(steps.values()),
        total=total,
        errors=errors(found, TOP),
        fallbacks=stood_in.most_common(TOP),
        fell_back=stood_in.total(),
        opened=total.calls - total.outcomes["refused"],
        by={name: ranked(found, columns, TOP) for name, columns in BY.items()} | {"user": people},
    )


def percentiles(values: Times) -> tuple[int | None, int | None, int | None]:
    """p50, p95 and p99."""
    return percentile(values, 50), percentile(values, 95), percentile(values, 99)


def _steps(found: Found, period: Period, wanted: Wanted) -> dict[datetime, Step]:
    """Every step of the period in order, also those in which nothing happened."""
    steps: dict[datetime, Step] = {}
    moment = period.start_of(wanted.since)
    while moment <= wanted.until:
        steps[moment] = Step()
        moment += period.step
    for (start, outcome, cache), sums in found.steps.items():
        if (step := steps.get(start)) is not None:
            step.take(outcome, cache, sums)
    return steps


def fallbacks(found: Found) -> Counter[tuple[str, str]]:
    """Which model stood in for which."""
    counted: Counter[tuple[str, str]] = Counter()
    for row, sums in found.rows():
        if row["first_model"]:
            counted[row["first_model"], row["model"]] += sums.calls
    return counted
