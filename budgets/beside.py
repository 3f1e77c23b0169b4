"""A second hold of one call, for an attempt that runs beside another: both are held, and each is charged by itself."""

from budgets.hold import Hold


def hold_beside(first: Hold) -> Hold:
    """A hold that holds nothing yet, for an attempt that may begin while the first one's attempt runs.

    What the call may cost at most is for both together. The first one's `lines` tell of both until they are joined.
    """
    second = Hold(first.call, first.budgets)
    running = first.pending or {"nanos": 0, "tokens": 0}
    second.nanos, second.tokens = first.nanos + running["nanos"], first.tokens + running["tokens"]
    second.count = first.count  # attempts are named by it, each once
    first.count += 1
    first.beside = second
    return second


def join(into: Hold, other: Hold) -> None:
    """Take the other hold's lines over; its attempt is settled."""
    into.beside = None
    into.count = max(into.count, other.count)
    into.entries = [*other.entries, *into.entries]
    into.nanos = sum(entry["nanos"] for entry in into.entries)
    into.tokens = sum(entry["tokens"] for entry in into.entries)
    into.call.cost_nanos, into.call.tokens = into.nanos, into.tokens
