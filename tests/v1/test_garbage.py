"""A call that is over leaves memory at once: whatever becomes of it, it leaves nothing to the collector of cycles.

What waits for a collection is kept for as long as that takes, with the call's texts: minutes, where it has grown old.
"""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from bench.load import body_of
from bench.scenarios import CALLS, STREAMS, Scenario
from gateway.core.errors import UpstreamUnavailable
from gateway.edge.leaving import LISTEN_AFTER_S
from gateway.routing.send import Upstream
from tests.in_process import STREAM, InProcess, Line, respond

ROUNDS = 5
PASSED = next(each for each in STREAMS if each.model == "streamed")
TRANSLATED = next(each for each in STREAMS if each.model == "translated")


class Patient(Line):
    """A client that stays: it says nothing more and does not leave."""

    asked = False

    async def receive(self) -> dict[str, Any]:
        if self.asked:
            await asyncio.get_running_loop().create_future()
        self.asked = True
        return await super().receive()


async def refuse(outgoing: Any) -> Any:
    raise UpstreamUnavailable("the connection was refused", kind="connect", sent=False)


async def break_off(outgoing: Any) -> tuple[int, dict[str, str], AsyncIterator[bytes]]:
    async def pieces() -> AsyncIterator[bytes]:
        yield STREAM[0]
        await asyncio.sleep(2 * LISTEN_AFTER_S)
        raise UpstreamUnavailable("the connection was lost", kind="connect")

    return 200, {"content-type": "text/event-stream"}, pieces()


async def think(outgoing: Any) -> Any:
    """Long enough for the edge to listen whether the client leaves."""
    await asyncio.sleep(2 * LISTEN_AFTER_S)
    return await respond(outgoing)


def left_behind(gateway: InProcess, scenario: Scenario) -> Counter[str]:
    """What some calls leave for a collection, by type."""
    stream = {"stream": True} if scenario in STREAMS else {}
    body = body_of(scenario.model, unique=scenario.unique, **scenario.fields, **stream)

    async def calls(run: str) -> None:
        for number in range(ROUNDS):
            await gateway.run(Patient(scenario.key, body.replace("NUMBER", f"{run}{'x' * number}").encode()))
        await asyncio.sleep(0)  # what was cancelled at the end takes a turn to go

    async def measured() -> None:
        await calls("first")
        gc.collect()
        gc.disable()
        await calls("then")
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()

    try:
        uvloop.run(measured())  # asyncio's own loop keeps the contexts of timers that were cancelled
        return Counter(type(each).__qualname__ for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.fixture
def gateway(configured: None, tmp_path: Path, request: Any) -> Iterator[InProcess]:
    running = InProcess(tmp_path / "journal", upstream=Upstream(in_process={"openai_compatible": request.param}))
    yield running
    running.journal.close(remove=True)


@pytest.mark.parametrize(
    "scenario", [each for each in (*CALLS, *STREAMS) if each is not TRANSLATED], ids=lambda each: each.name
)
@pytest.mark.parametrize("gateway", [respond], indirect=True)
def test_of_an_answered_or_refused_call(gateway: InProcess, scenario: Scenario) -> None:
    assert left_behind(gateway, scenario) == {}


@pytest.mark.parametrize("scenario", [CALLS[1], PASSED], ids=lambda each: each.name)
@pytest.mark.parametrize("gateway", [think, refuse, break_off], indirect=True, ids=lambda each: each.__name__)
def test_of_a_call_whose_provider_thinks_or_fails(gateway: InProcess, scenario: Scenario) -> None:
    assert left_behind(gateway, scenario) == {}
