"""The path of a call, top to bottom. Nothing else decides the order of its stages."""

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
from gateway.core.call import Call, Delta
from gateway.seeing import seen


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
