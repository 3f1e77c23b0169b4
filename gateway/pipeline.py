"""The path of a call, top to bottom. Nothing else decides the order of its stages."""

import asyncio
from collections.abc import AsyncGenerator

import audit.stage as audit
import budgets.stage as budgets
import evals.stage as evals
import gateway.caching.stage as caching
import gateway.redaction.stage as redaction
import gateway.routing.stage as routing
import prompts.stage as prompts
import tenants.stage as tenants
from gateway.configuration import Configuration
from gateway.core.aside import LONG_CHARACTERS, PIECE_CHARACTERS, aside
from gateway.core.call import Call, Delta


async def answer(call: Call, config: Configuration) -> AsyncGenerator[Delta]:
    """Carry one call through the gateway and yield its answer.

    Close the generator (contextlib.aclosing) as soon as the client is gone: closing it is what hangs up on the
    provider, settles the budgets and writes the record. Raises GatewayError only; the first may come after deltas.
    """
    async with (
        audit.recording(call, config.audit),  # out: writes the record
        redaction.sealed(call, config.routes),  # out: masks what the record keeps
    ):
        call.caller = tenants.authenticate(call, config.tenants)
        call.check()
        async with tenants.admitted(call, config.tenants):  # out: gives back the place
            prompts.render(call, config.prompts)
            await evals.screen(call, config.evals)
            await redaction.mask(call, config.routes)
            routing.choose(call, config.routes)
            async with (
                caching.shared(call, config.routes, config.budgets, config.audit),  # in: finds an answer; out: keeps it
                budgets.held(call, config.budgets),  # out: settles what was used
                routing.opened(call, config.routes) as deltas,  # out: hangs up
            ):
                async for delta in deltas:
                    call.note(delta)
                    yield delta if call.vault is None and call.watch is None else await seen(call, delta)
                await evals.conclude(call)
                for delta in redaction.rest(call):
                    yield delta


async def seen(call: Call, delta: Delta) -> Delta:
    """A piece of the answer as the caller may see it: with its originals, and looked at by the guardrails.

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
