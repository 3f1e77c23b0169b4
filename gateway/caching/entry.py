"""A kept answer: as the provider gave it, in pieces, before redaction gives any caller the originals back."""

import time
from collections.abc import Mapping
from copy import copy
from typing import Any

import msgspec

from gateway.core.call import Call, Delta, Usage

OVERHEAD_BYTES = 600  # of an entry's objects, beside its texts
DELTA_OVERHEAD_BYTES = 250


class KeptDelta(msgspec.Struct, array_like=True, gc=False):
    """A delta with its JSON as bytes, so that nobody who is given it can change it for the next one."""

    raw: bytes | None
    data: bytes | None
    form: str
    text: str
    hidden: str
    finish: str | None
    usage: Usage | None
    usage_only: bool


class Entry(msgspec.Struct, array_like=True, gc=False):
    """One answer and whose it is. Times are seconds since the epoch, as Call.at is.

    `call_id` is the call that it was given to first, `at` when that began: an answer that was under way when its cache
    was purged is purged with it.
    """

    workspace_id: str
    route: str
    prompt: str
    user: str
    model: str
    provider: str
    at: float
    expires: float
    cost_nanos: int
    deltas: list[KeptDelta]
    bytes: int = 0
    call_id: str = ""
    streamed: bool = False


class Hit:
    """What a call is answered with instead of asking a provider. `deltas` are the caller's own to change."""

    __slots__ = ("age_s", "deltas", "model", "provider", "saved_nanos")

    def __init__(self, entry: Entry, now: float) -> None:
        self.deltas = [shown(delta) for delta in entry.deltas]
        self.model, self.provider = entry.model, entry.provider
        self.saved_nanos = entry.cost_nanos
        self.age_s = max(0, int(now - entry.at))


def kept(delta: Delta) -> KeptDelta:
    """A delta as it is kept. The bytes suffice where there are any."""
    data = None if delta.raw is not None else msgspec.json.encode(delta.data)
    usage = delta.usage
    return KeptDelta(
        delta.raw, data, delta.form, delta.text, delta.hidden, delta.finish, usage and copy(usage), delta.usage_only
    )


def shown(delta: KeptDelta) -> Delta:
    usage = delta.usage
    return Delta(
        delta.raw,
        None if delta.data is None else msgspec.json.decode(delta.data),
        delta.form,
        delta.text,
        delta.hidden,
        delta.finish,
        usage and copy(usage),
        delta.usage_only,
    )


def weight(delta: Delta) -> int:
    """About how many bytes a delta takes when kept; its JSON, where there are no bytes, by its text."""
    raw = len(delta.raw) if delta.raw is not None else 200 + 2 * len(delta.hidden) + 2 * len(delta.text)
    return DELTA_OVERHEAD_BYTES + raw + len(delta.text) + len(delta.hidden)


Purges = Mapping[str, Mapping[tuple[str, str], float]]  # workspace id → (what, name) → when, seconds since the epoch


def is_purged(entry: Entry, purges: Purges) -> bool:
    """Whether the entry's call began before somebody purged what it belongs to."""
    of_workspace = purges.get(entry.workspace_id)
    if not of_workspace:
        return False
    belongs = (("all", ""), ("route", entry.route), ("prompt", entry.prompt.partition("@")[0]), ("user", entry.user))
    return any(entry.at <= of_workspace.get(each, 0.0) for each in belongs)


def serves(entry: Entry, call: Call, purges: Purges, most_age_s: int | None) -> bool:
    """Whether the entry may answer this call: its own workspace's, not too old, not purged."""
    now = time.time()
    if call.caller is None or entry.workspace_id != call.caller.workspace_id or now >= entry.expires:
        return False
    if most_age_s is not None and now - entry.at >= most_age_s:
        return False
    return not (purges and is_purged(entry, purges))


encode: Any = msgspec.msgpack.Encoder().encode
decode: Any = msgspec.msgpack.Decoder(Entry).decode
