"""The request that goes to one target: in which form, and with how much output allowed."""

from typing import Any

from gateway.core.call import Call, Target
from gateway.core.errors import Unsupported, UpstreamError
from gateway.providers import speaks
from gateway.providers.base import Outgoing
from gateway.providers.capabilities import rules_out
from gateway.providers.fields import outgoing
from gateway.routing.plan import Step

LIMITS = {  # where a form says how much may be written; the last one is what every server knows
    "chat": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
}
NEWEST_LIMIT = frozenset({"openai", "azure_openai"})  # who want the newer name where both would do


def encode(
    call: Call, step: Step, target: Target, output: int | None = None, given: dict[str, Any] | None = None
) -> Outgoing | UpstreamError:
    """The request for this target: in the caller's form where the target speaks it, else in the canonical one.

    `output`: the output tokens that budgets allow for one choice; None where nothing bounds it. `given`: a canonical body
    to send in place of the call's own.
    An UpstreamError instead says why none can be written now (a broken credential, no access token yet): the attempt
    ends with it before anything is sent. Raises Unsupported where the target can't be asked this, naming the field.
    """
    form, body = call.form.name, call.body if given is None else given
    if (why := rules_out(body, target)) is not None:
        raise Unsupported(f"{why}.", param="model")
    if not speaks(target, form):
        form, body = "chat", call.canonical() if given is None else given
    elif form == "messages" and (beta := call.headers.get("anthropic-beta")):
        body = {"anthropic_beta": beta, **body}
    if output is not None:
        body = bounded(body, form, target, output)
    drop = call.controls.drop_unsupported
    try:
        return outgoing(step.adapter, body, form, target, stream=call.stream, drop_unsupported=drop)[0]
    except UpstreamError as error:
        return error


async def allowed_output(hold: Any, target: Target) -> int | None:
    """Move the call's hold to this target; the output tokens that it pays for, None where no budget bounds them."""
    output: int | None = await hold.move(target)
    return output if hold.plan is None or hold.plan.asks or hold.plan.call_caps else None


def bounded(body: dict[str, Any], form: str, target: Target, output: int) -> dict[str, Any]:
    """The body with its limit of output no higher than `output`; the same body where it is not."""
    fields = LIMITS.get(form)
    if fields is None:
        return body
    for field in fields:
        if (asked := body.get(field)) is not None:
            return body if asked <= output else {**body, field: output}
    own = target.kind in NEWEST_LIMIT and form == "chat"
    return {**body, fields[0] if own else fields[-1]: output}
