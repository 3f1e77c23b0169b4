"""What the caller may see of an answer: a piece with its originals put back, looked at by the guardrails."""

import asyncio

import evals.stage as evals
import gateway.redaction.stage as redaction
from gateway.core.aside import LONG_CHARACTERS, PIECE_CHARACTERS, aside
from gateway.core.call import Call, Delta


async def seen(call: Call, delta: Delta) -> Delta:
    """A piece of the answer as the caller may see it.

    The event loop is held for no more than some thousand characters: a long piece goes to a thread, and after many
    short ones the others have their turn. Raises Forbidden (guardrail_blocked).
    """
    size = len(delta.raw) if delta.raw is not None else 2 * (len(delta.text) + len(delta.hidden))
    looking = call.watch if call.watch is not None else call.vault
    size *= looking.times
    if size > LONG_CHARACTERS:
        return await aside(_seen_aside, call, delta)
    looking.looked += size + looking.again
    if looking.looked > PIECE_CHARACTERS:
        looking.looked = 0
        await asyncio.sleep(0)
    shown = redaction.restore(call, delta)
    if call.watch is not None:
        evals.watch(call, delta, shown)
    return shown


def _seen_aside(call: Call, delta: Delta) -> Delta:
    shown = redaction.restore(call, delta)
    evals.watch(call, delta, shown)
    return shown
