"""HTTP/1.1 without TLS on the event loop's own sockets: a fifth of what a call to an http:// provider costs otherwise.

What is known of an answer lives in its `Exchange` alone, which is made for one request and never used again, so that
nothing of one answer can be taken for the next. A connection is used again only when its answer came to its own end,
with nothing behind it; whatever comes while nobody asked closes it.
"""

import asyncio
import select
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import lru_cache
from typing import cast

import httptools
from pyreqwest.http import Url

from gateway.core.errors import UpstreamUnavailable
from gateway.providers.base import Outgoing

IDLE_SECONDS = 30.0  # after that long unused a connection is closed
UNREAD_BYTES_MOST = 256 * 1024  # of an answer that nobody reads; then the provider has to wait
HEAD_BYTES_MOST = 256 * 1024
OWN_HEADERS = "accept: */*\r\nuser-agent: tollgate\r\n"


class PlainClient:
    """Connections to one checked address of one http:// origin.

    place  (host, address, port): the host is what the requests name, with its port unless that is 80
    home   the event loop on which connections are kept for the next request; on any other each is used once
    """

    __slots__ = ("address", "connect_seconds", "home", "host", "idle", "port")

    def __init__(
        self, place: tuple[str, str, int], connect_seconds: float, home: asyncio.AbstractEventLoop | None
    ) -> None:
        self.host, self.address, self.port = place
        self.connect_seconds, self.home = connect_seconds, home
        self.idle: list[Connection] = []  # the one that was used last is the last

    async def open(self, outgoing: Outgoing, pieces: AsyncGenerator[bytes] | None) -> "Exchange":
        """Send the request and wait for the answer's head. `pieces` are its body, where that is not there whole.

        Raises UpstreamUnavailable: connect, bad_answer. Cancelled, it hangs up.
        """
        head = head_of(outgoing, self.host, None if pieces is not None else len(outgoing.body))
        connection = self._unused() or await self._connected()
        exchange = Exchange(self, connection)
        try:
            if pieces is None:
                connection.transport.write(head + outgoing.body)
                exchange.is_sent = True
            else:
                connection.transport.write(head)
                exchange.is_sent = await connection.send(pieces)
            await exchange.head()
        except BaseException:
            exchange.close()
            raise
        return exchange

    def _unused(self) -> "Connection | None":
        idle, home = self.idle, self.home
        if idle and asyncio.get_running_loop() is not home:
            return None
        while idle:
            connection = idle.pop()
            if connection.is_usable():
                return connection
            connection.transport.abort()
        return None

    async def _connected(self) -> "Connection":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.connect_seconds):
                _, connection = await loop.create_connection(Connection, self.address, self.port)
        except TimeoutError:
            raise UpstreamUnavailable("no connection in time", kind="connect", sent=False) from None
        except OSError as error:
            why = error.strerror or "the address can't be reached"
            raise UpstreamUnavailable(f"no connection: {why}", kind="connect", sent=False) from None
        return connection

    def take_back(self, connection: "Connection") -> None:
        """Keep a connection for the next request, and close those that nobody used for long."""
        if connection.loop is not self.home:
            connection.transport.abort()
            return
        now = connection.since = connection.loop.time()
        self.idle.append(connection)
        while self.idle[0].is_lost or now - self.idle[0].since > IDLE_SECONDS:
            self.idle.pop(0).transport.abort()

    def close(self) -> None:
        """Close what is not used. On its own event loop."""
        while self.idle:
            self.idle.pop().transport.abort()


class Connection(asyncio.Protocol):
    """One socket. `exchange` is what it is used for now, None while it is not used."""

    __slots__ = ("_may_write", "_poll", "exchange", "is_lost", "loop", "since", "transport")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.exchange: Exchange | None = None
        self.is_lost = False
        self.since = 0.0
        self.transport: asyncio.Transport
        self._may_write: asyncio.Future[None] | None = None  # there while the provider does not take what we send

    def is_usable(self) -> bool:
        """Whether the provider has not hung up, nor sent anything, that the event loop has not seen yet."""
        if self.is_lost or self.transport.is_closing():
            return False
        return self.loop.time() - self.since < IDLE_SECONDS and not self._poll.poll(0)

    async def send(self, pieces: AsyncGenerator[bytes]) -> bool:
        """Write a body of unknown length, no faster than it is taken; whether all of it was. An answer that comes
        meanwhile ends that.
        """
        async with aclosing(pieces):
            async for piece in pieces:
                if self.is_lost or (self.exchange is not None and self.exchange.has_head):
                    return False
                if piece:
                    self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                if self._may_write is not None:
                    await asyncio.shield(self._may_write)
        self.transport.write(b"0\r\n\r\n")
        return True

    # --- what the event loop calls -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if self.exchange is None:
            self.transport.abort()  # nobody asked
        else:
            self.exchange.feed(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        self.resume_writing()
        if self.exchange is not None:
            self.exchange.lost(error)

    def pause_writing(self) -> None:
        self._may_write = self.loop.create_future()

    def resume_writing(self) -> None:
        if self._may_write is not None:
            self._may_write.set_result(None)
            self._may_write = None


class Exchange:
    """One request under way and its answer. `status` and `headers` are there once `head` has returned.

    Its own methods are `head`, `read` and `close`; the others are called by the parser and the connection.
    """

    __slots__ = (
        "_client",
        "_connection",
        "_error",
        "_is_done",
        "_is_open_ended",
        "_is_paused",
        "_is_reusable",
        "_parser",
        "_pieces",
        "_size",
        "_waiter",
        "has_head",
        "headers",
        "is_sent",
        "status",
    )

    def __init__(self, client: PlainClient, connection: Connection) -> None:
        self._client, self._connection = client, connection
        connection.exchange = self
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self.status = 0
        self.headers: dict[str, str] = {}
        self.has_head = self.is_sent = False
        self._pieces: list[bytes] = []
        self._size = 0  # bytes of the head while that comes, then of the pieces that nobody has read
        self._is_done = self._is_open_ended = self._is_paused = self._is_reusable = False
        self._error: UpstreamUnavailable | None = None
        self._waiter: asyncio.Future[None] | None = None
        if connection.is_lost:
            self.lost(None)

    async def head(self) -> None:
        """Wait for the answer's head. Raises UpstreamUnavailable."""
        while not self.has_head:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def read(self) -> bytes | None:
        """All of the body that is there, or the next to come; None at its end. Raises UpstreamUnavailable."""
        pieces = self._pieces
        while not pieces:
            if self._is_done:
                return None
            if self._error is not None:
                raise self._error
            await self._wait()
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size = 0
        if self._is_paused:
            self._is_paused = False
            self._connection.transport.resume_reading()
        return data

    def close(self) -> None:
        """The answer is not wanted any longer: give the connection back where it came to its end, else hang up."""
        connection = self._connection
        if connection.exchange is not self:
            return
        connection.exchange = None
        self._parser = None  # it knows this exchange: together they would wait for the collector of cycles
        transport = connection.transport
        if self._is_reusable and self.is_sent and not connection.is_lost and transport.get_write_buffer_size() == 0:
            if self._is_paused:
                transport.resume_reading()
            self._client.take_back(connection)
        else:
            transport.abort()

    async def _wait(self) -> None:
        self._waiter = self._connection.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- what the connection calls -----------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        assert self._parser is not None, "a connection feeds its own exchange, which is not closed"
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("the provider's answer is no HTTP/1.1")
        if not self.has_head and self._size > HEAD_BYTES_MOST:
            self._fail("the head of the provider's answer is too long")
        if self._size > UNREAD_BYTES_MOST and not self._is_paused and not self._is_done:
            self._is_paused = True
            self._connection.transport.pause_reading()
        self._wake()

    def lost(self, error: Exception | None) -> None:
        """The connection has ended: where nothing said how long the answer is, so has the answer."""
        if self._is_open_ended and error is None:
            self._is_done = True
        elif self.has_head:
            self._fail("the provider's answer broke off")
        elif self._error is None:
            self._error = UpstreamUnavailable("the connection broke before an answer came", kind="connect")
        self._is_reusable = False
        self._wake()

    def _fail(self, why: str) -> None:
        self._is_reusable = False
        if self._error is None and not self._is_done:
            self._error = UpstreamUnavailable(why, kind="bad_answer")

    # --- what the parser calls ---------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_done:  # a second answer to one question
            self._is_reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        key, told = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {told}" if key in self.headers else told

    def on_headers_complete(self) -> None:
        if self._is_done:
            return
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 200:
            return  # only says that the answer will come
        coding = self.headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            self._fail("the provider's answer is coded in a way that nobody asked for")
            return
        self.status, self.has_head, self._size = status, True, 0
        is_empty = status in (204, 304)
        self._is_open_ended = coding is None and "content-length" not in self.headers and not is_empty
        self._connection.resume_writing()  # who still sends the request need not go on

    def on_body(self, data: bytes) -> None:
        if not self._is_done:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        if not self.has_head:
            self.headers.clear()
        elif not self._is_done:
            assert self._parser is not None
            self._is_done = True
            self._is_reusable = self._error is None and self._parser.should_keep_alive()


def head_of(outgoing: Outgoing, host: str, length: int | None) -> bytes:
    """The request's head; a `length` of None says that its body comes in chunks.

    Raises UpstreamUnavailable (nothing was sent) where a header can't be written as what it is.
    """
    lines = [f"{name}: {value}\r\n" for name, value in outgoing.headers.items()]
    told = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    target = target_of(outgoing.url)
    head = f"{outgoing.method} {target} HTTP/1.1\r\nhost: {host}\r\n{OWN_HEADERS}{''.join(lines)}{told}\r\n\r\n"
    # Our own ends of lines only, and nothing that two readers would read differently.
    if head.count("\n") != len(lines) + 6 or head.count("\r") != len(lines) + 6 or "\0" in head or not head.isascii():
        raise UpstreamUnavailable("the provider's URL or credential can't be sent", kind="connect", sent=False)
    return head.encode("ascii")


@lru_cache(maxsize=4096)
def target_of(url: str) -> str:
    """What a request line asks for: the URL's path and query, as the other client would write them."""
    parsed = Url(url)
    query = parsed.query_string
    return f"{parsed.path}?{query}" if query else str(parsed.path)
