"""Clients that send slowly or too much, against a real server with short limits."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.protocol import GuardedProtocol


class Quick(GuardedProtocol):
    head_seconds = 0.2
    body_seconds = 0.3
    body_bytes_a_second = 1000


async def echo(scope, receive, send) -> None:
    """Answers with the size of the body that came."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    config = uvicorn.Config(echo, http=Quick, log_config=None)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Quick(config, state, {}), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for each in list(state.connections):
        each.transport.abort()
    await asyncio.sleep(0)


async def exchange(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Everything that comes back until the server hangs up, when these pieces are sent with pauses between."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(pause)
    found = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return found


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n"


async def test_a_head_that_does_not_end_is_refused(port: int) -> None:
    answer = await exchange(port, HEAD)
    assert status(answer) == 408
    assert b'"code":"request_timeout"' in answer


async def test_a_head_that_drips_and_does_not_end_is_refused(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD)
    for number in range(3):
        await asyncio.sleep(0.05)
        writer.write(b"x-%d: 1\r\n" % number)
    assert status(await asyncio.wait_for(reader.read(), 10)) == 408
    writer.close()


async def test_a_connection_that_says_nothing_is_closed_without_an_answer(port: int) -> None:
    assert await exchange(port) == b""


async def test_a_body_that_does_not_come_is_refused(port: int) -> None:
    assert status(await exchange(port, HEAD + b"\r\nabc")) == 408


async def test_a_slow_body_that_comes_fast_enough_is_taken(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1500\r\n\r\n"
    answer = await exchange(port, head, *([b"x" * 300] * 5), pause=0.1)
    assert answer.endswith(b"\r\n\r\n1500")


async def test_too_many_and_too_large_headers_are_refused(port: int) -> None:
    many = b"".join(b"x-%d: 1\r\n" % number for number in range(101))
    assert status(await exchange(port, HEAD + many + b"\r\nhello")) == 431
    large = b"x-large: " + b"a" * 70_000 + b"\r\n"
    assert status(await exchange(port, HEAD + large + b"\r\nhello")) == 431
    assert status(await exchange(port, HEAD + large[:40_000], large[:40_000])) == 431


async def test_what_is_no_http_is_still_a_400(port: int) -> None:
    assert status(await exchange(port, b"nonsense\r\n\r\n")) == 400


async def test_a_connection_is_kept_for_the_next_request(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(HEAD + b"\r\nhello")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await reader.readexactly(1) == b"5"
        await asyncio.sleep(0.25)  # longer than a head may take: nothing is being sent
    writer.close()
