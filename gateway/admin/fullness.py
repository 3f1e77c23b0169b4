"""How full budgets are, as rings on the dashboards: the fullest of the workspaces that a page is of."""

from typing import Any

from django.db.models import QuerySet
from django.urls import reverse

from audit.search import CallSearch
from budgets.admin.usage import Forecast, fullest_first
from budgets.models import Budget
from tenants.models import Workspace

RINGS = 8
WORKSPACES_MOST = 10
WHOLE = (Budget.Of.WORKSPACE, Budget.Of.CALL)


def rings(search: CallSearch, visible: QuerySet[Workspace], spending: list[str]) -> list[dict[str, Any]]:
    """The fullest budgets that the search's calls count in.

    Of the workspace that is looked for, else of those named in `spending`, which are those that spend most.
    """
    wanted = [search.fields["workspace"]] if search.fields["workspace"] else spending[:WORKSPACES_MOST]
    shown_in = list(visible.filter(name__in=wanted).prefetch_related("budgets"))
    ends, found = Forecast(shown_in), []
    for budget, rows in fullest_first(shown_in):
        row = next((row for row in rows if counts(budget, row, search)), None)
        if row is not None and budget.of != Budget.Of.CALL:
            found.append((budget, row))
    found.sort(key=lambda each: -each[1]["percent"])
    return [ring(budget, row, ends) for budget, row in found[:RINGS]]


def counts(budget: Budget, row: dict[str, Any], search: CallSearch) -> bool:
    """Whether calls that are looked for count in this budget of this subject."""
    if budget.of in WHOLE or not (name := search.fields.get(budget.of, "")):
        return True
    return bool(row["scope"] == f"{budget.of}:{name}")


def ring(budget: Budget, row: dict[str, Any], ends: Forecast) -> dict[str, Any]:
    percent = row["percent"]
    return {
        "name": f"{budget.workspace} / {budget.name}",
        "scope": "" if budget.of == Budget.Of.WORKSPACE else row["scope"].replace(":", " "),
        "percent": percent,
        "arc": min(percent, 100),
        "tone": "tg-bad" if percent >= 90 else "tg-warn" if percent >= 80 else "",
        "figure": f"{row['spent_text']} of {row['limit_text']}",
        "runs_out_at": ends.of(budget, row),
        "url": reverse("admin:budgets_budget_usage", args=[budget.pk]),
    }
