"""One connection to Redis for one kind of command: bytes out, one bulk string back.

redis-py costs some 80 µs of CPU a command on asyncio, this some 15; the path of a call sends one or two. What is not
asked on that path goes through redis-py as elsewhere.
"""

import asyncio
import ssl
from collections import deque
from typing import Any, cast

from redis.asyncio.connection import parse_url
from redis.exceptions import AuthenticationError, NoScriptError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

DEFAULT_PORT = 6379
END = b"\r\n"


class Wire(asyncio.Protocol):
    """Answers come in the order of the commands, so whoever waits longest gets the next one."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._buffer = b""

    async def run(self, *words: bytes) -> Any:
        """A command's answer: bytes of a bulk string or a status, an int, or None. Raises RedisError."""
        if self._transport is None or self._transport.is_closing():
            raise RedisConnectionError("the connection to Redis is closed")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            parts += (b"$%d\r\n" % len(word), word, END)
        self._transport.write(b"".join(parts))
        return await answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # --- What asyncio calls ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has its own class

    def connection_lost(self, error: Exception | None) -> None:
        self._give_up(RedisConnectionError(f"the connection to Redis ended: {error or 'closed by Redis'}"))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        start = 0
        while start < len(buffer):
            try:
                found = read(buffer, start)
            except ValueError:
                self._give_up(RedisConnectionError("Redis answered something that is no answer"))
                self.close()
                return
            if found is None:
                break
            answer, start = found
            if self._waiting:
                waiter = self._waiting.popleft()
                if not waiter.done():
                    if isinstance(answer, RedisError):
                        waiter.set_exception(answer)
                    else:
                        waiter.set_result(answer)
        self._buffer = buffer[start:]

    def _give_up(self, error: RedisError) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(error)


def read(buffer: bytes, start: int) -> tuple[Any, int] | None:
    """The answer that begins at `start` and where the next one does; None while it is not all there.

    Raises ValueError for anything but a status, an error, a number and a bulk string.
    """
    end = buffer.find(END, start)
    if end < 0:
        return None
    kind, rest, after = buffer[start : start + 1], buffer[start + 1 : end], end + 2
    match kind:
        case b"$":
            length = int(rest)
            if length < 0:
                return None if length < -1 else (None, after)
            if len(buffer) < after + length + 2:
                return None
            return buffer[after : after + length], after + length + 2
        case b"+":
            return rest, after
        case b":":
            return int(rest), after
        case b"-":
            return failure(rest.decode("utf-8", "replace")), after
    raise ValueError(f"{kind!r} begins no answer that is expected here")


def failure(told: str) -> RedisError:
    """Redis's error as redis-py would raise it."""
    code, _, rest = told.partition(" ")
    if code == "NOSCRIPT":
        return NoScriptError(rest)
    if code in ("NOAUTH", "WRONGPASS"):
        return AuthenticationError(told)
    return ResponseError(told)


async def connect(url: str) -> Wire:
    """An open connection, signed in and in the database that the URL names. Raises OSError and RedisError."""
    options = parse_url(url)
    loop = asyncio.get_running_loop()
    wire: Wire
    if path := options.get("path"):
        _, wire = await loop.create_unix_connection(Wire, path)
    else:
        host, port = options.get("host", "localhost"), options.get("port", DEFAULT_PORT)
        _, wire = await loop.create_connection(Wire, host, port, ssl=tls(url, options))
    try:
        if (password := options.get("password")) is not None:
            name = options.get("username")
            await wire.run(b"AUTH", *([name.encode()] if name else []), password.encode())
        if database := options.get("db"):
            await wire.run(b"SELECT", b"%d" % int(database))
    except BaseException:
        wire.close()
        raise
    return wire


def tls(url: str, options: Any) -> ssl.SSLContext | None:
    """For rediss:// URLs, with the options that redis-py knows."""
    if not url.startswith("rediss://"):
        return None
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if certificate := options.get("ssl_certfile"):
        context.load_cert_chain(certificate, options.get("ssl_keyfile"))
    if str(options.get("ssl_check_hostname", "true")).lower() == "false":
        context.check_hostname = False
    if options.get("ssl_cert_reqs") == "none":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
