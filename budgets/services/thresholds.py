"""Noticing that a budget crossed one of its thresholds: once, whoever books.

This runs with every batch of records, several times a second, and hardly ever finds anything. So the looking is one
statement for the budgets and one for the sums, without the ORM, which would cost ten times the rest of the batch; only
for what was found is more asked.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from functools import lru_cache
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from django.db import connection
from django.utils import timezone

from budgets.models import Alert, Budget
from budgets.periods import FOREVER, midnight, period, utc
from budgets.queries import running_raises
from budgets.services.news import tell_after_commit
from tenants.models import ApiKey, Team, Workspace

LOCK = 0x7467  # the advisory locks of this module, by workspace
SUBJECTS_AT_ONCE = 150  # SQLite may have been made to take 999 values in a statement
LOOKS_AT_ONCE = 5

Key = tuple[str, str, date, str]  # workspace, of, day, subject


class Watched(NamedTuple):
    """What noticing needs of a budget. `limit` is without what was granted for a time."""

    pk: int
    workspace_id: int
    of: str
    match: str
    per: str
    in_dollars: bool
    limit: int
    alert_at: tuple[int, ...]
    zone: str


class Span(NamedTuple):
    """A period: the epoch second of its beginning, and its local days from `first` until before `after`."""

    start: int
    first: date
    after: date


class Look(NamedTuple):
    """Whose sums to look at: of one kind of subject in one period."""

    workspace_id: int
    of: str
    span: Span


def note_crossed(changed: Iterable[Key]) -> list[Alert]:
    """Write an alert for each threshold that the totals have passed. In the transaction that raised them.

    Two writers can't both miss a crossing: the second one waits here until the first one has committed its totals, also
    those of another day of the same month, and sees them.
    """
    touched: dict[tuple[str, str], dict[date, set[str]]] = defaultdict(lambda: defaultdict(set))
    for workspace_id, of, day, subject in changed:
        touched[(workspace_id, of)][day].add(subject)
    workspaces = sorted({int(workspace_id) for workspace_id, _ in touched if workspace_id.isdigit()})
    looks: dict[Look, set[str]] = defaultdict(set)
    asked: list[tuple[Watched, Look]] = []
    for budget in watched_in(workspaces):
        for day, subjects in touched[(str(budget.workspace_id), budget.of)].items():
            look = Look(budget.workspace_id, budget.of, span_of(budget.zone, budget.per, day))
            looks[look] |= subjects
            asked.append((budget, look))
    if not asked:
        return []
    take_turns(workspaces)
    new = beyond_what_was_granted(untold(reached(dict.fromkeys(asked), spent_in(looks))))
    if new:
        tell_after_commit()
    return Alert.objects.bulk_create(new, ignore_conflicts=True) if new else []


def watched_in(workspaces: list[int]) -> list[Watched]:
    """The budgets of these workspaces that have thresholds and a period."""
    if not workspaces:
        return []
    holes = ", ".join(["%s"] * len(workspaces))
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT b.id, b.workspace_id, b.of, b."match", b.per, b.limit_nanos, b.limit_tokens, b.alert_at, w.timezone '  # noqa: S608
            "FROM budgets_budget b JOIN tenants_workspace w ON w.id = b.workspace_id "
            f"WHERE b.workspace_id IN ({holes}) AND b.of <> 'call'",
            workspaces,
        )
        rows = cursor.fetchall()
    found = []
    for pk, workspace_id, of, match, per, nanos, tokens, alert_at, zone in rows:
        if thresholds := msgspec.json.decode(alert_at, type=tuple[int, ...]):
            limit = nanos if nanos is not None else tokens
            found.append(Watched(pk, workspace_id, of, match, per, nanos is not None, limit, thresholds, zone))
    return found


@lru_cache(maxsize=256)
def span_of(zone: str, per: str, day: date) -> Span:
    """The period that holds a local day."""
    start, end = period(zone, per, midnight(zone, day))
    if end == FOREVER:
        return Span(start, date.min, date.max)
    local = ZoneInfo(zone)
    return Span(start, datetime.fromtimestamp(start, local).date(), datetime.fromtimestamp(end, local).date())


def take_turns(workspaces: list[int]) -> None:
    """Let one writer at a time look at a workspace's sums, until it commits. SQLite has one writer anyway."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        for workspace in workspaces:  # the same order for all, and after all rows: nobody waits in a circle
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK, workspace])


def spent_in(looks: Mapping[Look, set[str]]) -> dict[tuple[Look, str], tuple[int, int]]:
    """(nano-dollars, tokens) of each subject that is looked at."""
    order = list(looks)
    found: dict[tuple[Look, str], tuple[int, int]] = {}
    parts = [(place, part) for place, look in enumerate(order) for part in parted(looks[look])]
    with connection.cursor() as cursor:
        for start in range(0, len(parts), LOOKS_AT_ONCE):
            selects: list[str] = []
            values: list[str | date] = []
            for place, subjects in parts[start : start + LOOKS_AT_ONCE]:
                workspace_id, of, span = order[place]
                selects.append(
                    f"SELECT {place}, subject, SUM(nanos), SUM(tokens) FROM budgets_total WHERE workspace_id = %s "  # noqa: S608
                    f"AND of = %s AND day >= %s AND day < %s AND subject IN ({', '.join(['%s'] * len(subjects))}) "
                    "GROUP BY subject"
                )
                values += [str(workspace_id), of, span.first, span.after, *subjects]
            cursor.execute(" UNION ALL ".join(selects), values)
            for place, subject, nanos, tokens in cursor.fetchall():
                found[(order[place], subject)] = (int(nanos), int(tokens))
    return found


def parted(subjects: set[str]) -> Iterator[list[str]]:
    rest = iter(sorted(subjects))
    while part := list(islice(rest, SUBJECTS_AT_ONCE)):
        yield part


def reached(asked: Iterable[tuple[Watched, Look]], spent: Mapping[tuple[Look, str], tuple[int, int]]) -> list[Alert]:
    """An alert for each threshold at or below what a subject spent that the budget is about."""
    by_look: dict[Look, list[tuple[str, int, int]]] = defaultdict(list)
    for (look, subject), sums in spent.items():
        by_look[look].append((subject, *sums))
    found = []
    for budget, look in asked:
        lowest = budget.limit * min(budget.alert_at)
        amounts = {each[0]: each[1] if budget.in_dollars else each[2] for each in by_look[look]}
        full = {subject for subject, amount in amounts.items() if amount * 100 >= lowest}
        for subject in sorted(matching(budget, full) if full else ()):
            found += [
                Alert(
                    budget_id=budget.pk,
                    subject=subject,
                    period_start=utc(look.span.start),
                    threshold=threshold,
                    spent=amounts[subject],
                    limit=budget.limit,
                )
                for threshold in budget.alert_at
                if amounts[subject] * 100 >= budget.limit * threshold
            ]
    return found


def untold(crossed: list[Alert]) -> list[Alert]:
    """Those of these alerts that are not there yet."""
    if not crossed:
        return []
    budgets, periods = {alert.budget_id for alert in crossed}, {alert.period_start for alert in crossed}
    there = set(
        Alert.objects.filter(budget__in=budgets, period_start__in=periods)
        .filter(subject__in={alert.subject for alert in crossed})
        .values_list("budget", "subject", "period_start", "threshold")
    )
    keys = ((each.budget_id, each.subject, each.period_start, each.threshold) for each in crossed)
    return [alert for alert, key in zip(crossed, keys, strict=True) if key not in there]


def beyond_what_was_granted(alerts: list[Alert]) -> list[Alert]:
    """Those that are reached also with what was granted beyond the limit; their limit says so then."""
    if not alerts:
        return []
    kept = []
    workspaces = dict(Budget.objects.filter(pk__in={each.budget_id for each in alerts}).values_list("pk", "workspace"))
    raised: dict[tuple[int, str], int] = {}
    for pk in set(workspaces.values()):
        raised |= running_raises(Workspace(pk=pk), at=timezone.now())
    for alert in alerts:
        alert.limit += raised.get((alert.budget_id, alert.subject), 0)
        if alert.spent * 100 >= alert.limit * alert.threshold:
            kept.append(alert)
    return kept


def matching(budget: Watched, subjects: set[str]) -> set[str]:
    """The subjects that this budget is about, among those that spent enough."""
    if not budget.match or budget.of == "workspace":
        return subjects
    return subjects & {subject_named(budget)}


def subject_named(budget: Budget | Watched) -> str:
    """The subject in the ledger that a budget's `match` names: teams and keys stand there by their ids."""
    named: type[Team] | type[ApiKey]
    match budget.of:
        case "team":
            named = Team
        case "key":
            named = ApiKey
        case _:
            return budget.match
    row = named._default_manager.filter(workspace_id=budget.workspace_id, name=budget.match).first()
    return str(row.pk) if row is not None else ""
