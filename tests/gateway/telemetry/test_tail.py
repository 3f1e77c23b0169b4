"""Calls as they end reach whoever watches, in this process and through Redis; nobody else, and nobody waits."""

import asyncio
import tempfile
from pathlib import Path

import pytest

from audit.record import AttemptRecord, Record
from gateway.telemetry import tail as module
from gateway.telemetry.tail import LINES_MOST, Tail
from tests.redis_server import BINARY, RedisServer


def record(call_id: str, **fields) -> Record:
    attempts = [AttemptRecord(model="small", provider="main")]
    return Record(call_id=call_id, at_us=1, workspace_id="1", workspace="acme", attempts=attempts, **fields)


async def seen(watcher, *, timeout_s: float = 2.0):
    lines, skipped = await watcher.lines(timeout_s=timeout_s)
    return [line.id for line in lines], skipped


async def test_who_watches_hears_of_records_from_another_thread() -> None:
    tail = Tail()
    with tail.watch() as watcher:
        await asyncio.to_thread(tail.tell, [record("a"), record("b")])
        assert await seen(watcher) == (["a", "b"], 0)
    assert tail.watchers == set()


async def test_a_line_says_no_text_and_no_end_user() -> None:
    tail = Tail()
    with tail.watch() as watcher:
        tail.tell([record("a", user="jane@example.com", subject="0" * 32, message="secret words", metadata={"x": "y"})])
        ((line,), _) = await watcher.lines(timeout_s=2)
    assert "jane" not in repr(line)
    assert "secret" not in repr(line)
    assert not {"user", "subject", "message", "metadata"} & set(line.__struct_fields__)


async def test_while_nobody_watches_nothing_is_made(monkeypatch) -> None:
    def fail(record):
        raise AssertionError("a line was made for nobody")

    monkeypatch.setattr(module, "line_of", fail)
    Tail().tell([record("a")])


async def test_what_is_too_much_for_eyes_is_counted_not_kept() -> None:
    tail = Tail()
    with tail.watch() as watcher:
        tail.tell([record(str(number)) for number in range(LINES_MOST + 5)])
        tail.tell([record("last")])
        await asyncio.sleep(0)
        ids, skipped = await seen(watcher)
    assert (len(ids), ids[-1], skipped) == (LINES_MOST, "last", 6)


async def test_nothing_new_is_an_empty_answer_in_time() -> None:
    with Tail().watch() as watcher:
        assert await seen(watcher, timeout_s=0.01) == ([], 0)


@pytest.mark.skipif(BINARY is None, reason="needs redis-server")
async def test_workers_tell_each_other_through_redis_and_nobody_hears_twice(monkeypatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        one, other = Tail(), Tail()
        one.open(server.url)
        other.open(server.url)
        try:
            with one.watch() as watcher:
                heard: list[str] = []
                for number in range(200):  # until the subscription stands
                    await asyncio.to_thread(other.tell, [record(f"other-{number}")])
                    heard += (await seen(watcher, timeout_s=0.02))[0]
                    if heard:
                        break
                assert heard
                await asyncio.to_thread(one.tell, [record("own")])
                await asyncio.to_thread(other.tell, [record("after")])
                later: list[str] = []
                while "after" not in later:
                    later += (await seen(watcher))[0]
                assert later.count("own") == 1
                assert later.count("after") == 1
        finally:
            one.close()
            other.close()
            server.stop()


@pytest.mark.skipif(BINARY is None, reason="needs redis-server")
async def test_a_redis_that_is_gone_holds_nobody_up() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        tail = Tail()
        tail.open(server.url)
        server.stop()
        with tail.watch() as watcher:
            await asyncio.to_thread(tail.tell, [record("a")])
            assert (await seen(watcher))[0] == ["a"]
        tail.close()
