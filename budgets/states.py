"""How each budget stands now: for the command, the API and the pages."""

from datetime import timedelta
from time import time
from typing import Any

from django.utils import timezone

from budgets.models import Budget, Exposure
from budgets.periods import Period, bucket, period, utc
from budgets.queries import NOTHING, Sums, running_raises, spent_by_subject
from budgets.services.thresholds import subject_named
from gateway.core.money import dollars
from tenants.models import ApiKey, Team, Workspace

LEASE_SECONDS = 20.0  # what a worker told longer ago is void: it is gone


def budget_states(workspace: Workspace) -> list[dict[str, Any]]:
    """One entry for each budget; for budgets of each one of a kind, one for each subject that spent or holds anything.

    Amounts are decimal strings in dollars for budgets of dollars and whole numbers for budgets of tokens; the other
    unit's are None. `period_start` is UTC, None for a budget of the call itself and for one without a period.
    """
    held = exposures(workspace)
    names = subject_names(workspace)
    raised = running_raises(workspace, at=timezone.now())
    found = []
    for budget in workspace.budgets.all():
        if budget.of == "call":
            found.append(state(budget, "call", None, NOTHING, 0))
            continue
        span = period(workspace.timezone, budget.per, time())
        spent = spent_by_subject(workspace, budget.of, span)
        start = None if budget.per == "total" else f"{utc(span.start):%Y-%m-%dT%H:%M:%SZ}"
        for subject in subjects_of(budget, workspace, [*spent, *held.get((budget.of, budget.per), ())]):
            amount = held_of(held, budget, subject, span)
            shown = budget.of if budget.of == "workspace" else f"{budget.of}:{names.get((budget.of, subject), subject)}"
            more = raised.get((budget.pk, subject), 0)
            found.append(state(budget, shown, start, spent.get(subject, NOTHING), amount, more))
        if not found or found[-1]["name"] != budget.name:
            found.append(state(budget, f"each {budget.of}", start, NOTHING, 0))
    return found


def subject_state(budget: Budget, subject: str) -> dict[str, Any]:
    """The entry of one subject, by its name in the ledger."""
    workspace, span = budget.workspace, period(budget.workspace.timezone, budget.per, time())
    spent = spent_by_subject(workspace, budget.of, span, subjects=[subject]).get(subject, NOTHING)
    raised = running_raises(workspace, at=timezone.now(), budget=budget).get((budget.pk, subject), 0)
    start = None if budget.per == "total" else f"{utc(span.start):%Y-%m-%dT%H:%M:%SZ}"
    name = subject_names(workspace).get((budget.of, subject), subject)
    scope = budget.of if budget.of == "workspace" else f"{budget.of}:{name}"
    return state(budget, scope, start, spent, held_of(exposures(workspace), budget, subject, span), raised)


def held_of(held: dict[tuple[str, str], dict[str, dict[str, int]]], budget: Budget, subject: str, span: Period) -> int:
    """What is held of a budget for one subject, of what `exposures` found."""
    unit = "usd" if budget.limit_nanos is not None else "tokens"
    name = bucket(str(budget.workspace_id), budget.of, subject, budget.per, span.start, unit)
    return held.get((budget.of, budget.per), {}).get(subject, {}).get(name, 0)


def subjects_of(budget: Budget, workspace: Workspace, seen: list[str]) -> list[str]:
    """Whom this budget counts: the one that it names, or everybody that was seen."""
    if budget.of == "workspace":
        return [str(workspace.pk)]
    if budget.match:
        return [subject_named(budget) or budget.match]
    return sorted(set(seen))


def exposures(workspace: Workspace) -> dict[tuple[str, str], dict[str, dict[str, int]]]:
    """What is held now by (of, per), subject and bucket, over all workers that live."""
    prefix = f"{{{workspace.pk}}}:"
    rows = Exposure.objects.filter(
        bucket__startswith=prefix, at__gte=timezone.now() - timedelta(seconds=LEASE_SECONDS)
    ).values_list("bucket", "held")
    found: dict[tuple[str, str], dict[str, dict[str, int]]] = {}
    for name, amount in rows:
        _, of, per, _, _, subject = name.split(":", 5)
        buckets = found.setdefault((of, per), {}).setdefault(subject, {})
        buckets[name] = buckets.get(name, 0) + amount
    return found


def subject_names(workspace: Workspace) -> dict[tuple[str, str], str]:
    """Names of teams and keys by their ids in the ledger."""
    teams = Team.objects.filter(workspace=workspace).values_list("pk", "name")
    keys = ApiKey.objects.filter(workspace=workspace).values_list("pk", "name")
    return {("team", str(pk)): name for pk, name in teams} | {("key", str(pk)): name for pk, name in keys}


def state(budget: Budget, scope: str, start: str | None, spent: Sums, held: int, raised: int = 0) -> dict[str, Any]:
    """One budget of one subject, as the contract prints it, with the tokens beside the dollars.

    The limit is what holds now, with what was granted for a time; `raised` says how much of it that is.
    """
    in_dollars = budget.limit_nanos is not None
    amounts = {
        "limit": budget.limit + raised,
        "raised": raised,
        "spent": spent.nanos if in_dollars else spent.tokens,
        "held": held,
        "in_doubt": spent.doubt_nanos if in_dollars else spent.doubt_tokens,
    }
    return {
        "workspace": str(budget.workspace),
        "name": budget.name,
        "scope": scope,
        "period_start": start,
        **{f"{name}_usd": dollars(amount) if in_dollars else None for name, amount in amounts.items()},
        **{f"{name}_tokens": None if in_dollars else amount for name, amount in amounts.items()},
        "mode": budget.mode,
    }
