"""What people think of answers."""

import math

from django.db import transaction

from audit.models import CallRecord, Feedback
from audit.origin import Origin
from audit.services.changes import record_event
from tenants.models import Workspace

COMMENT_MOST = 4000


class UnknownCall(LookupError):
    """There is no such call in this workspace, or its record is not there yet."""


def record_feedback(
    *,
    call_id: str,
    workspace_id: str,
    by: str | Origin = "",
    score: float | None = None,
    label: str = "",
    comment: str = "",
) -> Feedback:
    """Keep one opinion on a call: a score from -1 to 1, a label, a comment; at least one of them.

    `by` is a key's name, or a person, whose deed the audit is told of as well.
    Raises UnknownCall, and ValueError for what can't be kept, naming it.
    """
    if score is None and not label and not comment:
        raise ValueError("feedback needs a score, a label or a comment")
    if score is not None and (isinstance(score, bool) or not math.isfinite(score) or not -1.0 <= score <= 1.0):
        raise ValueError("score must be a number from -1 to 1")
    if len(label) > 80:
        raise ValueError("label must have at most 80 characters")
    if len(comment) > COMMENT_MOST:
        raise ValueError(f"comment must have at most {COMMENT_MOST} characters")
    call = CallRecord.objects.filter(pk=call_id, workspace_id=workspace_id).first()
    if call is None:
        raise UnknownCall(f"there is no call {call_id}")
    with transaction.atomic():
        kept = Feedback.objects.create(
            call_id=call.pk,
            workspace_id=call.workspace_id,
            workspace=call.workspace,
            by=clean(by if isinstance(by, str) else by.actor)[:200],
            score=score,
            label=clean(label),
            comment=clean(comment),
        )
        if isinstance(by, Origin):
            told = {"score": score, "label": kept.label, "call": call.pk}
            place = Workspace.objects.filter(pk=call.workspace_id).first() or call.workspace_id
            record_event(kind="feedback", workspace=place, origin=by, about=kept, data=told)
    return kept


def clean(text: str) -> str:
    """What both databases can keep."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
