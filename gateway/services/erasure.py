"""What is to be forgotten of a person outside the audit's own tables."""

from collections.abc import Mapping

from audit.services import erasure
from budgets.services.erasure import forget_people
from gateway.services.cache import purge_cache
from tenants.models import Workspace


def connect() -> None:
    """Called once, when the apps are ready."""
    for forget in (forget_people, forget_kept_answers):
        if forget not in erasure.elsewhere:
            erasure.elsewhere.append(forget)


def forget_kept_answers(workspace: Workspace, people: Mapping[str, str]) -> dict[str, int]:
    """Forget all that the workspace's cache keeps: to name the person in the order would keep the name for ever."""
    purge_cache(workspace=workspace, what="all")
    return {"cache purges": 1}
