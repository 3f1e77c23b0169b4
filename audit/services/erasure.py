"""Forgetting a person: their keys are destroyed, so that no copy of what they said can be read again anywhere.

Bodies, the name behind the pseudonym and feedback go too, kept answers, and the name in the budgets' ledger. What stays
is what proves the rest: records with a pseudonym that nobody can resolve any more, and commitments that say nothing
without their salt.
"""

from collections.abc import Callable, Collection, Mapping

from django.db import transaction
from django.utils import timezone

from audit.models import BodyKey, CallBody, CallRecord, Feedback, LegalHold, Subject
from audit.origin import Origin
from audit.services.changes import record_event
from tenants.models import Workspace

# What other apps do to forget somebody, in the same transaction: (workspace, name -> pseudonym) -> what went, counted.
elsewhere: list[Callable[[Workspace, Mapping[str, str]], dict[str, int]]] = []
# What of the configuration in force names one of these people, in words: (workspace, names) -> e.g. "budget month".
naming: list[Callable[[Workspace, Collection[str]], list[str]]] = []


class NamedInConfiguration(ValueError):
    """The configuration in force names the person. The history of configuration can't be changed, so nobody adds to it
    by himself: an admin takes the name out first."""


class UnderLegalHold(PermissionError):
    """Nothing of this workspace may be deleted while the hold stands."""


def erase_person(*, workspace: Workspace, user: str, origin: Origin | None = None) -> dict[str, int]:
    """Erase an end user of a workspace, by name or pseudonym. Returns how many rows of each kind went.

    Of them `history` alone did not go: so many rows of the configuration's history name the person still.

    Raises UnderLegalHold, NamedInConfiguration, and Subject.DoesNotExist when nobody of that name ever called. Doing it
    again is harmless.
    """
    workspace_id = str(workspace.pk)
    if LegalHold.objects.filter(workspace_id=workspace_id, released_at=None).exists():
        raise UnderLegalHold(f"{workspace.name} is under a legal hold: nothing of it may be erased.")
    people = Subject.objects.filter(workspace_id=workspace_id)
    tokens = set(people.filter(name=user).values_list("token", flat=True)) if user else set()
    tokens |= set(people.filter(token=user).values_list("token", flat=True))
    if not tokens:
        raise Subject.DoesNotExist(f"{workspace.name} knows nobody called {user!r}.")
    named = dict(people.filter(token__in=tokens).exclude(name="").values_list("name", "token"))
    if places := [place for look in naming for place in look(workspace, named)]:
        raise NamedInConfiguration(
            f"{workspace.name} names them in its configuration: {', '.join(places)}. Change that first."
        )
    with transaction.atomic():
        gone = _erase(workspace_id, tokens)
        for forget in elsewhere:
            gone |= forget(workspace, named)
        record_event(kind="erasure", workspace=workspace, origin=origin, data={"people": len(tokens)} | gone)
    return gone


def _erase(workspace_id: str, tokens: set[str]) -> dict[str, int]:
    now = timezone.now()
    keys = BodyKey.objects.filter(workspace_id=workspace_id, subject__in=tokens)
    key_ids = list(keys.values_list("pk", flat=True))
    destroyed = keys.filter(destroyed_at=None).update(wrapped=b"", destroyed_at=now)
    bodies = 0
    for start in range(0, len(key_ids), 500):
        bodies += CallBody.objects.filter(key_id__in=key_ids[start : start + 500]).delete()[0]
    calls = CallRecord.objects.filter(workspace_id=workspace_id, subject__in=tokens).values_list("pk", flat=True)
    feedback = Feedback.objects.filter(call_id__in=calls).delete()[0]
    Subject.objects.filter(workspace_id=workspace_id, token__in=tokens).update(name="", erased_at=now)
    return {"keys": destroyed, "bodies": bodies, "feedback": feedback}


def finish_erasures() -> int:
    """Erase what was still under way when its person was erased: in a journal, or in a worker's memory.

    Run regularly; a key that was made before the erasure can come out of a journal for some minutes after it.
    """
    finished = 0
    for row in Subject.objects.exclude(erased_at=None):
        assert row.erased_at is not None
        late = BodyKey.objects.filter(
            workspace_id=row.workspace_id,
            subject=row.token,
            destroyed_at=None,
            day__lte=row.erased_at.strftime("%Y-%m-%d"),
        )
        if late.exists():
            with transaction.atomic():
                _erase(row.workspace_id, {row.token})
            finished += 1
    return finished
