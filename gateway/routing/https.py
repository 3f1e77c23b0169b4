"""HTTP over TLS by pyreqwest, the Rust client: HTTP/2, rustls, a pool, on a thread of its own.

No redirects, no proxies from the environment, no decompression.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import (
    BuilderError,
    ConnectError,
    ConnectTimeoutError,
    PoolTimeoutError,
    PyreqwestError,
    RequestTimeoutError,
)

from gateway.core.errors import UpstreamUnavailable
from gateway.providers.base import Outgoing

IDLE_CONNECTION_SECONDS = 30.0


class SecureClient:
    """Connections to one origin. `pinned` is its host's name, the address to use for it, and the port."""

    __slots__ = ("_client",)

    def __init__(self, connect_seconds: float, pinned: tuple[str, str, int] | None) -> None:
        builder = (
            ClientBuilder()
            .follow_redirects(False)
            .no_proxy()
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .referer(False)
            .default_cookie_store(False)
            .user_agent("tollgate")
            .http1_lower_case_headers()
            .connect_timeout(timedelta(seconds=connect_seconds))
            .pool_idle_timeout(timedelta(seconds=IDLE_CONNECTION_SECONDS))
        )
        if pinned is not None:
            builder = builder.resolve(*pinned)
        self._client = builder.build()

    async def open(self, outgoing: Outgoing, pieces: AsyncGenerator[bytes] | None) -> "SecureExchange":
        """Send the request and wait for the answer's head. Raises UpstreamUnavailable: connect, timeout."""
        try:
            asked = self._client.request(outgoing.method, outgoing.url).headers(outgoing.headers)
            asked = asked.body_bytes(outgoing.body) if pieces is None else asked.body_stream(pieces)
            # Without a limit of 0 the client holds a stream's pieces back to fill its buffer.
            request = asked.streamed_read_buffer_limit(0).build_streamed()
            return SecureExchange(request, await request.__aenter__())
        except PyreqwestError as error:
            raise meaning(error, begun=False) from None

    def close(self) -> None:
        """Its connections are closed with the last reference to it."""


class SecureExchange:
    """One request under way and its answer."""

    __slots__ = ("_read", "_request", "headers", "status")

    def __init__(self, request: Any, response: Any) -> None:
        self._request, self._read = request, response.body_reader.read_chunk
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes | None:
        """The next piece of the body; None at its end. Raises UpstreamUnavailable."""
        try:
            chunk = await self._read()
        except PyreqwestError as error:
            raise meaning(error, begun=True) from None
        return None if chunk is None else bytes(chunk)

    async def close(self) -> None:
        """Hang up, or give the connection back where the answer came to its end."""
        with suppress(PyreqwestError):
            await self._request.__aexit__(None, None, None)


def meaning(error: PyreqwestError, *, begun: bool) -> UpstreamUnavailable:
    """The client's error in our words. `begun`: the answer's head was there."""
    if isinstance(error, ConnectTimeoutError | PoolTimeoutError):
        return UpstreamUnavailable("no connection in time", kind="connect", sent=False)
    if isinstance(error, BuilderError):
        return UpstreamUnavailable("the provider's URL or credential can't be sent", kind="connect", sent=False)
    if isinstance(error, RequestTimeoutError):
        return UpstreamUnavailable("the provider took too long", kind="timeout")
    details = getattr(error, "details", None) or {}
    causes = [cause["message"] for cause in details.get("causes") or ()]
    if isinstance(error, ConnectError) and "client error (Connect)" in causes:
        why = causes[-1].split(" (os error")[0]
        return UpstreamUnavailable(f"no connection: {why}", kind="connect", sent=False)
    if begun:
        return UpstreamUnavailable("the provider's answer broke off", kind="bad_answer")
    return UpstreamUnavailable("the connection broke before an answer came", kind="connect")
