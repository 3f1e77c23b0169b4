"""Which calls are traced, and W3C trace context in and out. Decided as a call begins, so that the others cost nothing."""

import re
from random import getrandbits

TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
SPANS = (1 << 64) - 1


class Trace:
    """The trace that a call belongs to. `parent_id` is the caller's span, 0 for none; ids are integers."""

    __slots__ = ("is_sampled", "parent_id", "span_id", "trace_id")

    def __init__(self, trace_id: int, parent_id: int, *, is_sampled: bool) -> None:
        self.trace_id, self.parent_id, self.is_sampled = trace_id, parent_id, is_sampled
        self.span_id = getrandbits(64) or 1

    @property
    def id(self) -> str:
        """The trace's id as everybody writes it: 32 hex digits."""
        return f"{self.trace_id:032x}"

    def span_of(self, attempt: int) -> int:
        """The span id of the call's attempt of this number, counted from 1."""
        return (self.span_id + attempt) & SPANS or SPANS

    def outgoing(self, attempt: int) -> dict[str, str]:
        """The headers that let a provider continue the trace. Caller's tracestate and baggage stay here."""
        return {"traceparent": f"00-{self.id}-{self.span_of(attempt):016x}-{'01' if self.is_sampled else '00'}"}


def fresh() -> Trace:
    """A trace that begins here."""
    return Trace(getrandbits(128) or 1, 0, is_sampled=True)


def continued(header: str) -> Trace | None:
    """The trace that a caller's traceparent names; None where the header is none, which W3C says to pass over."""
    found = TRACEPARENT.fullmatch(header.strip())
    if found is None or (found[1] == "00" and found[5] is not None):
        return None
    return Trace(int(found[2], 16), int(found[3], 16), is_sampled=bool(int(found[4], 16) & 1))
