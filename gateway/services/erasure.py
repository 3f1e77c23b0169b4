"""What is to be forgotten of a person outside the audit's own tables."""

from collections.abc import Collection, Mapping

from django.db.models import Q

from audit.services import erasure
from budgets.models import Budget
from budgets.services.erasure import forget_people
from gateway.services.cache import purge_cache
from tenants.models import RateLimit, Workspace


def connect() -> None:
    """Called once, when the apps are ready."""
    for forget in (forget_people, forget_kept_answers, count_history):
        if forget not in erasure.elsewhere:
            erasure.elsewhere.append(forget)
    if places_that_name not in erasure.naming:
        erasure.naming.append(places_that_name)


def forget_kept_answers(workspace: Workspace, people: Mapping[str, str]) -> dict[str, int]:
    """Forget all that the workspace's cache keeps: to name the person in the order would keep the name for ever."""
    purge_cache(workspace=workspace, what="all")
    return {"cache purges": 1}


def places_that_name(workspace: Workspace, names: Collection[str]) -> list[str]:
    """What of the workspace's configuration names one of these people, in words."""
    budgets = Budget.objects.filter(workspace=workspace, of=Budget.Of.USER, match__in=names)
    limits = RateLimit.objects.filter(workspace=workspace, of=RateLimit.Of.USER, match__in=names)
    return [
        *(f"budget {budget.name}" for budget in budgets),
        *("a rate limit" for _ in limits),
        *(["its list of blocked users"] if set(workspace.blocked_users) & set(names) else []),
    ]


def count_history(workspace: Workspace, people: Mapping[str, str]) -> dict[str, int]:
    """How many rows of the configuration's history name somebody: those are proof, and stay as they are."""
    named = Q(workspace_id=workspace.pk, of="user", match__in=people)
    rows = Budget.history.filter(named).count() + RateLimit.history.filter(named).count()
    lists = Workspace.history.filter(id=workspace.pk).values_list("blocked_users", flat=True)
    return {"history": rows + sum(1 for blocked in lists if set(blocked) & set(people))}
