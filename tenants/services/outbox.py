"""Working off an outbox: any number of workers may do it at once, and any may die anywhere.

What was not noted as sent is sent again, under the same id, later and later, for about a day; then it is given up until a
person asks for it again.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from django.db.models import F, QuerySet
from django.utils import timezone

from tenants.models.outbox import OutboxMessage
from tenants.services.posting import NotDelivered

CLAIM_SECONDS = 60  # longer than one attempt can take
BACK_OFF_SECONDS = (2, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600)
ATTEMPTS_MOST = len(BACK_OFF_SECONDS) + 1  # over about a day

Message = TypeVar("Message", bound=OutboxMessage)


def due(rows: QuerySet[Message]) -> QuerySet[Message]:
    """Those that may be tried now, the longest due first."""
    return rows.filter(state=OutboxMessage.State.PENDING, next_at__lte=timezone.now()).order_by("next_at")


def attempt(message: Message, send: Callable[[Message], str]) -> bool:
    """Try a message that is due, unless somebody else does; returns whether it was taken.

    send   brings it to its address and returns the answer in words; raises NotDelivered
    """
    pending = type(message)._default_manager.filter(pk=message.pk, state=OutboxMessage.State.PENDING)
    now = timezone.now()
    claimed = pending.filter(next_at=message.next_at).update(
        next_at=now + timedelta(seconds=CLAIM_SECONDS), attempts=F("attempts") + 1
    )
    if not claimed:
        return False
    tries = message.attempts + 1
    try:
        answer = send(message)
    except NotDelivered as error:
        is_last = tries >= ATTEMPTS_MOST
        pending.update(
            state=OutboxMessage.State.GIVEN_UP if is_last else OutboxMessage.State.PENDING,
            next_at=timezone.now() + timedelta(seconds=0 if is_last else BACK_OFF_SECONDS[tries - 1]),
            last_answer=str(error)[:300],
        )
        return False
    pending.update(state=OutboxMessage.State.SENT, sent_at=timezone.now(), last_answer=answer[:300])
    return True


def try_again(rows: QuerySet[Any]) -> int:
    """Begin anew with those that were given up; returns how many."""
    return rows.filter(state=OutboxMessage.State.GIVEN_UP).update(
        state=OutboxMessage.State.PENDING, next_at=timezone.now(), attempts=0
    )
