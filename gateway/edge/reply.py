"""What is written to the client: heads, whole answers, errors."""

from collections.abc import Awaitable, Callable
from typing import Any

from gateway.core.call import Call
from gateway.core.errors import GatewayError
from gateway.core.money import dollars

Send = Callable[[dict[str, Any]], Awaitable[None]]
Head = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
SSE = (b"content-type", b"text/event-stream; charset=utf-8")


def head_of(call: Call, *, settled: bool) -> Head:
    """The contract's headers for this call. `settled` says that its cost is final; in a stream it is not yet."""
    head: Head = [(b"x-request-id", call.id.encode())]
    if target := call.attempts[-1].target if call.attempts else call.hit:
        head.append((b"x-tollgate-provider", target.provider.encode()))
        head.append((b"x-tollgate-model", target.model.encode()))
    head.append((b"x-tollgate-attempts", b"%d" % len(call.attempts)))
    if settled:
        head.append((b"x-tollgate-cost-usd", dollars(call.cost_nanos).encode()))
    if call.cache:
        head.append((b"x-tollgate-cache", call.cache.encode()))
    if call.prompt:
        head.append((b"x-tollgate-prompt", call.prompt.encode()))
    if call.experiment:
        head.append((b"x-tollgate-experiment", call.experiment.encode()))
    if call.redacted:
        head.append((b"x-tollgate-redacted", b"%d" % call.redacted))
    head += [(name.encode(), value.encode("latin-1", "replace")) for name, value in call.reply_headers.items()]
    own_ms = (call.elapsed - call.upstream_seconds) * 1000
    head.append((b"server-timing", b"gateway;dur=%.3f, upstream;dur=%.3f" % (own_ms, call.upstream_seconds * 1000)))
    return head


async def send_whole(send: Send, status: int, head: Head, body: bytes) -> None:
    head.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, call: Call, error: GatewayError) -> None:
    """The error in the caller's form, with the headers that say what to do next."""
    head = head_of(call, settled=True)
    head.append(JSON)
    for name, value in error.headers.items():
        if name not in call.reply_headers:
            head.append((name.encode(), value.encode("latin-1", "replace")))
    await send_whole(send, error.status, head, call.form.error(error, call.id))
