"""Forgetting kept answers."""

from django.conf import settings
from django.db import transaction

from gateway.caching.redis import PREFIX
from gateway.models import CachePurge
from gateway.services.vectors import erase_questions
from tenants.models import Workspace


def purge_cache(*, workspace: Workspace, what: str, name: str = "") -> CachePurge:
    """Forget the workspace's answers: all, or those of a route, of a prompt, or to an end user's calls.

    Every worker forgets them with its next configuration, within a second. Raises ValidationError.
    """
    purge = CachePurge(workspace=workspace, what=what, name=name)
    purge.full_clean()
    purge.save()
    erase_shared(purge)
    return purge


def erase_shared(purge: CachePurge) -> None:
    """Once the purge is committed, erase all that is shared of the workspace: the rest of it is only asked anew."""
    if settings.REDIS_URL:
        transaction.on_commit(lambda: _erase(str(purge.workspace_id)))


def _erase(workspace_id: str) -> None:
    import redis  # noqa: PLC0415 - optional: only where REDIS_URL is set

    erase_questions(workspace_id=workspace_id)
    with redis.Redis.from_url(settings.REDIS_URL) as store:
        for key in store.scan_iter(match=f"{PREFIX}:{{{workspace_id}}}:*", count=500):
            store.unlink(key)
