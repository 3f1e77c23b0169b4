"""Opening stored bodies: for who may read them, and never without a trace."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from audit.bodies import BodyBroken, key_place, open_body
from audit.models import BodyKey, CallBody, CallRecord
from audit.origin import Origin
from audit.search import Page, page_of
from audit.services.changes import record_event
from gateway.core.crypto import Undecryptable
from tenants.models import Workspace

SCANNED_MOST = 1000  # calls whose bodies one page of a text search opens


@dataclass(frozen=True, slots=True)
class OpenedBody:
    """A body, or the reason why it can't be read."""

    kind: str
    size_bytes: int
    text: str
    trouble: str = ""


def bodies_of(*, call: CallRecord, origin: Origin) -> list[OpenedBody]:
    """What was asked and answered. The looking is recorded first."""
    record_event(
        kind="reveal",
        workspace=workspace_by_id(call.workspace_id),
        origin=origin,
        about=call,
        data={"call_id": call.pk},
    )
    return [_opened(body, call, {}) for body in CallBody.objects.filter(call_id=call.pk).order_by("-kind")]


def calls_that_say(
    text: str, found: QuerySet[CallRecord], *, cursor: str, origin: Origin
) -> tuple[Page[CallRecord], Any]:
    """Among the next calls, those whose bodies hold the text, and how far back was looked (a moment).

    Bodies are encrypted, so they are opened one after the other: at most SCANNED_MOST calls at a time.
    """
    record_event(kind="reveal", origin=origin, data={"searched for a text of characters": len(text)})
    page = page_of(found, cursor, size=SCANNED_MOST)
    calls = {call.pk: call for call in page.rows}
    keys: dict[str, bytes | None] = {}
    hits: set[str] = set()
    wanted = text.casefold()
    for body in CallBody.objects.filter(call_id__in=list(calls)).iterator(chunk_size=200):
        if body.call_id not in hits and wanted in _opened(body, calls[body.call_id], keys).text.casefold():
            hits.add(body.call_id)
    rows = [call for call in page.rows if call.pk in hits]
    return Page(rows, page.older), page.rows[-1].at if page.rows else ""


def _opened(body: CallBody, call: CallRecord, keys: dict[str, bytes | None]) -> OpenedBody:
    if body.key_id not in keys:
        keys[body.key_id] = _secret(body)
    secret = keys[body.key_id]
    if secret is None:
        return OpenedBody(body.kind, body.size_bytes, "", "Its key was destroyed: the person was erased.")
    commitment = bytes.fromhex(call.details.get("bodies", {}).get(body.kind, {}).get("commitment", ""))
    place = (body.workspace_id, body.call_id, body.kind)
    try:
        opened = open_body(secret, place, bytes(body.nonce), bytes(body.ciphertext), commitment)
    except BodyBroken as error:
        return OpenedBody(body.kind, body.size_bytes, "", f"It does not hold: {error}.")
    return OpenedBody(body.kind, body.size_bytes, opened.decode("utf-8", "backslashreplace"))


def _secret(body: CallBody) -> bytes | None:
    key = BodyKey.objects.filter(pk=body.key_id, destroyed_at=None).first()
    if key is None:
        return None
    try:
        return settings.KEYRING.open(bytes(key.wrapped), key_place(key.workspace_id, key.pk))
    except Undecryptable:
        return None


def workspace_by_id(workspace_id: str) -> Workspace | None:
    return Workspace.objects.filter(pk=workspace_id).first() if workspace_id.isdigit() else None
