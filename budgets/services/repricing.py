"""Pricing calls of a time anew, after their price was corrected: new ledger lines of the differences, never edits.

Each attempt is priced by the tokens that its line names and by the price that holds now for its instant. What differs
from the sum of its lines is booked as one more line. Done again, nothing is left to book; broken off, the next run
books the rest. Serving processes see a finished repricing and bring their counters down by it (budgets/running.py); up,
they follow the ledger by themselves.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils import timezone

from budgets.models import Entry, Repricing
from budgets.pricing import Price
from budgets.services.spending import CORRECTIONS, book
from gateway.core.call import Usage
from tenants.models import Workspace

AT_ONCE = 2000
COUNTS = frozenset(Usage.__struct_fields__)
Prices = Mapping[str, tuple[tuple[float, Price], ...]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls to price anew: of one workspace, from `since` until before `until`, of one model or ("") of all."""

    workspace: Workspace
    since: datetime
    until: datetime
    model: str = ""


@dataclass(slots=True)
class Outcome:
    """Lines booked (or to book), their sum, and attempts that were left alone: of models without a price of their own,
    and of attempts whose tokens nobody knows (in doubt they stay charged in full)."""

    lines: int = 0
    nanos: int = 0
    unpriced: int = 0
    unknown: int = 0


def reprice(*, wanted: Wanted, prices: Prices, reason: str, by: str) -> Outcome:
    """Book the differences. `prices` as compiler.price_lists gives them. Raises ValidationError."""
    check(wanted)
    if not reason.strip():
        raise ValidationError("Say why: it stands in the trail.")
    row = Repricing(workspace=wanted.workspace, model=wanted.model, since=wanted.since, until=wanted.until)
    row.reason, row.by = reason.strip()[:300], by[:200]
    row.full_clean()
    row.save()
    outcome = Outcome()
    for lines in chunks(differences(wanted, prices, outcome), AT_ONCE):
        book([line | {"attempt": f"{line['attempt']}~{row.pk}"} for line in lines])
    row.lines, row.nanos, row.finished_at = outcome.lines, outcome.nanos, timezone.now()
    row.save()
    return outcome


def foresee(wanted: Wanted, prices: Prices) -> Outcome:
    """What `reprice` would do now. Raises ValidationError."""
    check(wanted)
    outcome = Outcome()
    for _ in differences(wanted, prices, outcome):
        continue
    return outcome


def check(wanted: Wanted) -> None:
    if not wanted.since < wanted.until:
        raise ValidationError("The time begins after it ends.")


def differences(wanted: Wanted, prices: Prices, outcome: Outcome) -> Iterator[dict[str, Any]]:
    """A line for each attempt whose lines add up to something else than its price now; counts into `outcome`."""
    for lines in attempts(entries(wanted)):
        base, known = lines[0], next((line for line in reversed(lines) if line.classes), None)
        price = price_at(prices, base.model, base.at.timestamp())
        if base.status in CORRECTIONS or base.status == Entry.Status.ASSUMED_ZERO:
            continue
        if price is None:
            outcome.unpriced += 1
            continue
        in_doubt = base.status == Entry.Status.IN_DOUBT and not any("+" in line.attempt for line in lines)
        if known is None or in_doubt:
            outcome.unknown += 1
            continue
        usage = Usage(**{name: value for name, value in known.classes.items() if name in COUNTS})
        nanos = price.cost(usage) - sum(line.nanos for line in lines)
        if nanos:
            outcome.lines += 1
            outcome.nanos += nanos
            yield line_of(base, nanos, price.version)


def line_of(base: Entry, nanos: int, version: str) -> dict[str, Any]:
    """The line of one difference."""
    return {
        "attempt": base.attempt,
        "at": base.at.timestamp(),
        "workspace": base.workspace_id,
        "team": base.team_id,
        "key": base.key_id,
        "user": base.user,
        "model": base.model,
        "provider": base.provider,
        "nanos": nanos,
        "tokens": 0,
        "status": Entry.Status.REPRICED.value,
        "price": version,
        "classes": {},
    }


def entries(wanted: Wanted) -> QuerySet[Entry]:
    lines = Entry.objects.filter(workspace_id=str(wanted.workspace.pk), at__gte=wanted.since, at__lt=wanted.until)
    return lines.filter(model=wanted.model) if wanted.model else lines


def attempts(lines: QuerySet[Entry]) -> Iterator[list[Entry]]:
    """The lines of each attempt together, the first one first. All lines of an attempt are of one instant."""
    newest = Entry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    after: datetime | None = None
    while True:
        rest = lines.filter(pk__lte=newest)
        page = list((rest.filter(at__gt=after) if after is not None else rest).order_by("at", "pk")[:AT_ONCE])
        if not page:
            return
        last = page[-1].at
        page += lines.filter(pk__lte=newest, at=last).exclude(pk__in=[line.pk for line in page if line.at == last])
        found: dict[str, list[Entry]] = {}
        for line in page:
            found.setdefault(line.attempt.partition("~")[0].partition("+")[0], []).append(line)
        yield from found.values()
        after = last


def price_at(prices: Prices, model: str, at: float) -> Price | None:
    return next((price for valid_from, price in prices.get(model, ()) if valid_from <= at), None)


def chunks(lines: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """So many lines at a time, each time in a transaction of its own: calls are booked in between."""
    held: list[dict[str, Any]] = []
    for line in lines:
        held.append(line)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held
