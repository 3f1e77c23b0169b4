"""HTTP/1.1 on our own sockets, against a server that writes exactly these bytes."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
import uvloop

from gateway.core.errors import UpstreamUnavailable
from gateway.providers.base import Outgoing
from gateway.routing import http1
from gateway.routing.http1 import PlainClient, target_of

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server:
    """Gives each request the next of these answers; None hangs up. `requests` and `connections` are what came."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers, self.requests, self.connections = list(answers), [], 0

    async def __aenter__(self) -> "Server":
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.client = PlainClient((f"127.0.0.1:{self.port}", "127.0.0.1", self.port), 5.0, asyncio.get_running_loop())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.client.close()
        self._server.close()
        await asyncio.sleep(0.01)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.split(b"\r\n") if line.startswith(b"content-length: ")]
                body = await reader.readexactly(int(length[0][16:])) if length else b""
                self.requests.append(head + body)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    break
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def ask(self, body: bytes = b"{}", **headers: str) -> tuple[int, dict[str, str], bytes]:
        asked = Outgoing("http://provider/v1/chat?x=1", {"authorization": "Bearer k", **headers}, body)
        exchange = await self.client.open(asked, None)
        try:
            pieces = []
            while (piece := await exchange.read()) is not None:
                pieces.append(piece)
        finally:
            exchange.close()
        return exchange.status, exchange.headers, b"".join(pieces)

    async def failure(self) -> tuple[str, bool]:
        with pytest.raises(UpstreamUnavailable) as caught:
            await self.ask()
        return caught.value.kind, caught.value.sent


async def test_the_request_is_written_as_it_was_made():
    async with Server(OK) as server:
        assert await server.ask(b'{"a":1}', beta="x") == (200, {"content-length": "2"}, b"ok")
    lines = server.requests[0].decode().split("\r\n")
    assert lines == [
        "POST /v1/chat?x=1 HTTP/1.1",
        f"host: 127.0.0.1:{server.port}",
        "accept: */*",
        "user-agent: tollgate",
        "authorization: Bearer k",
        "beta: x",
        "content-length: 7",
        "",
        '{"a":1}',
    ]


async def test_one_connection_serves_many_requests_and_each_gets_its_own_answer():
    answers = [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nnumber: %d\r\n\r\n%s" % (n, n, b"x" * n) for n in range(30)]
    async with Server(*answers) as server:
        got = [await server.ask() for _ in range(30)]
    assert [(headers["number"], len(body)) for _, headers, body in got] == [(str(n), n) for n in range(30)]
    assert server.connections == 1


def test_the_server_s_own_event_loop_does_as_well():
    """uvloop's transports are not asyncio's."""

    async def ask() -> None:
        async with Server(OK, OK + b"x", OK) as server:
            assert [(await server.ask())[2] for _ in range(4)] == [b"ok"] * 4
            assert server.connections == 2
            server.client.idle[0].transport.abort()
            assert (await server.ask())[2] == b"ok"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_an_answer_is_the_same_however_it_is_cut(size):
    whole = (
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nA: 1\r\na: 2\r\n\r\n"
        b"5\r\nhello\r\n1;ext=1\r\n \r\n5\r\nworld\r\n0\r\ntrailer: x\r\n\r\n"
    )
    async with Server(OK) as server:
        connection = await server.client._connected()
        exchange = http1.Exchange(server.client, connection)
        exchange.is_sent = True
        for at in range(0, len(whole), size):
            exchange.feed(whole[at : at + size])
        pieces = []
        while (piece := await exchange.read()) is not None:
            pieces.append(piece)
        exchange.close()
    assert (exchange.status, b"".join(pieces), exchange.headers["a"]) == (200, b"hello world", "1, 2")
    assert "link" not in exchange.headers


async def test_an_answer_without_a_length_ends_with_its_connection():
    async with Server(b"HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nall of it") as server:
        exchange = await server.client.open(Outgoing("http://p/", {}, b""), None)
        assert await exchange.read() == b"all of it"
        exchange.lost(None)
        assert await exchange.read() is None
        exchange.close()
        assert server.client.idle == []


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale",
        OK + b"anything",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
)
async def test_a_connection_with_anything_behind_its_answer_is_not_used_again(answer):
    async with Server(answer, OK) as server:
        assert (await server.ask())[2] == b"ok"
        assert (await server.ask())[2] == b"ok"
    assert server.connections == 2


async def test_what_comes_while_nobody_asked_closes_the_connection():
    async with Server(OK) as server:
        await server.ask()
        [connection] = server.client.idle
        connection.data_received(OK)
        await asyncio.sleep(0)
        await server.ask()
    assert server.connections == 2


async def test_an_answer_that_is_not_read_to_its_end_takes_its_connection_with_it():
    async with Server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", OK) as server:
        exchange = await server.client.open(Outgoing("http://p/", {}, b""), None)
        exchange.close()
        assert server.client.idle == []
        assert (await server.ask())[2] == b"ok"


async def test_a_connection_unused_for_long_is_closed(monkeypatch):
    async with Server(OK) as server:
        await server.ask()
        server.client.idle[0].since -= 2 * http1.IDLE_SECONDS
        await server.ask()
    assert server.connections == 2


async def test_connections_are_kept_on_one_event_loop_only():
    async with Server(OK) as server:
        server.client.home = None
        await server.ask()
        assert server.client.idle == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, ("connect", True)),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ("bad_answer", True)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", ("bad_answer", True)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok", ("bad_answer", True)),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", ("bad_answer", True)),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", ("bad_answer", True)),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * (http1.HEAD_BYTES_MOST + 1), ("bad_answer", True)),
    ],
)
async def test_what_is_no_answer_is_a_failure(answer, expected):
    async with Server(answer) as server:
        assert await server.failure() == expected


async def test_a_cut_within_the_body_is_a_bad_answer():
    async with Server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", None) as server:
        exchange = await server.client.open(Outgoing("http://p/", {}, b""), None)
        assert await exchange.read() == b"ok"
        exchange._connection.transport.abort()
        with pytest.raises(UpstreamUnavailable, match="broke off"):
            await exchange.read()
        exchange.close()


async def test_an_answer_that_nobody_reads_makes_the_provider_wait():
    big = b"x" * (64 * 1024 * 1024)
    async with Server(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(big), big)) as server:
        exchange = await server.client.open(Outgoing("http://p/", {}, b""), None)
        await asyncio.sleep(0.2)
        first = await exchange.read()
        assert first is not None
        assert len(first) < 2 * 1024 * 1024
        size = len(first)
        while (piece := await exchange.read()) is not None:
            size += len(piece)
        exchange.close()
        assert size == len(big)
        assert len(server.client.idle) == 1


@pytest.mark.parametrize("bad", ["a\r\nx-evil: 1", "a\nb", "a\rb", "nul\0", "clé"])
async def test_a_header_that_would_be_read_as_more_is_never_written(bad):
    async with Server(OK) as server:
        with pytest.raises(UpstreamUnavailable, match="can't be sent") as caught:
            await server.ask(authorization=bad)
        assert not caught.value.sent
    assert server.requests == []


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://p", "/"),
        ("http://p/v1/mod els/é:go?a=b c#part", "/v1/mod%20els/%C3%A9:go?a=b%20c"),
        ("http://p/a\r\nx: y", "/ax:%20y"),
    ],
)
def test_a_url_is_written_in_ascii_and_on_one_line(url, target):
    assert target_of(url) == target


async def test_an_upload_goes_out_in_pieces_and_ends_where_the_answer_comes_first():
    async def pieces(seen: list[int]) -> AsyncGenerator[bytes]:
        try:
            for number in range(100):
                seen.append(number)
                yield b"piece"
                await asyncio.sleep(0.001 if number else 0.05)
        finally:
            seen.append(-1)

    upload = Outgoing("http://p/", {}, b"")
    async with Server(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n") as server:
        seen: list[int] = []
        exchange = await server.client.open(upload, pieces(seen))
        exchange.close()
        assert exchange.status == 413
        assert len(seen) < 100
        assert seen[-1] == -1  # nobody goes on reading what nobody wants
        assert server.client.idle == []  # half a request is on its way there
    assert b"transfer-encoding: chunked" in server.requests[0]


async def test_an_exchange_that_is_over_needs_no_collector_of_cycles():
    def kept() -> int:
        return sum(type(each) is http1.Exchange for each in gc.get_objects())  # asking weak proxies may fail

    async with Server(OK) as server:
        await server.ask()
        gc.collect()
        before = kept()
        gc.disable()
        try:
            await server.ask()
            assert kept() <= before
        finally:
            gc.enable()


async def test_a_cancelled_request_hangs_up():
    async with Server(b"HTTP/1.1 100 Continue\r\n\r\n") as server:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.ask(), 0.05)
        assert server.client.idle == []
