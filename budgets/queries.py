"""Reads of this app's rows that more than one door needs."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Q, QuerySet, Sum

from budgets.models import Budget, Entry, Raise, Repricing, Total
from budgets.periods import TOTAL, Period, bucket, period, utc
from budgets.plan import SHADOW
from tenants.models import Workspace


class Sums(NamedTuple):
    """What was spent, and how much of it is in doubt."""

    nanos: int
    tokens: int
    doubt_nanos: int
    doubt_tokens: int


Subjects = dict[tuple[str, str], set[str]]  # (workspace, of) -> those who spent

SCOPES = ("workspace", "team", "key", "user", "model", "provider")
SUBJECTS_MOST = 500  # SQLite may have been made to take 999 values in a statement; beyond it all are read
SHADOWS = (SHADOW, "user", "day")  # the one dimension that shadows' budgets count in
NOTHING = Sums(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Span:
    """One budget's dimension in its current period."""

    of: str
    per: str
    period: Period


def spent_by_subject(
    workspace: Workspace, of: str, span: Period, *, subjects: Collection[str] | None = None
) -> dict[str, Sums]:
    """What each subject of a kind spent in a period, from the daily totals."""
    rows = Total.objects.filter(workspace_id=str(workspace.pk), of=of)
    if span != TOTAL:
        zone = ZoneInfo(workspace.timezone)
        rows = rows.filter(
            day__gte=datetime.fromtimestamp(span.start, zone).date(),
            day__lt=datetime.fromtimestamp(span.end, zone).date(),
        )
    if subjects is not None:
        rows = rows.filter(subject__in=subjects)
    found = (
        rows.order_by()
        .values_list("subject")
        .annotate(Sum("nanos"), Sum("tokens"), Sum("doubt_nanos"), Sum("doubt_tokens"))
    )
    return {subject: Sums(*sums) for subject, *sums in found}


def spent_by_budgets(
    workspaces: Iterable[Workspace], at: float, *, per: str = "", only: Budget | None = None
) -> dict[tuple[int, str, str], dict[str, Sums]]:
    """(workspace's id, of, per) → what each subject spent in the period of `at`, for all that these budgets count in.

    One query for each length of a period, however many workspaces and budgets there are; `per` asks of another length
    than the budgets' own, `only` of one budget.
    """
    wanted: dict[str, dict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    for workspace in workspaces:
        budgets = workspace.budgets.all() if only is None else [only]
        for of, length in sorted({(each.of, per or each.per) for each in budgets if each.of != Budget.Of.CALL}):
            wanted[length][(workspace.timezone, of)].append(workspace.pk)
    found: dict[tuple[int, str, str], dict[str, Sums]] = defaultdict(dict)
    for length, places in wanted.items():
        conditions = Q()
        for (zone, of), pks in places.items():
            conditions |= Q(workspace_id__in=[str(pk) for pk in pks], of=of, **days_of(zone, length, at))
        rows = Total.objects.filter(conditions).order_by().values_list("workspace_id", "of", "subject")
        for pk, of, subject, *sums in rows.annotate(*(Sum(name) for name in Sums._fields)):
            found[(int(pk), of, length)][subject] = Sums(*sums)
    return found


def days_of(zone: str, per: str, at: float) -> dict[str, date]:
    """Which days' totals belong to the period of `at`, as conditions of a query."""
    span = period(zone, per, at)
    if span == TOTAL:
        return {}
    local = ZoneInfo(zone)
    first, after = (datetime.fromtimestamp(end, local).date() for end in span)
    return {"day__gte": first, "day__lt": after}


def running_raises(*workspaces: Workspace, at: datetime, budget: Budget | None = None) -> dict[tuple[int, str], int]:
    """What is granted beyond the limits of these workspaces just now, by (budget's id, subject)."""
    rows = Raise.objects.filter(workspace__in=workspaces, state=Raise.State.GRANTED, starts_at__lte=at, ends_at__gt=at)
    if budget is not None:
        rows = rows.filter(budget=budget)
    found = rows.order_by().values_list("budget", "subject").annotate(Sum("amount"))
    return {(pk, subject): amount for pk, subject, amount in found}


def spans(workspace: Workspace, budgets: Iterable[Budget], at: float) -> set[Span]:
    """The dimensions that a workspace's budgets count in, each once."""
    return {Span(each.of, each.per, period(workspace.timezone, each.per, at)) for each in budgets if each.of != "call"}


def opening_sums(
    at: float, *, opened: set[tuple[str, str, str]] | None = None, only: Subjects | None = None
) -> dict[str, tuple[int, int]]:
    """(spent, in doubt) by bucket, for every budget's current period: what the counters begin with.

    With `opened`, only for dimensions (workspace, of, per) that are not in it; they are put into it. With `only`, for
    these subjects, and perhaps others of their kind.
    """
    found: dict[str, tuple[int, int]] = {}
    workspaces = Workspace.objects.prefetch_related("budgets")
    if only is not None:
        workspaces = workspaces.filter(pk__in={int(name) for name, _ in only if name.isdigit()})
    for workspace in workspaces:
        for span in spans(workspace, workspace.budgets.all(), at):
            dimension = (str(workspace.pk), span.of, span.per)
            if opened is not None and dimension in opened:
                continue
            subjects = None if only is None else only.get(dimension[:2], set())
            if subjects is not None and len(subjects) > SUBJECTS_MOST:
                subjects = None
            for subject, sums in spent_by_subject(workspace, span.of, span.period, subjects=subjects).items():
                name = (str(workspace.pk), span.of, subject, span.per, span.period.start)
                found[bucket(*name, "usd")] = (sums.nanos, sums.doubt_nanos)
                found[bucket(*name, "tokens")] = (sums.tokens, sums.doubt_tokens)
            if opened is not None:
                opened.add(dimension)
    is_shadows = only is None or SHADOWS[:2] in only
    if is_shadows and (opened is None or SHADOWS not in opened):
        found |= shadow_sums(at)
        if opened is not None:
            opened.add(SHADOWS)
    return found


def booked_since(line: int) -> Subjects:
    """Whose lines came into the ledger after this one."""
    found: Subjects = defaultdict(set)
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT DISTINCT workspace_id, team_id, key_id, "user", model, provider FROM budgets_entry WHERE id > %s',
            [line],
        )
        for workspace, *others in cursor.fetchall():
            for of, subject in zip(SCOPES, (workspace, *others), strict=True):
                if subject:
                    found[(workspace, of)].add(subject)
    return found


def finished_repricings(*, after: int) -> QuerySet[Repricing]:
    """Repricings that are complete and that are newer than this one."""
    return Repricing.objects.filter(pk__gt=after, finished_at__isnull=False).order_by("pk")


def newest_repricing() -> int:
    """The newest repricing that is complete, 0 before the first."""
    return _one_number("SELECT MAX(id) FROM budgets_repricing WHERE finished_at IS NOT NULL")


def newest_line() -> int:
    """The newest line of the ledger, 0 before the first."""
    return _one_number("SELECT MAX(id) FROM budgets_entry")


def _one_number(statement: str) -> int:
    """What such a statement finds. Asked all the time by idle processes: the ORM would cost ten times as much."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return int(cursor.fetchone()[0] or 0)


def repriced_by_bucket(row: Repricing, at: float) -> dict[str, int]:
    """How much a repricing changed each bucket of dollars that is current at this instant."""
    workspace = row.workspace
    lines = Entry.objects.filter(
        workspace_id=str(workspace.pk),
        at__gte=row.since,
        at__lt=row.until,
        status=Entry.Status.REPRICED,
        attempt__endswith=f"~{row.pk}",
    )
    found: dict[str, int] = {}
    for span in spans(workspace, workspace.budgets.all(), at):
        column = f"{span.of}_id" if span.of in ("workspace", "team", "key") else span.of
        within = lines
        if span.per != "total":
            within = lines.filter(at__gte=utc(span.period.start), at__lt=utc(span.period.end))
        for subject, nanos in within.order_by().values_list(column).annotate(Sum("nanos")):
            if subject and nanos:
                found[bucket(str(workspace.pk), span.of, subject, span.per, span.period.start, "usd")] = nanos
    return found


def shadow_sums(at: float) -> dict[str, tuple[int, int]]:
    """(spent, in doubt) today, in UTC, by the bucket of each route whose calls are shadowed."""
    start = period("UTC", "day", at).start
    rows = Total.objects.filter(workspace_id=SHADOW, of="user", day=datetime.fromtimestamp(at, UTC).date())
    return {
        bucket(SHADOW, "user", row.subject, "day", start, "usd"): (row.nanos, row.doubt_nanos)
        for row in rows.order_by()
    }
