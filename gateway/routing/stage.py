"""Where a call goes: choosing its targets, and the bracket that brings the answer of the first that speaks.

`choose` is a step: it reads the call and the snapshot and sends nothing. `opened` is a bracket: entering sends, tries
again and falls back until a target has begun to answer; what comes after that comes from this target alone. Leaving
hangs up, whether the answer was read to its end or not.
"""

import time
from types import TracebackType
from typing import Any

from gateway.core.call import Attempt, Call, Delta, Target
from gateway.core.errors import (
    DeadlinePassed,
    UpstreamBroken,
    UpstreamError,
    UpstreamRejected,
    UpstreamUnavailable,
)
from gateway.core.forms import SOUND_FORMS
from gateway.providers import speaks
from gateway.providers.base import Outgoing, Reader
from gateway.routing.breaker import Circuit
from gateway.routing.choose import find
from gateway.routing.continuing import Continuing, continuing
from gateway.routing.encode import allowed_output, encode
from gateway.routing.plan import Step
from gateway.routing.search import Search
from gateway.routing.send import Streaming
from gateway.routing.shadow import draw
from gateway.snapshot import RoutesSnapshot, Timeouts

HELD_BACK_DELTAS = 64  # pieces without content that are held back before a stream counts as begun
AUTH_COOL_SECONDS = 60.0
QUICK_SECONDS = 1.0  # a failure that took no longer costs the next call next to nothing: it is probed at a steady pace
BYTES_FORMS = SOUND_FORMS | {"audio_transcriptions", "audio_translations"}  # answers pass as the bytes that they are


def choose(call: Call, routes: RoutesSnapshot) -> None:
    """Set the call's route, its candidates in order and the decision, and whether a copy goes to the route's shadow.

    Raises NotFound (model_not_found), Forbidden (model_not_allowed), Unsupported when no target can serve the call.
    """
    find(call, routes)
    if call.plan.plan.view.shadow is not None:
        draw(call, call.plan.plan)


class opened:
    """The answer of the first target that speaks, as an async iterator of deltas; one delta where none is streamed.

    Entering raises UpstreamRejected (the provider's own 4xx), AllTargetsFailed, DeadlinePassed, Unsupported. Iterating
    raises UpstreamBroken when the answer breaks off after it began, and DeadlinePassed.
    """

    __slots__ = (
        "_attempt",
        "_circuit",
        "_deadline",
        "_reader",
        "_ready",
        "_rest",
        "_step",
        "_streaming",
        "_timeout_s",
        "body",
        "call",
        "hold",
        "routes",
    )

    def __init__(self, call: Call, routes: RoutesSnapshot) -> None:
        self.call, self.routes = call, routes
        self.body: dict[str, Any] | None = None  # asked in place of the call's own: for the rest of an answer
        self.hold: Any = None  # where it is not the call's own: of an attempt beside another
        self._attempt: Attempt | None = None  # the one under way
        self._circuit: Circuit | None = None
        self._streaming: Streaming | None = None
        self._reader: Reader | None = None
        self._ready: list[Delta] = []  # deltas that are there already, the next one last
        self._rest: Continuing | None = None
        self._timeout_s = call.controls.timeout_s
        if call.plan is not None:
            view = call.plan.plan.view
            if view.timeout_s is not None:
                self._timeout_s = view.timeout_s if self._timeout_s is None else min(view.timeout_s, self._timeout_s)
            if view.continues and call.hit is None:
                self._rest = continuing(call)
        self._deadline = None if self._timeout_s is None else call.began + self._timeout_s

    async def __aenter__(self) -> "opened":
        call = self.call
        if call.hit is not None:  # nothing is sent
            self._ready = list(reversed(call.hit.deltas))
            return self
        try:
            await Search(self, call.plan).run()
        except BaseException as error:  # a bracket that fails to enter is never left: it must undo itself
            await self._leave(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._leave(exc)

    def __aiter__(self) -> "opened":
        return self

    async def __anext__(self) -> Delta:
        while True:
            if not self._ready:
                if self._reader is None or self._streaming is None:
                    raise StopAsyncIteration
                try:
                    while not self._ready:
                        if not await self._more():
                            raise StopAsyncIteration
                except UpstreamError as error:
                    await self._go_on(error)
            delta = self._ready.pop()
            if delta.usage is not None:
                self._seen(delta)
            if self._rest is None:
                self.call.at_hand = bool(self._ready)
                return delta
            if (shown := self._rest.heard(delta)) is not None:
                return shown

    async def _go_on(self, error: UpstreamError) -> None:
        """The answer broke off: return once somebody else goes on with it. Raises where nobody does."""
        broken = await self._broken(error)
        if self._rest is None or isinstance(broken, DeadlinePassed) or not await self._rest.go_on(self):
            try:
                raise broken from None
            finally:
                del broken  # or this frame and what it raised hold each other

    def _seen(self, delta: Delta) -> None:
        if delta.usage is not None and self._attempt is not None:
            self._attempt.usage = delta.usage

    async def _more(self) -> bool:
        """Read on until there are deltas; False at the provider's own end."""
        streaming, reader = self._streaming, self._reader
        if streaming is None or reader is None:
            return bool(self._ready)
        if (hold := self.call.hold) is not None and hold.overrun(self.call.said):
            raise UpstreamBroken("the provider wrote more than it was allowed to", kind="bad_answer")
        asked = time.perf_counter()
        try:
            chunk = await anext(streaming, None)
        finally:
            self.call.upstream_seconds += time.perf_counter() - asked
        deltas = reader.end() if chunk is None else reader.feed(chunk)
        if deltas:
            deltas.reverse()
            self._ready = deltas + self._ready if self._ready else deltas
        if chunk is not None:
            return True
        self._reader = None  # the provider's own end was seen
        return bool(self._ready)

    # --- one attempt -----------------------------------------------------------------------------------

    async def attempt(self, step: Step, which: int, *, hold_back: bool, may_refuse: bool = False) -> None:
        """Send the call to one target and wait until it has begun to answer.

        hold_back    pieces without content don't count as a beginning, for another target may still answer
        may_refuse   an answer that is nothing but the provider's refusal counts as a failure

        Raises UpstreamError, Unsupported when the target can't be asked this, and what the budgets and hooks raise.
        """
        call, target = self.call, step.targets[which]
        self._step, self._circuit = step, step.circuits[which]
        hold = call.hold if self.hold is None else self.hold
        output = None if hold is None else await allowed_output(hold, target)
        sending = encode(call, step, target, output, self.body)
        attempt = self._attempt = Attempt(target, call.elapsed)
        call.attempts.append(attempt)
        for hook in call.hooks:
            if (waiting := hook.starting(call, attempt)) is not None:
                await waiting
        if isinstance(sending, UpstreamError):
            raise sending
        if call.trace is not None:
            sending.headers.update(call.trace.outgoing(len(call.attempts)))
        attempt.sent = True
        asked = time.perf_counter()
        try:
            form = call.form.name if speaks(target, call.form.name) else "chat"
            timeouts = self._timeouts(step)
            if call.in_pieces:
                await self._begin(sending, timeouts, form, target, hold_back)
            else:
                answer = await self.routes.upstream.send(sending, timeouts, target.kind, call.upload)
                attempt.status = answer.status
                if answer.status >= 400:
                    raise step.adapter.error(answer.status, answer.headers, answer.body)
                delta = step.adapter.answer(answer.body, form, target)
                self._ready = [delta]
            if may_refuse and refuses(self._ready):
                raise UpstreamUnavailable("the provider refused the content", kind="content_refused")
        finally:
            now = time.perf_counter()
            call.upstream_seconds += now - asked
        attempt.first_byte = now - call.began
        step.speed.note(time.monotonic(), now - asked)
        self._circuit.succeeded(time.monotonic())

    async def _begin(self, sending: Outgoing, timeouts: Timeouts, form: str, target: Target, hold_back: bool) -> None:
        """Open a stream and read on to its first delta that says something."""
        assert self._attempt is not None
        streaming = self.routes.upstream.stream(sending, timeouts, target.kind, self.call.upload)
        await streaming.__aenter__()
        self._streaming = streaming
        self._attempt.status = streaming.status
        if streaming.status >= 400:
            raise self._step.adapter.error(streaming.status, streaming.headers, await streaming.read())
        if form in BYTES_FORMS:
            length = streaming.headers.get("content-length", "")
            self.call.answer_type = streaming.headers.get("content-type", "")
            self.call.answer_bytes = int(length) if length.isdigit() else None
        reader = self._reader = self._step.adapter.reader(form, target)
        held: list[Delta] = []
        speaks_now = False
        while not speaks_now:
            chunk = await anext(streaming, None)
            deltas = reader.end() if chunk is None else reader.feed(chunk)
            held.extend(deltas)
            if chunk is None:
                self._reader = None
                break
            speaks_now = bool(held) if not hold_back else any(map(says_something, deltas))
            speaks_now = speaks_now or len(held) > HELD_BACK_DELTAS
        streaming.speaking()
        held.reverse()
        self._ready = held

    def _timeouts(self, step: Step) -> Timeouts:
        timeouts = step.streamed if self.call.stream else step.whole
        if self._deadline is None:
            return timeouts
        left = max(0.001, self._deadline - time.perf_counter())
        if left >= timeouts.total:
            return timeouts
        return Timeouts(timeouts.connect, timeouts.first_byte, timeouts.first_token, timeouts.idle, left)

    # --- endings ---------------------------------------------------------------------------------------

    async def failed(self, error: UpstreamError) -> None:
        """Note that the attempt under way failed, and hang up."""
        attempt, circuit = self._attempt, self._circuit
        assert attempt is not None
        assert circuit is not None
        now = time.monotonic()
        attempt.sent = error.sent
        attempt.reason = f"{error.kind}: {error.message}"[:300]
        if attempt.status is None:
            attempt.status = error.upstream_status
        if isinstance(error, UpstreamRejected):
            circuit.succeeded(now)  # it works: the request is what it didn't like
            await self._end("refused")
            return
        if error.kind == "auth":
            self.call.plan.health.eject_credential(attempt.target, AUTH_COOL_SECONDS, error.message)
        elif error.kind == "rate_limit":
            circuit.cool(now, error.retry_after, "rate limited by the provider")
        else:
            quick = self.call.elapsed - attempt.started < QUICK_SECONDS
            circuit.failed(now, error.kind, instant=quick)
            if error.retry_after is not None:
                circuit.cool(now, error.retry_after, f"{error.kind}, asked to wait")
        await self._end("timeout" if error.kind == "timeout" else "failed")

    async def _broken(self, error: UpstreamError) -> Exception:
        """The answer broke off after it began: what to raise."""
        if error.kind == "timeout" and self.out_of_time():
            await self.failed(error)
            return self.deadline_passed()
        await self.failed(error)
        if isinstance(error, UpstreamBroken):
            return error
        return UpstreamBroken(f"The answer broke off: {error.message}.", kind=error.kind, status=502)

    def out_of_time(self, needed: float = 0.02) -> bool:
        return self._deadline is not None and self._deadline - time.perf_counter() <= needed

    def deadline_passed(self) -> DeadlinePassed:
        return DeadlinePassed(f"The call did not end within its {self._timeout_s:g} s.")

    # --- one of two at the same time; see hedge.py -----------------------------------------------------

    @property
    def under_way(self) -> Attempt | None:
        """The attempt that has not ended, if one was begun."""
        return self._attempt

    def beside(self) -> "opened":
        """Another answer to the same call, for an attempt beside this one's."""
        return opened(self.call, self.routes)

    async def outrun(self, why: str) -> None:
        """End the attempt under way because another one began first: what it reported already is what it cost."""
        if self._circuit is not None:
            self._circuit.released()
        if self._attempt is not None:
            for delta in self._ready:
                self._seen(delta)
            is_whole = bool(self._ready) and not self.call.in_pieces
            self._attempt.reason = why
            await self._end("answered" if is_whole else "in_doubt")
        self._ready = []

    def take(self, other: "opened") -> None:
        """Go on with the other's attempt and its answer; this one's has ended."""
        self._attempt, self._circuit, self._step = other._attempt, other._circuit, other._step
        self._streaming, self._reader, self._ready = other._streaming, other._reader, other._ready

    def adopt(self) -> None:
        """The answer was opened by another task, and is read from this one."""
        if self._streaming is not None:
            self._streaming.adopt()

    async def _leave(self, exc: BaseException | None) -> None:
        attempt = self._attempt
        if attempt is None:
            if self._circuit is not None:  # let in, but never sent: a budget refused, or the client left
                self._circuit.released()
            return
        if exc is None and self._reader is None:
            await self._end("answered")
            return
        if self._circuit is not None:
            self._circuit.released()
        if isinstance(exc, Exception):  # a stage after this one ended the call
            attempt.reason = f"ended by the gateway: {getattr(exc, 'code', type(exc).__name__)}"
        await self._end("failed" if isinstance(exc, Exception) else "client_left")

    async def _end(self, outcome: str) -> None:
        """The attempt is over: hang up and tell those who wait for it."""
        streaming, self._streaming, self._reader = self._streaming, None, None
        attempt, self._attempt, self._circuit = self._attempt, None, None
        if attempt is not None:
            attempt.outcome, attempt.ended = outcome, self.call.elapsed
        try:
            if streaming is not None:
                await streaming.__aexit__(None, None, None)
        finally:
            if attempt is not None:
                for hook in self.call.hooks:
                    if (waiting := hook.ended(self.call, attempt)) is not None:
                        await waiting


def says_something(delta: Delta) -> bool:
    """Whether a delta is part of an answer, and not only the announcement of one."""
    said = delta.text or delta.hidden or delta.finish is not None or delta.usage is not None
    return bool(said or delta.form in BYTES_FORMS)


def refuses(deltas: list[Delta]) -> bool:
    """Whether the answer so far is nothing but a provider's refusal of the content."""
    return any(delta.finish == "content_filter" for delta in deltas) and not any(delta.text for delta in deltas)
