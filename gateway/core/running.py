"""The call that the running task is of, so that whatever is logged meanwhile can say so."""

from contextvars import ContextVar
from typing import Any

from gateway.core.call import Call

running: ContextVar[Call | None] = ContextVar("running", default=None)


def names_of(call: Call) -> dict[str, Any]:
    """How a line of the log leads to the call: its id, and its trace where it has one."""
    names: dict[str, Any] = {"call_id": call.id}
    if call.trace is not None:
        names |= {"trace_id": call.trace.id, "trace_sampled": call.trace.is_sampled}
    return names
