"""Asking a second target beside one that is slow to begin, and taking the answer of whichever begins first.

Only where the route says `hedge_after_s`, only before anything was said, and only for calls that do nothing but answer:
no hosted tools, nothing that the provider keeps. At most 2 % of a route's calls, and none to help a target that fails
more than a tenth of its calls: for that there is the fallback. Both attempts are held and charged; the one that comes
too late is hung up on at once.
"""

import asyncio
import time
from typing import TYPE_CHECKING

from budgets.beside import hold_beside, join
from gateway.core.call import Attempt, Call
from gateway.core.errors import GatewayError, UpstreamError
from gateway.routing.plan import Step

if TYPE_CHECKING:
    from gateway.routing.search import Search
    from gateway.routing.stage import opened

FORMS = frozenset({"chat", "messages", "completions", "responses", "embeddings", "rerank", "moderations"})
KEPT = ("store", "previous_response_id", "conversation", "background", "container", "mcp_servers", "web_search_options")
OUR_TOOLS = frozenset({None, "function", "custom"})  # the caller runs these; others run at the provider
MOST_ERRORS = 0.1


def repeatable(call: Call) -> bool:
    """Whether asking twice does nothing but answer twice."""
    body, form = call.body, call.form.name
    if form not in FORMS or call.upload is not None or any(body.get(name) for name in KEPT):
        return False
    if form == "responses" and body.get("store") is not False:  # kept unless the caller says otherwise
        return False
    tools = body.get("tools") or ()
    return all(isinstance(tool, dict) and tool.get("type") in OUR_TOOLS for tool in tools)


class Runner:
    """One of the two on their way: its answer, its target, and the task that brings it to its beginning."""

    __slots__ = ("answer", "hold", "step", "task", "which")

    def __init__(self, answer: "opened", step: Step, which: int, *, may_refuse: bool) -> None:
        self.answer, self.step, self.which = answer, step, which
        self.hold = answer.hold if answer.hold is not None else answer.call.hold
        beginning = answer.attempt(step, which, hold_back=True, may_refuse=may_refuse)
        self.task = asyncio.get_running_loop().create_task(beginning)

    @property
    def error(self) -> BaseException | None:
        """Why it did not begin, once its task is done."""
        return None if self.task.cancelled() else self.task.exception()

    async def stopped(self) -> None:
        """Return once nothing of it runs any more."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Race:
    """One attempt, with a second one beside it once it has been silent for long. Made for one attempt, run once."""

    __slots__ = ("_call", "_first", "_may_refuse", "_rival", "_search")

    def __init__(self, search: "Search", step: Step, which: int, *, may_refuse: bool) -> None:
        self._search, self._call, self._may_refuse = search, search.call, may_refuse
        self._first = Runner(search.answer, step, which, may_refuse=may_refuse)
        self._rival: Runner | None = None

    async def run(self) -> Step:
        """The step that answers; its answer is the search's. Raises as the first attempt does where neither answers."""
        waited, began = self._call.upstream_seconds, time.perf_counter()
        try:
            await asyncio.wait((self._first.task,), timeout=self._patience())
            if not self._first.task.done():
                self._begin_rival()
            winner = await self._winner()
        except BaseException:
            await self._first.stopped()
            await self._give_up_rival()
            raise
        finally:
            self._call.upstream_seconds = waited + time.perf_counter() - began
        self._search.answer.adopt()
        return winner.step

    def _patience(self) -> float:
        """Seconds to wait for the first: as long as nearly all of its answers take to begin, or what the route says."""
        usual = self._first.step.speed.percentiles(time.monotonic())[1]
        return max(self._search.chosen.plan.view.hedge_after_s or 0.0, usual or 0.0)

    def _begin_rival(self) -> None:
        """Ask another target too, where that is worth it and the route's share of such calls is not used up."""
        search, hedges = self._search, self._search.chosen.plan.hedges
        answered, failed = self._first.step.circuits[self._first.which].calls
        if failed > MOST_ERRORS * (answered + failed) or search.answer.out_of_time(search.least()):
            return
        if (
            hedges is None
            or not hedges.take()
            or (found := search.rival_of(self._first.step, self._first.which)) is None
        ):
            return
        answer = search.answer.beside()
        if self._call.hold is not None:
            answer.hold = hold_beside(self._call.hold)
        self._rival = Runner(answer, *found, may_refuse=self._may_refuse)

    async def _winner(self) -> Runner:
        """The one that begins; the other is ended and charged. Raises what the first raised where neither does."""
        first, rival = self._first, self._rival
        if rival is None:
            await first.task
            return first
        await asyncio.wait((first.task, rival.task), return_when=asyncio.FIRST_COMPLETED)
        if first.task.done():
            if first.error is not None and self._search.falls_back(first.error):
                await asyncio.wait((rival.task,))
            if first.error is None or rival.task.cancelled() or not rival.task.done() or rival.error is not None:
                await self._give_up_rival()
                await first.task
                return first
        elif rival.error is not None:
            await self._give_up_rival()
            await first.task
            return first
        await self._give_up_first()
        return rival

    async def _give_up_first(self) -> None:
        """The rival has begun: end the first and charge what it may have cost, and go on with the rival's answer."""
        first, rival, search, call = self._first, self._rival, self._search, self._call
        assert rival is not None
        after = self._patience()
        await first.stopped()
        attempt, error = first.answer.under_way, first.error
        if isinstance(error, UpstreamError):
            await search.failed(first.step, error)
        else:
            why = f"had not begun after {after:.3g} s; {rival.step.model} was asked too, and began first"
            await first.answer.outrun(why)
            first.step.speed.note(time.monotonic(), call.elapsed - (attempt.started if attempt is not None else 0.0))
            search.note(first.step, "outrun", why)
        self._put_last(rival.answer.under_way)
        if first.hold is not None and rival.hold is not None:
            await first.hold.settle(attempt)
            join(rival.hold, first.hold)
            call.hold = rival.hold
        self._rival = None
        search.answer.take(rival.answer)

    async def _give_up_rival(self) -> None:
        """End the rival, whatever has become of it, and charge it. The second time it does nothing."""
        rival, search = self._rival, self._search
        if rival is None:
            return
        self._rival = None
        await rival.stopped()
        attempt, error = rival.answer.under_way, rival.error
        if isinstance(error, UpstreamError):
            await search.failed(rival.step, error, rival.answer)
        else:
            why = error.message if isinstance(error, GatewayError) else "was asked too, and the first one began first"
            await rival.answer.outrun(why)
            search.note(rival.step, "left out" if attempt is None else "outrun", why)
        self._put_last(self._first.answer.under_way)
        if rival.hold is not None and self._call.hold is not None:
            await rival.hold.settle(attempt)
            join(self._call.hold, rival.hold)
        if error is not None and not isinstance(error, GatewayError):
            raise error

    def _put_last(self, attempt: Attempt | None) -> None:
        """Whoever asks for a call's last attempt asks for the one that answers."""
        if attempt is not None:
            attempts = self._call.attempts
            attempts[:] = [*(each for each in attempts if each is not attempt), attempt]
