"""What one call does, in counts that don't depend on the machine, so that a regression is seen without a clock.

The bounds are what the path does today, with a little room. Whoever raises one says in the commit what it buys.
"""

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from bench.load import body_of, spelt
from bench.scenarios import CALLS, SECRETS, STREAMS, Scenario
from budgets.ledger.keeper import Keeper
from gateway.counters.batch import RedisBatch
from gateway.counting import start_counting
from gateway.routing.send import Upstream
from tests.in_process import STREAM, InProcess, Line
from tests.redis_server import BINARY, RedisServer

ROUNDS = 20
ROOT = str(Path(__file__).resolve().parents[2])
BY_NAME = {scenario.name: scenario for scenario in (*CALLS, *STREAMS)}
BARE, CONTROLLED, FULL, HIT, ALIKE, UNKNOWN, LIMITED = (scenario.name for scenario in CALLS)
PASSED, _, REDACTED = (scenario.name for scenario in STREAMS)


@dataclass
class Counts:
    """What happened during some calls, by name, and for each call on average."""

    calls: int
    names: Counter[str] = field(default_factory=Counter)

    def of(self, *names: str) -> float:
        return sum(self.names[name] for name in names) / self.calls

    @property
    def ours(self) -> float:
        """Calls of Python functions that stand in this repository."""
        return self.names["ours"] / self.calls


@pytest.fixture
def gateway(configured: None, tmp_path: Path) -> Iterator[InProcess]:
    running = InProcess(tmp_path / "journal")
    yield running
    running.journal.close(remove=True)


@pytest.fixture
def shared(configured: None, tmp_path: Path) -> Iterator[InProcess]:
    """The same with its limits and budgets in a Redis of its own."""
    server = RedisServer(tmp_path)
    counting = start_counting(server.url)
    keeper = next(each for each in counting.background if isinstance(each, Keeper))
    while counting.ledger.is_fenced:  # until the counters are built from the ledger
        keeper.turn()
    counting.counters.batch.timeout_s = 30.0  # a busy machine is not an outage
    running = InProcess(tmp_path / "journal", counters=counting.counters, ledger=counting.ledger)
    yield running
    running.journal.close(remove=True)
    server.stop()


async def counted(gateway: InProcess, scenario: Scenario) -> Counts:
    """Twenty calls, all functions that they call, the tasks that they start and the queries that they send."""
    stream = {"stream": True} if scenario in STREAMS else {}
    body = body_of(scenario.model, unique=scenario.unique, **scenario.fields, **stream)
    made = [Line(scenario.key, body.replace("NUMBER", spelt(number)).encode()) for number in range(2 * ROUNDS)]
    for line in made[:ROUNDS]:
        await gateway.run(line)
    found = Counts(ROUNDS)

    def look(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            code = frame.f_code
            found.names["ours"] += code.co_filename.startswith(ROOT) and "/tests/" not in code.co_filename
            found.names["django"] += "/django/" in code.co_filename
        elif event == "c_call":
            found.names[argument.__qualname__] += 1

    def task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        found.names["tasks"] += 1
        return asyncio.Task(coroutine, loop=loop, **options)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(task)
    gc.disable()  # it would run the finalizers of what other tests left
    sys.setprofile(look)
    try:
        for line in made[ROUNDS:]:
            await gateway.run(line)
    finally:
        sys.setprofile(None)
        gc.enable()
        loop.set_task_factory(None)
    assert {line.status for line in made[1:]} == {scenario.status}
    return found


@dataclass(frozen=True)
class Most:
    """The most that one call may do, on average."""

    functions: int
    parses: int
    writes: int


BOUNDS = {
    BARE: Most(235, parses=2, writes=2),
    CONTROLLED: Most(295, parses=2, writes=2),
    FULL: Most(380, parses=2, writes=2),
    HIT: Most(182, parses=1, writes=1),
    ALIKE: Most(420, parses=3, writes=4),
    UNKNOWN: Most(52, parses=0, writes=1),
    LIMITED: Most(93, parses=1, writes=1),
    PASSED: Most(1060, parses=1 + 51, writes=2),
    REDACTED: Most(1090, parses=1 + 51, writes=2),
}


@pytest.mark.parametrize("name", BOUNDS)
async def test_a_call_does_no_more_than_it_did(gateway: InProcess, name: str) -> None:
    queries: list[str] = []

    def noted(execute: Any, sql: str, *rest: Any) -> Any:
        queries.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(noted):
        found = await counted(gateway, BY_NAME[name])

    most = BOUNDS[name]
    assert found.ours <= most.functions
    assert (found.of("django"), queries) == (0, []), "the path of a call never touches Django or the database"
    assert found.of("json_decode", "Decoder.decode", "loads") <= most.parses
    assert found.of("write") <= most.writes, "an intent and a record in the journal"
    assert found.of("tasks") == 0


async def together(outgoing: Any) -> tuple[int, dict[str, str], AsyncIterator[bytes]]:
    """The provider's stream in three pieces: some events at once, one alone, and the rest."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"".join(STREAM[:20])
        yield STREAM[20]
        yield b"".join(STREAM[21:])

    return 200, {"content-type": "text/event-stream"}, pieces()


@pytest.fixture
def lumped(configured: None, tmp_path: Path) -> Iterator[InProcess]:
    running = InProcess(tmp_path / "journal", upstream=Upstream(in_process={"openai_compatible": together}))
    yield running
    running.journal.close(remove=True)


async def test_events_that_came_together_are_sent_together(lumped: InProcess) -> None:
    body = body_of("streamed", stream=True, stream_options={"include_usage": True})
    line = await lumped.run(Line(SECRETS["BENCH_KEY"], body.encode()))

    sent = [message["body"] for message in line.sent if message["type"] == "http.response.body"]
    assert sent[:2] == [b"".join(STREAM[:20]), STREAM[20]]
    assert sent[2] == b"".join(STREAM[21:50])
    assert len(sent) == 4  # the end, with what the call cost, waits for its record


@pytest.mark.skipif(BINARY is None, reason="there is no redis-server on this machine")
async def test_a_call_asks_redis_once_before_it_is_sent_and_tells_it_once_afterwards(
    shared: InProcess, monkeypatch: Any
) -> None:
    trips: list[str] = []
    ask = RedisBatch._call

    async def counting(batch: RedisBatch, payload: bytes) -> bytes:
        trips.append("asked")
        return await ask(batch, payload)

    monkeypatch.setattr(RedisBatch, "_call", counting)
    body = body_of("everything")
    for number in range(ROUNDS):
        line = await shared.run(Line(SECRETS["BENCH_KEY"], body.replace("NUMBER", str(number)).encode()))
        assert line.status == 200
        await asyncio.sleep(0.005)  # what was posted after the answer

    # Room in the limits; then both are settled together. The first ones also ask for their hold, until there is a slice
    # to draw it from, which is asked for, and given back, now and then.
    assert len(trips) / ROUNDS <= 2.5
    shared.services.ledger.slices.leave()
    await shared.services.counters.batch.close()
