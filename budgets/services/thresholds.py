"""Noticing that a budget crossed one of its thresholds: once, whoever books."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date

from django.db import connection
from django.utils import timezone

from budgets.models import Alert, Budget
from budgets.periods import midnight, period, utc
from budgets.queries import running_raises, spent_by_subject
from budgets.services.news import tell_after_commit
from tenants.models import ApiKey, Team

LOCK = 0x7467  # the advisory locks of this module, by workspace

Key = tuple[str, str, date, str]  # workspace, of, day, subject


def note_crossed(changed: Iterable[Key]) -> list[Alert]:
    """Write an alert for each threshold that the totals have passed. In the transaction that raised them.

    Two writers can't both miss a crossing: the second one waits here until the first one has committed its totals, also
    those of another day of the same month, and sees them.
    """
    touched: dict[tuple[str, str], dict[date, set[str]]] = defaultdict(lambda: defaultdict(set))
    for workspace_id, of, day, subject in changed:
        touched[(workspace_id, of)][day].add(subject)
    workspaces = {int(workspace_id) for workspace_id, _ in touched if workspace_id.isdigit()}
    take_turns(workspaces)
    crossed = []
    for budget in Budget.objects.filter(workspace_id__in=workspaces).exclude(of="call").select_related("workspace"):
        for day, subjects in touched[(str(budget.workspace_id), budget.of)].items():
            about = matching(budget, subjects)
            if about and budget.alert_at:
                crossed += crossings(budget, day, about)
    new = untold(crossed)
    if new:
        tell_after_commit()
    return Alert.objects.bulk_create(new, ignore_conflicts=True) if new else []


def take_turns(workspaces: Iterable[int]) -> None:
    """Let one writer at a time look at a workspace's sums, until it commits. SQLite has one writer anyway."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        for workspace in sorted(workspaces):  # the same order for all, and after all rows: nobody waits in a circle
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK, workspace])


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


def matching(budget: Budget, subjects: set[str]) -> set[str]:
    """The subjects that this budget is about, among those that were touched."""
    if not budget.match or budget.of == "workspace":
        return subjects
    return subjects & {subject_named(budget)}


def subject_named(budget: Budget) -> str:
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


def crossings(budget: Budget, day: date, subjects: set[str]) -> list[Alert]:
    """An alert for each threshold at or below what each subject spent in the period of that day."""
    zone = budget.workspace.timezone
    span = period(zone, budget.per, midnight(zone, day))
    in_dollars = budget.limit_nanos is not None
    found = []
    spent = spent_by_subject(budget.workspace, budget.of, span, subjects=subjects)
    raised = running_raises(budget.workspace, at=timezone.now(), budget=budget)
    for subject, sums in spent.items():
        limit = budget.limit + raised.get((budget.pk, subject), 0)
        amount = sums.nanos if in_dollars else sums.tokens
        found += [
            Alert(
                budget=budget,
                subject=subject,
                period_start=utc(span.start),
                threshold=threshold,
                spent=amount,
                limit=limit,
            )
            for threshold in budget.alert_at
            if amount * 100 >= limit * threshold
        ]
    return found
