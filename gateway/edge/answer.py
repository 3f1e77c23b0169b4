"""One call over HTTP: from its parsed body to the last byte of its answer."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from gateway.configuration import Configuration
from gateway.core.call import Call
from gateway.core.errors import GatewayError
from gateway.core.forms import Writer
from gateway.edge.audio import EVENTS, PieceWriter, media_type
from gateway.edge.leaving import Listener
from gateway.edge.reply import SSE, Head, Send, head_of, send_error, send_whole
from gateway.edge.request import Receive
from gateway.pipeline import answer

KEEP_ALIVE_S = 15.0
STALL_S = 20.0  # how long a client may take nothing of what is written to it
COMMENT = b": keep-alive\n\n"
TOGETHER_BYTES = 64 * 1024  # of events that came together and are sent together


async def reply(call: Call, config: Configuration, receive: Receive, send: Send) -> None:
    """Answer the call. Whatever goes wrong, the client is told in its own form, or has left."""
    listener = Listener(call, receive)
    try:
        if call.upload is not None:
            call.upload.on_gone = listener.hang_up
        if call.in_pieces:
            await Streaming(call, send, listener.hang_up).run(config)
        else:
            await whole(call, config, send)
    except GatewayError as error:
        if not call.left:
            await send_error(send, call, error)
    except asyncio.CancelledError:
        if not listener.ended_call():
            raise
    finally:
        listener.stop()


async def whole(call: Call, config: Configuration, send: Send) -> None:
    """An answer in one piece. The record is written when the path is left, so before the first byte goes out."""
    body = b""
    async with aclosing(answer(call, config)) as deltas:
        async for delta in deltas:
            try:
                body = call.form.whole(call, delta)
            except Exception as error:  # nothing that this caller can read: the path ends by it, and so does the record
                await deltas.athrow(error)
                raise
    head = head_of(call, settled=True)
    head.append((b"content-type", media_type(call)))
    await send_whole(send, 200, head, body)


class Streaming:
    """An answer in events. The head goes out with the first of them, so that an error before it has its own status."""

    def __init__(self, call: Call, send: Send, hang_up: Callable[[], None]) -> None:
        self.call, self.send, self._hang_up = call, send, hang_up
        self.started = False
        self.writer: Writer = call.form.writer(call)
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(KEEP_ALIVE_S, self._silent)
        self._wrote = self._loop.time()
        self._writing = False
        self._comment: asyncio.Task[None] | None = None
        self._held = b""  # events that go out with the next one, which is there already
        self._may_comment = not isinstance(self.writer, PieceWriter)  # until it is known what the answer is

    async def run(self, config: Configuration) -> None:
        call, writer = self.call, self.writer
        try:
            async with aclosing(answer(call, config)) as deltas:
                async for delta in deltas:
                    try:
                        data = writer.delta(delta)
                    except Exception as error:  # as in `whole`
                        await deltas.athrow(error)
                        raise
                    if self._held:
                        data, self._held = self._held + data, b""
                    if call.at_hand and len(data) < TOGETHER_BYTES:
                        self._held = data  # nothing is waited for until the next piece
                    elif data and not call.left:
                        await self.write(data)
            if not call.left:
                await self.write(self._held + writer.end(), more=False)  # the record is written, the cost is final
        except GatewayError as error:
            if self._held:
                await self.write(self._held)
            if not self.started:
                raise
            if data := writer.error(error):
                await self.write(data, more=False)
            # Without such words the answer is left unended: the server cuts the connection, so nothing looks complete.
        finally:
            self._timer.cancel()

    async def write(self, data: bytes, *, more: bool = True) -> None:
        if not self.started:
            self.started = True
            head = self.head(None if more else len(data))
            await self.send({"type": "http.response.start", "status": 200, "headers": head})
        self._wrote, self._writing = self._loop.time(), True
        await self.send({"type": "http.response.body", "body": data, "more_body": more})
        self._writing = False

    def kind(self) -> bytes:
        return media_type(self.call) if isinstance(self.writer, PieceWriter) else SSE[1]

    def head(self, whole_bytes: int | None) -> Head:
        """The head of an answer of so many bytes, or of one whose end has not come yet."""
        kind = self.kind()
        self._may_comment = kind.startswith(EVENTS)
        head = [(b"content-type", kind), (b"cache-control", b"no-cache")]
        head += head_of(self.call, settled=whole_bytes is not None)
        length = self.call.answer_bytes if whole_bytes is None and not self._may_comment else whole_bytes
        if length is not None:
            head.append((b"content-length", b"%d" % length))
        return head

    def _silent(self) -> None:
        """Called every so often: proxies between us and the client cut connections that are silent for long.

        A client that takes nothing for long is hung up on: it holds a place, and a provider that waits with it.
        """
        if self._writing:
            stalled_at = self._wrote + STALL_S
            if self._loop.time() >= stalled_at:
                self._hang_up()
            else:
                self._timer = self._loop.call_at(stalled_at, self._silent)
            return
        due = self._wrote + KEEP_ALIVE_S
        if self._loop.time() >= due:
            if self._may_comment:
                self._comment = self._loop.create_task(self.write(COMMENT))
            due = self._loop.time() + KEEP_ALIVE_S
        self._timer = self._loop.call_at(due, self._silent)
