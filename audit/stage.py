"""The bracket around the whole path: whatever becomes of a call, leaving it writes the record."""

import asyncio
from types import TracebackType

from audit.journal import JournalFull
from audit.snapshot import AuditSnapshot
from gateway.core.call import Attempt, Call
from gateway.core.errors import GatewayError, Refused, Unavailable
from gateway.core.running import running

CLIENT_LEFT_STATUS = 499  # as nginx logs it: nobody was there to be told
_HINT = "Try again soon. The administrator: look at /readyz; the gateway goes on by itself once the cause is gone."


class recording:
    """Set how the call ended and write its record, before the caller sees the end of the answer.

    Entering raises Unavailable (503) when no record could be written: a call that can't be recorded is not
    begun. Leaving raises it when the record of an answered call found no room; then the answer breaks off,
    because an answer without a record must not look complete.
    """

    def __init__(self, call: Call, audit: AuditSnapshot) -> None:
        self.call, self.audit = call, audit

    async def __aenter__(self) -> None:
        recorder = self.audit.recorder
        running.set(self.call)
        if self.audit.begin is not None:
            self.audit.begin(self.call)
        if recorder is not None and recorder.journal.current is None:
            raise Unavailable("The audit journal is not open.", code="overloaded", headers={"retry-after": "5"})
        if recorder is not None:
            if self.call.key is not None and self.audit.of_workspace(self.call.key.caller.workspace_id).store_bodies:
                self.call.answered = bytearray()
            self.call.hooks = (*self.call.hooks, Intents(self.audit))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        call, audit = self.call, self.audit
        running.set(None)
        _conclude(call, error)
        try:
            if (recorder := audit.recorder) is not None:
                keeping = audit.of(call)
                recorder.conclude(call, keeping, error.message if isinstance(error, GatewayError) else "")
                if keeping.is_strict and call.outcome == "answered":
                    await recorder.on_disk()
        except JournalFull:
            if error is None:
                call.outcome, call.status, call.code = "failed", 503, "overloaded"
                raise _no_room() from None
        finally:
            if audit.write is not None:
                audit.write(call)


async def refuse(call: Call, audit: AuditSnapshot, error: GatewayError) -> None:
    """Record a call that is shed before its body is read, cheaply, and raise why."""
    call.is_shed = True
    if call.key is not None:
        call.caller = call.key.caller
    async with recording(call, audit):
        raise error


class Intents:
    """Hears of each attempt before it is sent, and writes down that it will be."""

    __slots__ = ("audit",)

    def __init__(self, audit: AuditSnapshot) -> None:
        self.audit = audit

    def starting(self, call: Call, attempt: Attempt) -> None:
        """Raises Unavailable where that finds no room: then nothing may be sent."""
        intend(call, self.audit)

    def ended(self, call: Call, attempt: Attempt) -> None:
        """Nothing to do: the final record tells how it ended."""


def intend(call: Call, audit: AuditSnapshot) -> None:
    """Before an attempt's bytes leave: write down that they will.

    Raises Unavailable when there is no room for it; where the workspace keeps its audit strictly, already when
    only the reserve is left. Then nothing may be sent.
    """
    if (recorder := audit.recorder) is not None:
        try:
            recorder.intend(call, audit.of(call))
        except JournalFull:
            raise _no_room() from None


def _no_room() -> Unavailable:
    return Unavailable(
        "The call can't be recorded: the audit journal finds no room, or the database no connection.",
        code="overloaded",
        hint=_HINT,
        headers={"retry-after": "5"},
    )


def _conclude(call: Call, error: BaseException | None) -> None:
    """Name the end of a call: outcome, status, code, and how long it took."""
    call.ended = call.elapsed
    if call.left or isinstance(error, (GeneratorExit, asyncio.CancelledError)):
        call.outcome, call.status, call.code = "client_left", CLIENT_LEFT_STATUS, "client_left"
    elif error is None:
        call.outcome = "answered"
    elif isinstance(error, GatewayError):
        call.outcome = "refused" if isinstance(error, Refused) else "failed"
        call.status, call.code = error.status, error.code
    else:
        call.outcome, call.status, call.code = "failed", 500, "internal_error"
