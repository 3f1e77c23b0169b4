"""The path of a call as a function, for evals: no HTTP, but the same budgets, limits, redaction, record and cost."""

import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from gateway.configuration import current
from gateway.core.call import Call, Caller
from gateway.core.errors import GatewayError, Unavailable
from gateway.core.ids import new_id
from gateway.edge.app import fill
from gateway.edge.endpoints import FORMS
from gateway.pipeline import answer
from gateway.redaction.finder import PERSONAL, Rules, finder
from tenants.compiler import workspace_view
from tenants.models import Workspace
from tenants.snapshot import KeyView

FORM = FORMS["/v1/chat/completions"]


@dataclass(frozen=True, slots=True)
class Completion:
    """What came of a call. With a `code` there is no answer, and `error` says why; `retry_after` in seconds."""

    call_id: str
    text: str = ""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    finish: str = ""
    model: str = ""
    provider: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanos: int = 0
    ms: float = 0.0
    personal: Sequence[str] = field(default=())
    code: str = ""
    error: str = ""
    retry_after: float | None = None


async def complete(*, workspace: Workspace, name: str, body: Mapping[str, Any]) -> Completion:
    """Ask as a caller of this workspace would, with a chat completion's body, call controls included.

    name   stands as the key in the record, in limits and in budgets of keys; no key of the workspace is used

    Needs a running configuration. Never raises for a call that fails.
    """
    call = Call(id=new_id(), form=FORM, body={})
    caller = Caller(workspace_id=str(workspace.pk), workspace=workspace.name, key_id=name, key=name)
    call.key = KeyView(caller=caller, workspace=workspace_view(workspace))
    try:
        config = current.current
        if config is None:
            raise Unavailable("The gateway has no configuration yet.")
        fill(call, dict(body))
        async with aclosing(answer(call, config)) as deltas:
            pieces = [delta async for delta in deltas]
        said = json.loads(call.form.whole(call, pieces[-1]))
    except GatewayError as error:
        wait = error.headers.get("retry-after", "")
        return told(call, code=error.code, error=error.message[:500], retry_after=float(wait) if wait else None)
    choice = (said.get("choices") or [{}])[0]
    message = choice.get("message") or {}
    text = message.get("content") or message.get("refusal") or ""
    return told(
        call,
        text=text,
        tool_calls=message.get("tool_calls") or (),
        finish=choice.get("finish_reason") or "",
        personal=sorted({span.kind for span in finder(Rules(PERSONAL)).find(text)}),
    )


def told(call: Call, **more: Any) -> Completion:
    """The completion with what the call knows of itself."""
    target = call.attempts[-1].target if call.attempts else None
    return Completion(
        call_id=call.id,
        model=target.model if target is not None else "",
        provider=target.provider if target is not None else "",
        input_tokens=call.usage.input,
        output_tokens=call.usage.output,
        cost_nanos=call.cost_nanos,
        ms=round(call.elapsed * 1000, 3),
        **more,
    )
