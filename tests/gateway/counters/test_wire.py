"""The connection to Redis: answers however they are cut, errors by their kind, and what a URL may say."""

import asyncio
import ssl

import pytest
from redis.exceptions import AuthenticationError, ConnectionError, NoScriptError, ResponseError

from gateway.counters.batch import run_of
from gateway.counters.wire import Wire, connect, read, tls


class Sent:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.written, self.is_aborted = b"", False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_aborted


ANSWERS = b"$5\r\nab\r\nc\r\n+OK\r\n:-12\r\n$-1\r\n$0\r\n\r\n-NOSCRIPT No matching script\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_answers_come_in_order_however_they_are_cut(size):
    wire, transport = Wire(), Sent()
    wire.connection_made(transport)
    waiting = [asyncio.ensure_future(wire.run(b"GET", b"\r\n%d" % number)) for number in range(6)]
    await asyncio.sleep(0)
    assert transport.written.startswith(b"*2\r\n$3\r\nGET\r\n$3\r\n\r\n0\r\n*2\r\n")
    for start in range(0, len(ANSWERS), size):
        wire.data_received(ANSWERS[start : start + size])
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert found[:5] == [b"ab\r\nc", b"OK", -12, None, b""]
    assert isinstance(found[5], NoScriptError)


async def test_a_connection_that_ends_fails_all_who_wait_and_takes_no_more():
    wire, transport = Wire(), Sent()
    wire.connection_made(transport)
    waiting = asyncio.ensure_future(wire.run(b"PING"))
    left = asyncio.ensure_future(wire.run(b"PING"))
    await asyncio.sleep(0)
    left.cancel()
    wire.connection_lost(None)
    with pytest.raises(ConnectionError, match="closed by Redis"):
        await waiting
    transport.abort()
    with pytest.raises(ConnectionError, match="is closed"):
        await wire.run(b"PING")
    with pytest.raises(ConnectionError):
        await Wire().run(b"PING")


async def test_who_leaves_does_not_take_the_next_ones_answer():
    wire = Wire()
    wire.connection_made(Sent())
    left, stays = (asyncio.ensure_future(wire.run(b"GET", name)) for name in (b"a", b"b"))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    wire.data_received(b"$1\r\na\r\n$1\r\nb\r\n")
    assert await stays == b"b"


@pytest.mark.parametrize("nonsense", [b"*1\r\n:1\r\n", b"HTTP/1.1 400\r\n", b"$x\r\n"])
async def test_what_is_no_answer_ends_the_connection(nonsense):
    wire, transport = Wire(), Sent()
    wire.connection_made(transport)
    waiting = asyncio.ensure_future(wire.run(b"PING"))
    await asyncio.sleep(0)
    wire.data_received(nonsense)
    with pytest.raises(ConnectionError, match="no answer"):
        await waiting
    assert transport.is_aborted


def test_errors_are_those_of_redis_py():
    for told, kind in (
        (b"-ERR unknown command\r\n", ResponseError),
        (b"-WRONGPASS x\r\n", AuthenticationError),
        (b"-NOAUTH Authentication required.\r\n", AuthenticationError),
    ):
        found = read(told, 0)
        assert found is not None
        assert type(found[0]) is kind


def test_encryption_follows_the_url():
    assert tls("redis://h/0", {}) is None
    strict = tls("rediss://h/0", {})
    lax = tls("rediss://h/0", {"ssl_cert_reqs": "none"})
    assert strict is not None
    assert lax is not None
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (lax.verify_mode, lax.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.services
async def test_a_url_names_the_database_and_the_password(own_redis):
    own_redis.client.set("where", "zero")
    wire = await connect(own_redis.url.removesuffix("/0") + "/3")
    assert await wire.run(b"GET", b"where") is None
    wire.close()
    own_redis.client.config_set("requirepass", "secret")
    address = own_redis.url.removeprefix("redis://")
    wire = await connect(f"redis://:secret@{address}")
    assert await wire.run(b"GET", b"where") == b"zero"
    wire.close()
    wire = await connect(f"redis://default:secret@{address}")
    wire.close()
    with pytest.raises(AuthenticationError):
        await connect(f"redis://:wrong@{address}")
    bare = await connect(own_redis.url)
    with pytest.raises(AuthenticationError):
        await bare.run(b"GET", b"where")
    bare.close()


def test_the_run_of_a_server_is_read_from_what_it_tells():
    assert run_of(b"# Server\r\nredis_version:7\r\nrun_id:abc\r\nport:1\r\n") == b"abc"
    assert run_of(b"") == b""
