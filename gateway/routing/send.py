"""The one client that reaches providers. Two calls: `send` for a whole answer, `stream` for pieces.

https:// goes by pyreqwest (https.py), http:// by the event loop's own sockets (http1.py). No redirects, no proxies from
the environment, no decompression: `accept-encoding: identity` goes out and a compressed answer is refused, so that a
small answer can't become a large one here. A host's name is resolved and checked by core.egress and the connection is
pinned to the checked address.

One timer watches an attempt however many pieces come. It counts only while we wait for the provider, so a slow reader
on our side never looks like a silent provider.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Protocol

import msgspec

from gateway.core.errors import GatewayError, UpstreamError, UpstreamUnavailable
from gateway.providers.base import Outgoing
from gateway.routing.health import Health
from gateway.routing.pinned import Client, Exchange, Pinned
from gateway.snapshot import Timeouts

LARGEST_ANSWER_BYTES = 32 * 1024 * 1024
LARGEST_ERROR_BYTES = 1024 * 1024
UPLOAD_CHECK_SECONDS = 1.0

# A transport in this process: (request) -> status, headers, pieces of the body. The demo provider is one.
Respond = Callable[[Outgoing], Awaitable[tuple[int, Mapping[str, str], AsyncIterator[bytes]]]]


class Upload(Protocol):
    """A part of a request's body that is sent while it still comes; see edge.uploads.Upload."""

    @property
    def waiting(self) -> bool:
        """Whether its sender is being waited for."""
        ...

    @property
    def fields(self) -> Mapping[str, Any]:
        """What came after it, once it has ended."""
        ...

    def pieces(self) -> AsyncIterator[bytes]: ...


class Answer(msgspec.Struct):
    """A whole answer, whatever its status below 300 or above 399."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Upstream:
    """Reaches providers. One for a process and an event loop; holds the connections.

    in_process   transports by a target's kind, for providers that live in this process
    home         the event loop that serves calls: on it connections to http:// providers are kept for the next call
    """

    def __init__(self, in_process: Mapping[str, Respond] | None = None) -> None:
        self._in_process = dict(in_process or {})
        self._clients: dict[tuple[str, float], Pinned] = {}
        self.home: asyncio.AbstractEventLoop | None = None
        self.health = Health()
        self._open: set[Streaming] = set()
        self._stopped: GatewayError | None = None

    async def send(
        self, outgoing: Outgoing, timeouts: Timeouts, kind: str = "", upload: Upload | None = None
    ) -> Answer:
        """Send and read the whole answer, at most 32 MiB. `upload` is sent as it comes, after the request's body.

        Raises UpstreamUnavailable: connect (nothing or nothing useful came back), timeout, bad_answer.
        """
        async with self.stream(outgoing, timeouts, kind, upload) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    def stream(
        self, outgoing: Outgoing, timeouts: Timeouts, kind: str = "", upload: Upload | None = None
    ) -> "Streaming":
        """Send and read piece by piece: `async with upstream.stream(…) as answer`, then `async for chunk in answer`.

        Entering waits for the answer's head; leaving hangs up. Raises as `send` does.
        """
        return Streaming(self, outgoing, timeouts, self._in_process.get(kind), upload)

    def stop(self, error: GatewayError) -> None:
        """End everything under way with this error, and whatever would begin after it."""
        self._stopped = error
        for each in tuple(self._open):
            each.abort(error)

    def close(self) -> None:
        """Close the connections that are not used. On the event loop that serves calls."""
        for pinned in self._clients.values():
            pinned.client.close()

    def relieve(self, error: GatewayError) -> None:
        """End the largest request under way with this error, because memory runs out."""
        if self._open:
            max(self._open, key=lambda each: len(each._outgoing.body)).abort(error)

    async def client(self, url: str, connect_seconds: float) -> Client:
        """The client that is pinned to the checked address of this URL's host."""
        end = url.find("/", 8)
        key = (url if end < 0 else url[:end], connect_seconds)
        pinned = self._clients.get(key)
        if pinned is None:
            pinned = await Pinned.of(key[0], connect_seconds, self.home)
            self._clients[key] = pinned
        elif pinned.stale_at is not None and asyncio.get_running_loop().time() > pinned.stale_at:
            pinned.refresh()
        return pinned.client

    def lost(self, url: str, connect_seconds: float) -> None:
        """A connection could not be opened: the next one tries the host's next address."""
        end = url.find("/", 8)
        pinned = self._clients.get((url if end < 0 else url[:end], connect_seconds))
        if pinned is not None:
            pinned.turn()


class Streaming:
    """One request under way. `status` and `headers` are there once it is entered."""

    __slots__ = (
        "_aborted",
        "_began",
        "_due",
        "_ends",
        "_exchange",
        "_expired",
        "_iterator",
        "_loop",
        "_outgoing",
        "_owner",
        "_respond",
        "_silence",
        "_task",
        "_timeouts",
        "_timer",
        "_upload",
        "_upstream",
        "headers",
        "status",
    )

    def __init__(
        self,
        upstream: Upstream,
        outgoing: Outgoing,
        timeouts: Timeouts,
        respond: Respond | None,
        upload: Upload | None = None,
    ) -> None:
        self._upload = upload
        self._upstream, self._outgoing, self._timeouts, self._respond = upstream, outgoing, timeouts, respond
        self._loop = loop = asyncio.get_running_loop()
        self._began = now = loop.time()
        self._ends = now + timeouts.total
        self._due = min(self._ends, now + timeouts.first_byte)
        self._silence: float | None = None  # how long a piece may take, once the answer has begun
        self._expired = False
        self._aborted: GatewayError | None = None
        self._owner = asyncio.current_task()  # entered, read and left by the task that made it
        self._task: asyncio.Task[Any] | None = None  # the same while it waits for the provider
        self._timer: asyncio.TimerHandle | None = None
        self._iterator: AsyncIterator[bytes] | None = None
        self._exchange: Exchange | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    async def __aenter__(self) -> "Streaming":
        if (stopped := self._upstream._stopped) is not None:
            raise stopped
        self._upstream._open.add(self)
        self._wait_begins()
        try:
            if self._respond is not None:
                self.status, self.headers, self._iterator = await self._respond(self._outgoing)
            else:
                await self._open()
        except BaseException as error:  # a bracket that fails to enter is never left: it must undo itself
            failure = self._failure(error)
            await self.__aexit__(None, None, None)
            if failure is None:
                raise
            try:
                raise failure from None
            finally:
                del failure  # or this frame and what it raised hold each other
        self._wait_ends()
        try:
            self._check_head()
        except UpstreamError:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def _open(self) -> None:
        self._outgoing.headers["accept-encoding"] = "identity"
        client = await self._upstream.client(self._outgoing.url, self._timeouts.connect)
        exchange = await client.open(self._outgoing, None if self._upload is None else self._uploaded(self._upload))
        self._exchange = exchange
        self.status, self.headers = exchange.status, exchange.headers

    async def _uploaded(self, upload: Upload) -> AsyncGenerator[bytes]:
        """The request's body with the upload in it. The provider's time to answer begins anew with each piece."""
        assert self._outgoing.after is not None
        yield self._outgoing.body
        async for piece in upload.pieces():
            self._due = min(self._ends, self._loop.time() + self._timeouts.first_byte)
            yield piece
        yield self._outgoing.after(upload.fields)

    def _check_head(self) -> None:
        if 300 <= self.status < 400:
            raise UpstreamUnavailable(
                f"the provider answered with a redirect ({self.status}), which is not followed",
                kind="bad_answer",
                status=None,
            )
        if self.status < 300 and self.headers.get("content-encoding", "identity") != "identity":
            raise UpstreamUnavailable("the provider compressed its answer although asked not to", kind="bad_answer")

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._task = None
        self._upstream._open.discard(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None and (closing := exchange.close()) is not None:
            await closing
        iterator, self._iterator = self._iterator, None
        if iterator is not None and (aclose := getattr(iterator, "aclose", None)) is not None:
            await aclose()

    def __aiter__(self) -> "Streaming":
        return self

    async def __anext__(self) -> bytes:
        """The next piece of the body. Raises UpstreamUnavailable (timeout, connect) when none comes."""
        if self._aborted is not None:
            raise self._aborted
        silence = self._silence
        due = self._began + self._timeouts.first_token if silence is None else self._loop.time() + silence
        self._due = due if due < self._ends else self._ends
        self._task = self._owner  # as _wait_begins and _wait_ends: this runs for every piece of every stream
        if self._timer is None:
            self._timer = self._loop.call_at(self._due, self._expire)
        try:
            chunk = await (self._exchange.read() if self._iterator is None else anext(self._iterator, None))  # type: ignore[union-attr]
        except BaseException as error:
            failure = self._failure(error)
            if failure is None:
                raise
            try:
                raise failure from None
            finally:
                del failure
        self._task = None
        if self._expired:
            self._wait_ends()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    def adopt(self) -> None:
        """From now on it is read and left by this task, and no longer by the one that made it."""
        self._owner = asyncio.current_task()

    def abort(self, error: GatewayError) -> None:
        """Raise this error where the answer is read, now or at the next piece."""
        self._aborted = error
        self._interrupt()

    def speaking(self) -> None:
        """The answer has begun: from now on the limit is the silence between two pieces."""
        self._silence = self._timeouts.idle

    async def read(self) -> bytes:
        """What is left of the body, whole. Raises UpstreamUnavailable when it is longer than its cap."""
        most = LARGEST_ANSWER_BYTES if self.status < 400 else LARGEST_ERROR_BYTES
        self._silence = self._timeouts.total
        first = await anext(self, b"")
        if first and self.headers.get("content-length") == str(len(first)):
            return first
        second = await anext(self, b"")
        if not second:
            return first
        pieces, size = [first, second], len(first) + len(second)
        async for piece in self:
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise UpstreamUnavailable(f"the provider's answer is longer than {most} bytes", kind="bad_answer")
        return b"".join(pieces)

    # --- the watch ---------------------------------------------------------------------------------------

    def _wait_begins(self) -> None:
        self._task = self._owner
        if self._timer is None:
            self._timer = self._loop.call_at(self._due, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self._upload is not None and self._upload.waiting:
            self._timer = self._loop.call_later(UPLOAD_CHECK_SECONDS, self._expire)  # the caller is slow, not they
            return
        if self._task is None:
            return  # nobody waits; the next wait sets the timer again
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._expire)
            return
        self._interrupt()

    def _interrupt(self) -> None:
        """Cancel the wait that is under way, once."""
        if self._task is not None and not self._expired:
            self._expired = True
            self._task.cancel()

    def _wait_ends(self) -> bool:
        """Take back the cancelling of a wait that has ended, however it ended; whether only we had asked for it.

        The client may answer in the very moment of the cancelling, with the cancelling forgotten.
        """
        self._task = None
        expired, self._expired = self._expired, False
        return expired and self._owner is not None and self._owner.uncancel() <= 0

    def _failure(self, error: BaseException) -> GatewayError | None:
        """What an exception while waiting means; None for one that is not about the provider."""
        only_we = self._wait_ends()
        if isinstance(error, asyncio.CancelledError):
            if only_we:
                if self._aborted is not None:
                    return self._aborted
                return UpstreamUnavailable(f"the provider took longer than {self._patience():g} s", kind="timeout")
            if self._owner is not None and self._owner.cancelling() == 0:  # nobody cancelled us: the client gave up
                return UpstreamUnavailable("the connection was given up while the answer was read", kind="connect")
            return None
        if not isinstance(error, UpstreamUnavailable):
            return None
        if not error.sent:
            self._upstream.lost(self._outgoing.url, self._timeouts.connect)
        return error

    def _patience(self) -> float:
        if self._due >= self._ends:
            return self._timeouts.total
        if self._silence is not None:
            return self._silence
        return self._timeouts.first_token if self.status else self._timeouts.first_byte
