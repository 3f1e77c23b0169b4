"""Holding the most that a call can cost, and settling what it did cost.

For the stages above, `call.hold` is a `Hold` from `held` on (None for a cache hit). Routing drives it:

    output = await call.hold.move(target)      before each attempt, the first included: reserves for this target,
                                               settling the attempt before it by what is known (call.attempts[-1]).
                                               Returns the output tokens to allow upstream for one choice, or None
                                               where the form has none. Raises BudgetExceeded, PriceUnknown,
                                               Unavailable: the call ends with that, nothing further is sent.
    call.attempts.append(Attempt(...))         after it
    attempt.sent, .status, .outcome, .usage    kept by routing: they decide what an attempt is charged
    await call.hold.settle(attempt)            optional, as soon as an attempt has ended: else on leaving `held`

The journal writes `call.hold.pending` (the attempt's ledger entry as it stands if nobody ever learns more) before
anything is sent, and `call.hold.entries` with the call's final record. `call.hold.cost(usage)` prices a usage at the
rates of the running attempt; `call.hold.overrun(characters)` says that a provider ignores its limit of output.
"""

from types import TracebackType

from budgets.hold import Hold
from budgets.snapshot import BudgetsSnapshot
from gateway.core.call import Call


class held:
    """The most this call can cost, held in every budget that applies, or in none.

    Entering raises BudgetExceeded before anything is sent. Leaving replaces the hold by the real cost, also when the
    call failed or its client left: no hold outlives its call. A kept answer holds nothing, and is refused where a budget
    is spent.
    """

    def __init__(self, call: Call, budgets: BudgetsSnapshot) -> None:
        self.call, self.budgets = call, budgets

    async def __aenter__(self) -> None:
        call = self.call
        if call.caller is None or not call.candidates:
            return
        if call.hit is not None:  # costs nothing, but a spent budget answers nothing either
            await allowed(call, self.budgets)
        else:
            call.hold = hold = Hold(call, self.budgets)
            try:
                await hold.reserve(call.candidates[0])
            except BaseException:
                await hold.close()
                raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.call.hold is not None:
            await self.call.hold.close()


async def allowed(call: Call, budgets: BudgetsSnapshot) -> None:
    """Raise BudgetExceeded where this call would be refused as things stand. Holds nothing and waits for nobody.

    For kept answers, and for whoever spends something on a call before it is `held`.
    """
    if call.caller is not None and call.candidates:
        await Hold(call, budgets).look(call.candidates[0])
