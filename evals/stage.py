"""Is what goes in safe, and what comes out?"""

from evals.guardrails.running import screen_input, watch_for
from evals.snapshot import EvalsSnapshot
from gateway.core.aside import LONG_CHARACTERS, aside
from gateway.core.call import Call, Delta
from gateway.core.texts import is_long


async def screen(call: Call, evals: EvalsSnapshot) -> None:
    """Run the workspace's guardrails on what goes in, and make ready for the answer.

    A workspace without guardrails screens nothing. Raises Forbidden (guardrail_blocked). `call.guardrails` says of each
    guardrail whether it ran and what it found, never the text.
    """
    guards = evals.guardrails.get(call.caller.workspace_id, ()) if call.caller is not None else ()
    if not guards:
        return
    if is_long(call.body, 2 * LONG_CHARACTERS // (1 + len(guards))):
        await aside(screen_input, call, guards)
    else:
        screen_input(call, guards)
    call.watch = watch_for(call, guards)


def watch(call: Call, delta: Delta, shown: Delta) -> None:
    """Run the guardrails on a piece of the answer: as the provider said it (`delta`), and as the caller will see it.

    Raises Forbidden (guardrail_blocked) at the piece that completes what is blocked; that piece must not be shown.
    """
    if call.watch is not None:
        call.watch.see(delta, shown)


async def conclude(call: Call) -> None:
    """The answer is complete. Raises Forbidden (guardrail_blocked) where the whole of it is refused."""
    if call.watch is None:
        return
    if call.watch.kept > LONG_CHARACTERS:
        await aside(call.watch.end)
    else:
        call.watch.end()
