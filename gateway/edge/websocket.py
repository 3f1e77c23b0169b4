"""Chat completions over a websocket: many calls at once on one connection.

    {"id": "a", "model": …, "messages": …}   starts a call; every other field is a chat completion's, always streamed
    {"id": "a", "cancel": true}              stops it

    {"id": "a", "event": …}                  a chunk of the answer; "[DONE]" at its end, {"error": …} where it broke off

A call without an `id` is answered with the events themselves, one a message: for clients that ask one thing at a time.

A call is the same as over HTTP in every other way: checked, limited, counted and recorded. The key stands in the
handshake's headers.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from gateway.configuration import Configuration
from gateway.core.call import Call
from gateway.core.errors import GatewayError, InvalidRequest, RateLimited, TooLarge, Unauthenticated, Unavailable
from gateway.core.ids import new_id
from gateway.core.running import names_of
from gateway.core.sse import Splitter
from gateway.edge.answer import reply
from gateway.edge.app import Edge, InternalError, fill, placed, shutting_down
from gateway.edge.errors import encode_openai_error
from gateway.edge.reply import Send
from gateway.edge.request import Receive, Scope, headers_of, json_object, peer_of, secret_of
from tenants.stage import find_key

log = logging.getLogger(__name__)

PATH = "/v1/chat/completions"
CALLS_MOST = 64  # at once on one connection
LONGEST_ID = 128
DONE = b"[DONE]"
POLICY_VIOLATION = 1008


class Cancelled(GatewayError):
    """The client stopped the call itself."""

    status = 499
    code = "cancelled"
    type = "invalid_request_error"
    hint = "Nothing: the call was stopped by its client."


class Sockets:
    """The websocket side of the edge, as an ASGI app for connections to PATH."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        try:
            connection = self.opened(scope, send)
        except GatewayError as error:
            await refuse(scope, send, error)
            return
        await send({"type": "websocket.accept"})
        await connection.run(receive)

    def opened(self, scope: Scope, send: Send) -> "Connection":
        """The connection, if its key opens anything. Raises GatewayError; each call checks the key again."""
        if self.edge.draining:
            raise shutting_down()
        config = self.edge.current.current
        if config is None:
            raise Unavailable("The gateway is starting.", headers={"retry-after": "1"})
        headers = headers_of(scope)
        secret = secret_of(headers)
        if find_key(secret, config.tenants) is None:
            raise Unauthenticated("This API key is not known.")
        peer = peer_of(scope, headers, self.edge.trusted_hops)
        return Connection(self.edge, send, lambda: start(self.edge, secret, peer, headers))


def start(edge: Edge, secret: str, peer: str, headers: dict[str, str]) -> Call:
    """A call that is still without its body."""
    return Call(new_id(), edge.forms[PATH], {}, secret=secret, peer=peer, headers=headers)


async def refuse(scope: Scope, send: Send, error: GatewayError) -> None:
    """Refuse the handshake: with the error where the server lets an app answer it, else by closing."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return
    head = [(b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": head})
    await send({"type": "websocket.http.response.body", "body": encode_openai_error(error)})


class Connection:
    """One client and the calls that it has under way, by their ids."""

    def __init__(self, edge: Edge, send: Send, start: Callable[[], Call]) -> None:
        self.edge, self._send, self._start = edge, send, start
        self._lock = asyncio.Lock()
        self._answers: dict[Any, Answer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.left = False

    async def run(self, receive: Receive) -> None:
        """Take requests until the client leaves, then let every call end as when a client leaves over HTTP."""
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                break
            if message["type"] == "websocket.receive":
                await self._take(message.get("text") or message.get("bytes") or b"")
        self.left = True
        for answer in self._answers.values():
            answer.leave()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, text: str | bytes) -> None:
        """Start or stop a call. What can't be read is answered with an error under its id, or under null."""
        raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        identity: Any = None
        try:
            if len(raw) > self.edge.most_bytes:
                raise TooLarge(f"The message has {len(raw)} bytes; {self.edge.most_bytes} are allowed.")
            body = json_object(raw)
            stops = body.pop("cancel", None) is True
            identity = identity_of(body.pop("id", None)) if stops or "id" in body else Unnamed()
            if stops:
                await self._cancel(identity)
            else:
                self._begin(identity, body)
        except GatewayError as error:
            await self.say(identity, encode_openai_error(error))

    async def _cancel(self, identity: Any) -> None:
        """Stop a call, if it is under way. Its end is said at once; what it cost may be known a little later."""
        answer = self._answers.pop(identity, None)
        if answer is not None:
            answer.leave()
            await self.say(identity, encode_openai_error(Cancelled("The call was stopped.")))

    def _begin(self, identity: Any, body: dict[str, Any]) -> None:
        config = self.edge.current.current
        if config is None:
            raise Unavailable("The gateway is starting.")
        if identity in self._answers:
            raise InvalidRequest("A call with this id is under way on this connection.", param="id")
        if len(self._answers) >= CALLS_MOST:
            raise RateLimited(f"This connection has {CALLS_MOST} calls under way already.")
        answer = Answer(self, identity, self._start())
        self._answers[identity] = answer
        task = asyncio.get_running_loop().create_task(self._answer(answer, body, config))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, answer: "Answer", body: dict[str, Any], config: Configuration) -> None:
        self.edge.in_flight += 1
        try:
            await answer.run(body, config)
        except GatewayError as error:  # shed
            await answer.say(encode_openai_error(error))
        except Exception:
            log.exception("call %s failed by our own mistake", answer.call.id, extra=names_of(answer.call))
            await answer.say(encode_openai_error(InternalError("The gateway made a mistake.")))
        finally:
            self.edge.in_flight -= 1
            if self._answers.get(answer.identity) is answer:
                del self._answers[answer.identity]

    async def say(self, identity: Any, event: bytes) -> None:
        """One event, as a message. `event` is JSON already."""
        if self.left:
            return
        text = event
        if not isinstance(identity, Unnamed):
            head = msgspec.json.encode(identity)
            text = b'{"id":%b,"event":%b}' % (head, b'"[DONE]"' if event == DONE else event)
        async with self._lock:
            await self._send({"type": "websocket.send", "text": text.decode("utf-8", "replace")})


class Unnamed:
    """Stands for the `id` of a call that has none."""


def identity_of(value: Any) -> str | int:
    if isinstance(value, bool) or not isinstance(value, (str, int)) or len(str(value)) > LONGEST_ID:
        raise InvalidRequest(
            "The message must hold an `id`, a short text or a number, that names the call.", param="id"
        )
    return value


class Answer:
    """One call's answer: what HTTP would have been sent becomes messages."""

    def __init__(self, connection: Connection, identity: Any, call: Call) -> None:
        self.connection, self.identity, self.call = connection, identity, call
        self._splitter = Splitter()
        self._left = asyncio.get_running_loop().create_future()
        self._is_stream = False
        self._error = bytearray()

    async def run(self, body: dict[str, Any], config: Configuration) -> None:
        call, edge = self.call, self.connection.edge
        try:
            call.key = find_key(call.secret, config.tenants)
            fill(call, {**body, "stream": True})
        except GatewayError as error:
            call.refusal = error  # raised on the path, so that a refused call has its record too
        if call.key is None:
            await reply(call, config, self._receive, self._send)
            return
        async with placed(edge, call, config):
            await reply(call, config, self._receive, self._send)

    def leave(self) -> None:
        """The call is not wanted any more."""
        if not self._left.done():
            self._left.set_result(None)

    async def say(self, event: bytes) -> None:
        """One event of the answer, unless the call was stopped."""
        if not self._left.done():
            await self.connection.say(self.identity, event)

    async def _receive(self) -> dict[str, Any]:
        await asyncio.shield(self._left)
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._is_stream = message["status"] == 200
            return
        data: bytes = message.get("body", b"")
        if self._is_stream:
            for _, _, event in self._splitter.feed(data):
                if event:
                    await self.say(event)
            return
        self._error += data
        if not message.get("more_body"):
            await self.say(bytes(self._error))
