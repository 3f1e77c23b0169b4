"""When a budget will run out if its subject goes on spending as it does today."""

from datetime import UTC, datetime
from time import time

from budgets.models import Budget
from budgets.periods import FOREVER, Period, period, utc
from budgets.queries import NOTHING, running_raises, spent_by_subject

LEAST_SECONDS = 3600.0  # a rate is not told from less than an hour of the day


def runs_out(*, spent: int, limit: int, today: int, day: Period, span: Period, at: float) -> datetime | None:
    """The instant at which `limit` is reached, None when the period ends first or nothing was spent today.

    spent, limit, today   in one unit, nano-dollars or tokens; `today` is what was spent since local midnight
    day, span             the local day and the budget's period, UTC epoch seconds
    at                    now, UTC epoch seconds; it is the answer where the limit is reached already
    """
    if spent >= limit:
        return datetime.fromtimestamp(int(at), UTC)
    if today <= 0:
        return None
    seconds = (limit - spent) * max(at - day.start, LEAST_SECONDS) / today
    if at + seconds >= min(span.end, FOREVER):
        return None
    return datetime.fromtimestamp(int(at + seconds), UTC)


def runs_out_at(budget: Budget, subject: str, spent: int, *, at: float | None = None) -> datetime | None:
    """When this subject's budget runs out at today's rate, given what it spent of it in the period of `at`."""
    at = time() if at is None else at
    zone = budget.workspace.timezone
    day = period(zone, "day", at)
    sums = spent_by_subject(budget.workspace, budget.of, day, subjects=[subject]).get(subject, NOTHING)
    in_dollars = budget.limit_nanos is not None
    return runs_out(
        spent=spent,
        limit=budget.limit
        + running_raises(budget.workspace, at=utc(int(at)), budget=budget).get((budget.pk, subject), 0),
        today=sums.nanos if in_dollars else sums.tokens,
        day=day,
        span=period(zone, budget.per, at),
        at=at,
    )
