"""How full budgets are, one budget from near with its ledger, and who spends."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from time import time
from typing import Any

from django.conf import settings
from django.db.models import QuerySet, Sum
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from budgets.asking import Asking
from budgets.forecast import runs_out
from budgets.models import Budget, Entry, Total
from budgets.periods import period, utc
from budgets.queries import NOTHING, Sums, days_of, spent_by_budgets
from budgets.services.thresholds import subject_named
from budgets.statement import safe
from budgets.states import Named, named_in, states_of, subject_names
from gateway.core.money import dollars, nanos
from tenants.models import Workspace

COLUMNS = (
    *("attempt", "at", "team_id", "key_id", "user", "model", "provider", "nanos", "tokens", "status", "price"),
    "booked_at",
)
LINES_SHOWN = 50
LINES_RANKED = 5000
SUBJECTS_SHOWN = 500
SUBJECTS_SHOWN_EACH = 5
GROUPS_SHOWN = 100
TIGHT_PERCENT = 80
MOST_SPENDING = 10
DAYS = (1, 7, 30, 90)
KINDS = (("team", "Teams"), ("key", "API keys"), ("user", "End users"), ("model", "Models"), ("provider", "Providers"))


def fullness_page(request: HttpRequest, page: Any, workspaces: QuerySet[Workspace]) -> HttpResponse:
    """Every budget of these workspaces, the fullest first, each with the subjects that have spent most of it."""
    groups, held, doubt = [], 0, 0
    shown_in = list(workspaces.prefetch_related("budgets"))
    ends = Forecast(shown_in)
    for budget, rows in fullest_first(shown_in):
        for row in rows[:SUBJECTS_SHOWN_EACH]:
            row["runs_out_at"] = ends.of(budget, row)
        if budget.of == Budget.Of.WORKSPACE and budget.limit_nanos is not None:
            held, doubt = max(held, rows[0]["held"]), max(doubt, rows[0]["in_doubt"])
        more = len(rows) - SUBJECTS_SHOWN_EACH
        groups.append({"budget": budget, "rows": rows[:SUBJECTS_SHOWN_EACH], "more": max(0, more)})
    groups.sort(key=lambda group: -group["rows"][0]["percent"])
    tight = sum(row["percent"] >= TIGHT_PERCENT for group in groups for row in group["rows"])
    context = page_context(request, page, "How full budgets are") | {
        "groups": groups[:GROUPS_SHOWN],
        "left_out": max(0, len(groups) - GROUPS_SHOWN),
        "tight": tight,
        "held_text": f"${dollars(held)}",
        "doubt_text": f"${dollars(doubt)}",
    }
    return TemplateResponse(request, "budgets/fullness.html", context)


def fullest_first(
    workspaces: Sequence[Workspace], *, only: Budget | None = None
) -> list[tuple[Budget, list[dict[str, Any]]]]:
    """Each budget of these workspaces with its subjects as `shown` gives them, the fullest of them first."""
    return [
        (budget, sorted(map(shown, states), key=lambda row: (-row["percent"], -row["spent"])))
        for budget, states in states_of(workspaces, only=only)
    ]


class Forecast:
    """When the subjects of these workspaces' budgets run out; a few queries for all of them, once one is asked for."""

    def __init__(self, workspaces: Sequence[Workspace], *, only: Budget | None = None) -> None:
        self.workspaces, self.only, self.at = workspaces, only, time()

    @cached_property
    def named(self) -> Named:
        return named_in(*self.workspaces)

    @cached_property
    def today(self) -> dict[tuple[int, str, str], dict[str, Sums]]:
        return spent_by_budgets(self.workspaces, self.at, per="day", only=self.only)

    def subject(self, budget: Budget, row: dict[str, Any]) -> str:
        """Whom a row is about, by the name in the ledger."""
        _, _, name = row["scope"].partition(":")
        return self.named.ids.get((budget.workspace_id, budget.of, name), name) or str(budget.workspace_id)

    def of(self, budget: Budget, row: dict[str, Any]) -> datetime | None:
        """For one row as `shown` gives it."""
        if budget.of == Budget.Of.CALL:
            return None
        sums = self.today.get((budget.workspace_id, budget.of, "day"), {}).get(self.subject(budget, row), NOTHING)
        zone = budget.workspace.timezone
        return runs_out(
            spent=row["spent"],
            limit=row["limit"],
            today=sums.nanos if budget.limit_nanos is not None else sums.tokens,
            day=period(zone, "day", self.at),
            span=period(zone, budget.per, self.at),
            at=self.at,
        )


def budget_page(request: HttpRequest, page: Any, budget: Budget) -> HttpResponse:
    """One budget: each subject, when it runs out, and the newest lines of its ledger; `?format=csv` gives them all."""
    entries = entries_of(budget)
    if request.GET.get("format") == "csv":
        return ledger_csv(entries, f"ledger-{budget.pk}.csv")
    asking, by = Asking("", settings.SECRET_KEY), request.user.get_username()
    ends = Forecast([budget.workspace], only=budget)
    ((_, rows),) = fullest_first([budget.workspace], only=budget)
    for row in rows[:SUBJECTS_SHOWN]:
        is_of_call = budget.of == Budget.Of.CALL
        row["ask"] = "" if is_of_call else asking.link(str(budget.pk), ends.subject(budget, row), by)
        row["runs_out_at"] = ends.of(budget, row)
    context = page_context(request, page, f"Budget {budget.name}") | {
        "budget": budget,
        "rows": rows[:SUBJECTS_SHOWN],
        "entries": list(entries[:LINES_SHOWN]),
        "tables": tables_of(budget, entries),
    }
    return TemplateResponse(request, "budgets/budget.html", context)


def tables_of(budget: Budget, entries: QuerySet[Entry]) -> list[dict[str, Any]]:
    """Who spent most of this budget in its period.

    Of a whole workspace the daily totals know it. Within one subject only the lines do: of its newest ones, then.
    """
    names = subject_names(budget.workspace)
    is_of_one = bool(budget.match) and budget.of not in (Budget.Of.WORKSPACE, Budget.Of.CALL)
    newest = list(entries.values_list("key_id", "user", "model", "nanos")[:LINES_RANKED]) if is_of_one else []
    counted = f" of its newest {LINES_RANKED:,} lines" if len(newest) == LINES_RANKED else ""
    tables = []
    for place, (of, title) in enumerate((("key", "API keys"), ("user", "End users"), ("model", "Models"))):
        found: Counter[str] = Counter()
        if is_of_one:
            for line in newest:
                found[line[place]] += line[-1]
        else:
            found.update(dict(totals_of(budget, of)))
        rows = [(names.get((of, name), name) or "–", amount) for name, amount in found.most_common(MOST_SPENDING)]
        tables.append(ranking(title + counted, rows))
    return tables


def totals_of(budget: Budget, of: str) -> QuerySet[Total, tuple[str, int]]:
    """(subject, nano-dollars) of those of a kind that spent most in the budget's period, in its whole workspace."""
    per = budget.per if budget.of != Budget.Of.CALL else "month"
    days = days_of(budget.workspace.timezone, per, time())
    totals = Total.objects.filter(workspace_id=str(budget.workspace.pk), of=of, **days).order_by()
    return totals.values_list("subject").annotate(amount=Sum("nanos")).order_by("-amount")[:MOST_SPENDING]


def spenders_page(request: HttpRequest, page: Any, workspaces: QuerySet[Workspace]) -> HttpResponse:
    """Who spent most in so many days: by workspace, team, key, user, model, provider, and by day."""
    asked = request.GET.get("days", "")
    days = int(asked) if asked in map(str, DAYS) else 30
    by_id = {str(each.pk): each for each in workspaces}
    since = timezone.now().date() - timedelta(days=days - 1)
    totals = Total.objects.filter(workspace_id__in=by_id, day__gte=since).order_by()
    per_workspace = totals.filter(of="workspace")
    ids = named_in(*by_id.values()).ids.items()
    names = {(str(pk), of, subject): f"{by_id[str(pk)].name} / {name}" for (pk, of, name), subject in ids}
    tables = [ranking("Workspaces", [(by_id[pk].name, n) for pk, n in ranked(per_workspace, "workspace_id")])]
    for of, title in KINDS:
        found = ranked(totals.filter(of=of), "workspace_id", "subject")
        tables.append(
            ranking(title, [(names.get((pk, of, each), f"{by_id[pk].name} / {each}"), n) for pk, each, n in found])
        )
    by_day = per_workspace.values_list("day").annotate(Sum("nanos")).order_by("-day")
    tables.append(ranking("Days", [(f"{day:%Y-%m-%d}", amount) for day, amount in by_day]))
    context = page_context(request, page, "Who spends") | {"tables": tables, "days": days, "choices": DAYS}
    return TemplateResponse(request, "budgets/spenders.html", context)


def ranked(totals: QuerySet[Total], *columns: str) -> list[Any]:
    """(the columns…, nano-dollars) of those that spent most."""
    return list(totals.values_list(*columns).annotate(amount=Sum("nanos")).order_by("-amount")[:MOST_SPENDING])


def ranking(title: str, found: list[tuple[str, int]]) -> dict[str, Any]:
    """As templates/tollgate/_ranking.html takes it."""
    most = max((amount for _, amount in found), default=0) or 1
    rows = [{"name": name, "figure": f"${dollars(n)}", "percent": 100 * max(n, 0) // most} for name, n in found]
    return {"title": title, "rows": rows}


def page_context(request: HttpRequest, page: Any, title: str) -> dict[str, Any]:
    return {**page.admin_site.each_context(request), "opts": page.opts, "title": title}


def shown(state: dict[str, Any]) -> dict[str, Any]:
    """A budget's state with its amounts in words and as integers, and how full it is (0 and up, per cent)."""
    in_dollars = state["limit_usd"] is not None
    amounts = {}
    for name in ("limit", "raised", "spent", "held", "in_doubt"):
        amounts[name] = nanos(state[f"{name}_usd"]) if in_dollars else state[f"{name}_tokens"]
    texts = {f"{name}_text": f"${dollars(n)}" if in_dollars else f"{n:,} tokens" for name, n in amounts.items()}
    percent = 100 * (amounts["spent"] + amounts["held"]) // amounts["limit"] if amounts["limit"] else 100
    return state | amounts | texts | {"percent": percent}


def entries_of(budget: Budget) -> QuerySet[Entry]:
    """The ledger's lines that count in the budget's current period, the newest first."""
    span = period(budget.workspace.timezone, budget.per if budget.of != "call" else "month", time())
    entries = Entry.objects.filter(workspace_id=str(budget.workspace.pk))
    if budget.per != "total":
        entries = entries.filter(at__gte=utc(span.start), at__lt=utc(span.end))
    if budget.match and budget.of not in ("workspace", "call"):
        column = f"{budget.of}_id" if budget.of in ("team", "key") else budget.of
        entries = entries.filter(**{column: subject_named(budget)})
    return entries.order_by("-at", "-pk")


def ledger_csv(entries: QuerySet[Entry], name: str) -> StreamingHttpResponse:
    """All lines as CSV, streamed."""
    response = StreamingHttpResponse(csv_lines(entries), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def csv_lines(entries: QuerySet[Entry]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for entry in entries.values_list(*COLUMNS).iterator(chunk_size=1000):
        yield writer.writerow([safe(cell) for cell in entry])


class _Echo:
    """A file that gives back what is written."""

    def write(self, text: str) -> str:
        return text
