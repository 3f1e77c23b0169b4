"""Copies of calls that go to a route's shadow, after their callers have their answers and without their knowing.

A copy is the call as it left after redaction, sent once to one other model. It has a record of its own, on the route
`shadow/ROUTE` with the tag "shadow" and the first call's id in its metadata; it is paid from the route's own daily
budget and counts in nobody else's. Whatever would make it felt is not done: none begins while the worker is busy, few
run at once, and all are ended as soon as the process is to stop.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec

import audit.stage as audit
import budgets.stage as budgets
import gateway.routing.stage as routing
from budgets.periods import clock
from budgets.plan import SHADOW
from budgets.snapshot import BudgetsSnapshot, BudgetView, WorkspaceBudgets
from gateway.configuration import Configuration
from gateway.core.bounds import measured
from gateway.core.call import Call
from gateway.core.errors import BudgetExceeded, GatewayError
from gateway.core.ids import new_id
from gateway.core.running import names_of
from gateway.routing.health import Health
from gateway.routing.shadow import PREFIX, way
from gateway.snapshot import ShadowView

log = logging.getLogger(__name__)

AT_ONCE = 8
LARGEST_INPUT = 100_000  # tokens, estimated
PATIENCE_SECONDS = 120.0
SPENT_SECONDS = 60.0
TAG = "shadow"


class Shadows:
    """The copies of one worker. `follow` from the event loop's thread.

    is_busy   whether the worker has so much to do that a copy would be felt
    """

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        self._is_busy = is_busy
        self._health = Health()
        self._spent_until: dict[str, float] = {}  # by route: until then its budget is not asked again
        self._running: set[asyncio.Task[None]] = set()
        self._stopped = False
        self.left_out = 0  # copies that were drawn, and not made because the worker was busy

    def follow(self, call: Call, config: Configuration) -> None:
        """Begin the copy of a call that was answered by a provider, if one was drawn."""
        shadow: ShadowView | None = call.shadow
        if shadow is None or call.outcome != "answered" or call.hit is not None or self._stopped:
            return
        if time.monotonic() < self._spent_until.get(call.route, 0.0):
            return
        if len(self._running) >= AT_ONCE or self._is_busy() or measured(call).input > LARGEST_INPUT:
            self.left_out += 1
            return
        chosen = way(shadow, config.routes, self._health)
        if chosen is None:
            return
        copy = copy_of(call)
        copy.plan, copy.candidates = chosen, chosen.plan.candidates
        copy.decision = [dict(chosen.plan.decision[0], why=f"a copy of call {call.id}")]
        spending = paying(shadow, copy.account, config.budgets)
        task = asyncio.get_running_loop().create_task(self._carry(copy, config, spending))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _carry(self, copy: Call, config: Configuration, spending: BudgetsSnapshot) -> None:
        """Send the copy and keep what came in its record. Nobody hears of it otherwise."""
        try:
            async with (
                audit.recording(copy, config.audit),
                budgets.held(copy, spending),
                routing.opened(copy, config.routes) as deltas,
            ):
                async for delta in deltas:
                    copy.note(delta)
        except BudgetExceeded:
            self._spent_until[copy.account] = time.monotonic() + SPENT_SECONDS
        except GatewayError as error:
            log.debug("the shadow call %s ended: %s", copy.id, error.code)
        except Exception:
            log.exception("the shadow call %s failed by our own mistake", copy.id, extra=names_of(copy))

    def stop(self) -> None:
        """End them all; none begins after it."""
        self._stopped = True
        for task in self._running:
            task.cancel()

    async def ended(self) -> None:
        """Return when all have ended and their records are written."""
        await asyncio.gather(*self._running, return_exceptions=True)


def copy_of(call: Call) -> Call:
    """The call once more, as it was after redaction, with an id, a record and an account of its own."""
    controls = msgspec.structs.replace(
        call.controls,
        prefer=(),
        budget_nanos=None,
        tags=(*call.controls.tags, TAG),
        metadata={**call.controls.metadata, "shadow_of": call.id},
        timeout_s=PATIENCE_SECONDS,
    )
    return Call(
        id=new_id(),
        form=call.form,
        body=call.body,
        model=call.model,
        stream=call.stream,
        controls=controls,
        key=call.key,
        caller=call.caller,
        chat=call.chat,
        route=PREFIX + call.route,
        account=call.route,
        prompt=call.prompt,
        is_masked=True,
        redacted=call.redacted,
        cache="off",
    )


def paying(shadow: ShadowView, account: str, config: BudgetsSnapshot) -> BudgetsSnapshot:
    """The prices as they are, and one budget: what the copies of this route may cost in a day."""
    budget = BudgetView(f"shadow of {account}", "user", account, "day", shadow.daily_nanos, "usd")
    return replace(config, workspaces={SHADOW: WorkspaceBudgets(clock=clock("UTC"), others=(budget,))}, wait_s=0.0)
