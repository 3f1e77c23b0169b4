"""uvicorn's HTTP protocol with limits for clients that send slowly, or more headers than any honest one.

head    complete within 10 s and at most 64 KiB in 100 lines: 408, 431
body    complete within 30 s, or for as long as it comes at 1 KiB a second: 408

A request that comes in one piece, as nearly all do, sets no timer and is not measured.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MOST = 64 * 1024
HEADERS_MOST = 100

DONE, HEAD, BODY = 0, 1, 2
STATUS = {408: b"Request Timeout", 431: b"Request Header Fields Too Large"}
ERROR = (
    b'{"error":{"message":"%b","type":"invalid_request_error","code":"%b","param":null,"hint":"%b"}}'  # OpenAI's shape
)
ANSWERS = {
    408: ERROR % (b"The request did not come in time.", b"request_timeout", b"Send it faster, or in smaller pieces."),
    431: ERROR % (b"The request's headers are too large.", b"headers_too_large", b"Send fewer or shorter headers."),
}


class TooManyHeaders(Exception):
    """Ends the parsing; the parser's caller answers."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    head_seconds = 10.0
    body_seconds = 30.0
    body_bytes_a_second = 1024

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._part = DONE  # which part of a request is being read
        self._timed = DONE  # which part `_since` and `_bytes` are about
        self._since = 0.0
        self._bytes = 0
        self._chunk = 0
        self._is_new = True  # nothing came yet
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        self._timer = self.loop.call_later(self.head_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._chunk = len(data)
        self._is_new = False
        super().data_received(data)
        if self._part != DONE:
            self._measure(len(data))
        elif self._timer is not None:
            self._rest()

    # --- what the parser tells ---------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._part = HEAD
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._part = BODY
        headers = self.headers
        if len(headers) > HEADERS_MOST or (
            self._chunk + self._bytes > HEAD_BYTES_MOST
            and sum(len(name) + len(value) for name, value in headers) + len(self.url) > HEAD_BYTES_MOST
        ):
            raise TooManyHeaders
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._part, self._timed, self._bytes = DONE, DONE, 0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._part = DONE
        self._rest()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Also called for what our own callbacks raise."""
        too_many = self._part == BODY and len(self.headers) and self.cycle_is_another()
        self._part = DONE
        if too_many:
            self._refuse(431)
        else:
            super().send_400_response(msg)

    def cycle_is_another(self) -> bool:
        """Whether no answer was begun for the headers that were just read: they were refused."""
        return self.cycle is None or self.cycle.scope is not self.scope

    # --- slow clients ------------------------------------------------------------------------------------

    def _measure(self, size: int) -> None:
        """Part of a request is missing: see to it that it comes."""
        if self._timed != self._part:
            self._timed, self._since, self._bytes = self._part, self.loop.time(), 0
            self._rest()
        self._bytes += size
        if self._part == HEAD and self._bytes > HEAD_BYTES_MOST:
            self._refuse(431)
        elif self._timer is None:
            self._timer = self.loop.call_at(self._due(), self._look)

    def _due(self) -> float:
        if self._part == BODY:
            return self._since + max(self.body_seconds, self._bytes / self.body_bytes_a_second)
        return self._since + self.head_seconds

    def _look(self) -> None:
        self._timer = None
        if self._is_new:
            self.transport.close()  # e.g. a browser's connection in advance: there is nothing to answer
            return
        if self._part == DONE:
            return
        now, due = self.loop.time(), self._due()
        if self.flow.read_paused:
            self._since += max(0.0, now - due) + 1.0  # it is we who don't read
            due = now + 1.0
        if now < due:
            self._timer = self.loop.call_at(due, self._look)
        else:
            self._refuse(408)

    def _rest(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _refuse(self, status: int) -> None:
        """Answer for the app, unless it has begun to, and hang up."""
        self._part = DONE
        self._rest()
        if self.cycle_is_another() or not self.cycle.response_started:
            body = ANSWERS[status]
            head = (
                b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head % (status, STATUS[status], len(body)) + body)
        self.transport.close()
