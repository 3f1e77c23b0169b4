"""Statements: what each team spent in a month, and one statement with its digest and its CSV."""

from datetime import date, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Max, Min, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.text import slugify

from budgets.admin.usage import page_context
from budgets.models import Total
from budgets.statement import COLUMNS, Statement, make_statement
from gateway.core.money import dollars
from tenants.models import Team, Workspace

MONTHS_SHOWN = 24
LINES_SHOWN = 500


def statements_page(request: HttpRequest, page: Any, workspaces: QuerySet[Workspace]) -> HttpResponse:
    """All teams in a month; with `?workspace=…` (and `team`) one statement, with `format=csv` its bytes."""
    month = request.GET.get("month") or f"{timezone.now():%Y-%m}"
    if asked := request.GET.get("workspace"):
        try:
            workspace = get_object_or_404(workspaces, pk=asked)
        except ValueError:
            raise Http404 from None
        return one_statement(request, page, workspace, month)
    first = month_start(month)
    days = Total.objects.filter(workspace_id__in=[str(each.pk) for each in workspaces], of="workspace")
    context = page_context(request, page, f"Statements of {month}") | {
        "month": month,
        "months": months_of(days.aggregate(least=Min("day"), most=Max("day")), first),
        "tables": [table_of(workspace, first) for workspace in workspaces.order_by("name")],
    }
    return TemplateResponse(request, "budgets/statements.html", context)


def one_statement(request: HttpRequest, page: Any, workspace: Workspace, month: str) -> HttpResponse:
    team = None
    if asked := request.GET.get("team"):
        if not asked.isdigit():
            raise Http404
        team = get_object_or_404(Team, workspace=workspace, pk=asked)
    try:
        as_of = parse_datetime(request.GET.get("as_of", ""))
        made = make_statement(workspace, month, team=team, as_of=as_of)
    except (ValueError, ValidationError):
        raise Http404 from None
    if request.GET.get("format") == "csv":
        return csv_of(made)
    whose = f"{workspace.name} / {team.name}" if team else workspace.name
    context = page_context(request, page, f"Statement of {whose}, {month}") | {
        "made": made,
        "lines": [shown(dict(zip(COLUMNS, row, strict=True))) for row in made.rows[:LINES_SHOWN]],
        "left_out": max(0, len(made.rows) - LINES_SHOWN),
        "query": request.GET.urlencode(),
    }
    return TemplateResponse(request, "budgets/statement.html", context)


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A line's cells with what it says of tokens in one."""
    return row | {
        "parts": f"{row['input_tokens']:,} in ({row['cached_tokens']:,} cached), {row['output_tokens']:,} out"
    }


def csv_of(made: Statement) -> HttpResponse:
    name = "-".join(filter(None, ["statement", slugify(made.workspace), slugify(made.team or ""), made.month]))
    response = HttpResponse(made.text.encode(), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    response.headers["X-Statement-Digest"] = f"sha256={made.digest}"
    return response


def table_of(workspace: Workspace, first: date) -> dict[str, Any]:
    """A workspace's teams with what they spent, from the daily totals."""
    after = (first + timedelta(days=32)).replace(day=1)
    totals = Total.objects.filter(workspace_id=str(workspace.pk), day__gte=first, day__lt=after)
    whole = totals.filter(of="workspace").aggregate(nanos=Sum("nanos"), attempts=Sum("attempts"))
    spent = {
        subject: (nanos, attempts)
        for subject, nanos, attempts in totals.filter(of="team")
        .order_by()
        .values_list("subject")
        .annotate(Sum("nanos"), Sum("attempts"))
    }
    teams = [
        {"team": team, "figure": f"${dollars(spent[str(team.pk)][0])}", "attempts": spent[str(team.pk)][1]}
        for team in Team.objects.filter(workspace=workspace).order_by("name")
        if str(team.pk) in spent
    ]
    return {
        "workspace": workspace,
        "figure": f"${dollars(whole['nanos'] or 0)}",
        "attempts": whole["attempts"] or 0,
        "teams": teams,
    }


def months_of(days: dict[str, date | None], shown: date) -> list[str]:
    """The months in which something was spent and the one that is shown, the newest first."""
    newest, oldest = max(days["most"] or shown, shown), min(days["least"] or shown, shown)
    found, month = [], newest.replace(day=1)
    while month >= oldest.replace(day=1) and len(found) < MONTHS_SHOWN:
        found.append(f"{month:%Y-%m}")
        month = (month - timedelta(days=1)).replace(day=1)
    return found


def month_start(month: str) -> date:
    """Raises Http404 for what is no month."""
    try:
        return date.fromisoformat(f"{month}-01")
    except ValueError:
        raise Http404 from None
