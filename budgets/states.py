"""How each budget stands now: for the command, the API and the pages."""

from collections.abc import Sequence
from datetime import timedelta
from time import time
from typing import Any, NamedTuple

from django.utils import timezone

from budgets.models import Budget, Exposure
from budgets.periods import Period, bucket, period, utc
from budgets.queries import NOTHING, Sums, running_raises, spent_by_budgets, spent_by_subject
from gateway.core.money import dollars
from tenants.models import ApiKey, Team, Workspace

Held = dict[tuple[str, str, str], dict[str, dict[str, int]]]  # (workspace, of, per) -> subject -> bucket -> amount
LEASE_SECONDS = 20.0  # what a worker told longer ago is void: it is gone


class Named(NamedTuple):
    """Teams and keys, which stand in the ledger by their ids: (of, id) → name, and (workspace's id, of, name) → id."""

    names: dict[tuple[str, str], str]
    ids: dict[tuple[int, str, str], str]


def budget_states(workspace: Workspace) -> list[dict[str, Any]]:
    """One entry for each budget; for budgets of each one of a kind, one for each subject that spent or holds anything.

    Amounts are decimal strings in dollars for budgets of dollars and whole numbers for budgets of tokens; the other
    unit's are None. `period_start` is UTC, None for a budget of the call itself and for one without a period.
    """
    return [state for _, states in states_of([workspace]) for state in states]


def states_of(
    workspaces: Sequence[Workspace], *, only: Budget | None = None
) -> list[tuple[Budget, list[dict[str, Any]]]]:
    """Each budget of these workspaces with its entries as `budget_states` gives them; `only` asks of one budget.

    A few queries, however many workspaces there are; their budgets are best prefetched.
    """
    at = time()
    held = exposures(*workspaces)
    named = named_in(*workspaces)
    raised = running_raises(*workspaces, at=timezone.now())
    spent = spent_by_budgets(workspaces, at, only=only)
    found = []
    for workspace in workspaces:
        for budget in workspace.budgets.all() if only is None else [only]:
            budget.workspace = workspace  # that it is at hand to whoever shows it
            if budget.of == "call":
                found.append((budget, [state(budget, "call", None, NOTHING, 0)]))
                continue
            span = period(workspace.timezone, budget.per, at)
            start = None if budget.per == "total" else f"{utc(span.start):%Y-%m-%dT%H:%M:%SZ}"
            sums = spent.get((workspace.pk, budget.of, budget.per), {})
            holding = held.get((str(workspace.pk), budget.of, budget.per), {})
            states = []
            for subject in subjects_of(budget, named, [*sums, *holding]):
                amount = held_of(held, budget, subject, span)
                name = named.names.get((budget.of, subject), subject)
                shown = budget.of if budget.of == "workspace" else f"{budget.of}:{name}"
                more = raised.get((budget.pk, subject), 0)
                states.append(state(budget, shown, start, sums.get(subject, NOTHING), amount, more))
            found.append((budget, states or [state(budget, f"each {budget.of}", start, NOTHING, 0)]))
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


def held_of(held: Held, budget: Budget, subject: str, span: Period) -> int:
    """What is held of a budget for one subject, of what `exposures` found."""
    unit = "usd" if budget.limit_nanos is not None else "tokens"
    name = bucket(str(budget.workspace_id), budget.of, subject, budget.per, span.start, unit)
    return held.get((str(budget.workspace_id), budget.of, budget.per), {}).get(subject, {}).get(name, 0)


def subjects_of(budget: Budget, named: Named, seen: list[str]) -> list[str]:
    """Whom this budget counts: the one that it names, or everybody that was seen."""
    if budget.of == "workspace":
        return [str(budget.workspace_id)]
    if budget.match:
        return [named.ids.get((budget.workspace_id, budget.of, budget.match), budget.match)]
    return sorted(set(seen))


def exposures(*workspaces: Workspace) -> Held:
    """What is held now by (workspace's id, of, per), subject and bucket, over all workers that live."""
    rows = Exposure.objects.filter(at__gte=timezone.now() - timedelta(seconds=LEASE_SECONDS))
    if len(workspaces) == 1:
        rows = rows.filter(bucket__startswith=f"{{{workspaces[0].pk}}}:")
    wanted = {str(workspace.pk) for workspace in workspaces}
    found: Held = {}
    for name, amount in rows.values_list("bucket", "held"):
        place, of, per, _, _, subject = name.split(":", 5)
        if (pk := place.strip("{}")) in wanted:
            buckets = found.setdefault((pk, of, per), {}).setdefault(subject, {})
            buckets[name] = buckets.get(name, 0) + amount
    return found


def subject_names(*workspaces: Workspace) -> dict[tuple[str, str], str]:
    """Names of teams and keys by their ids in the ledger."""
    return named_in(*workspaces).names


def named_in(*workspaces: Workspace) -> Named:
    """The teams and keys of these workspaces. Two queries."""
    found = Named({}, {})
    for of, table in (("team", Team), ("key", ApiKey)):
        rows = table._default_manager.filter(workspace__in=workspaces).values_list("workspace_id", "pk", "name")
        for workspace_id, pk, name in rows:
            found.names[(of, str(pk))] = name
            found.ids.setdefault((workspace_id, of, name), str(pk))
    return found


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
