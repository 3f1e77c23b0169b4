"""Places: how many, whose, and what becomes of those who find none."""

import asyncio

import pytest

from gateway.core.errors import Unavailable
from gateway.edge import overload as overload_module
from gateway.edge.overload import LEAST_CALLS, Overload, memory_bytes


@pytest.fixture
async def busy():
    """A worker with a hundred places, watching its loop."""
    overload = Overload(100)
    overload.start()
    yield overload
    overload.stop()


async def fill(overload: Overload, workspace: str, count: int, workspaces: int = 2) -> int:
    """How many of so many calls found a place."""
    found = 0
    for _ in range(count):
        try:
            await asyncio.wait_for(overload.enter(workspace, workspaces), 5)
            found += 1
        except Unavailable:
            pass
    return found


async def fill_at_once(overload: Overload, workspace: str, count: int, workspaces: int = 2) -> int:
    results = await asyncio.gather(
        *(overload.enter(workspace, workspaces) for _ in range(count)), return_exceptions=True
    )
    return sum(result is None for result in results)


async def test_a_place_is_given_back(busy):
    await busy.enter("a", 1)
    assert (busy.running, busy.by_workspace) == (1, {"a": 1})
    busy.leave("a")
    assert (busy.running, busy.by_workspace) == (0, {})


async def test_a_workspace_alone_takes_everything_and_the_next_call_is_told_when_to_come_back(busy):
    assert await fill(busy, "a", 100, workspaces=1) == 100
    with pytest.raises(Unavailable) as caught:
        await busy.enter("a", 1)
    assert caught.value.code == "overloaded"
    assert caught.value.headers["retry-after"] in {"1", "2", "3"}


async def test_one_of_several_leaves_room_for_the_others(busy):
    assert await fill_at_once(busy, "a", 200) == 75
    assert await fill_at_once(busy, "b", 10) == 10


async def test_shares_become_even_as_places_come_back(busy):
    await fill_at_once(busy, "a", 200)
    await fill_at_once(busy, "b", 200)
    for _ in range(60):  # calls end and both ask again, the greedy one ten times as often
        for workspace in ("a", "b"):
            if busy.by_workspace.get(workspace):
                busy.leave(workspace)
        await fill_at_once(busy, "a", 10)
        await fill_at_once(busy, "b", 1)
        busy.by_workspace.setdefault("a", 0)
    assert busy.by_workspace["b"] >= 24
    assert busy.by_workspace["a"] <= 75


async def test_batch_and_eval_calls_leave_room_for_people(busy):
    await fill(busy, "a", 70, workspaces=1)
    with pytest.raises(Unavailable):
        await busy.enter("a", 1, "eval")
    with pytest.raises(Unavailable):
        await busy.enter("a", 1, "batch")
    await busy.enter("a", 1, "interactive")


async def waiting_call(busy, monkeypatch) -> asyncio.Task:
    """A call that found no place and waits for one, for as long as the test takes."""
    monkeypatch.setattr(overload_module, "WAIT_SECONDS", 600.0)
    waiting = asyncio.create_task(busy.enter("a", 1))
    while not busy._waiting:
        await asyncio.sleep(0)
    return waiting


async def test_a_call_that_waits_takes_the_place_that_comes_back(busy, monkeypatch):
    await fill(busy, "a", 100, workspaces=1)
    waiting = await waiting_call(busy, monkeypatch)
    busy.leave("a")
    await waiting
    assert busy.running == 100


async def test_a_caller_that_leaves_while_it_waits_takes_no_place(busy, monkeypatch):
    await fill(busy, "a", 100, workspaces=1)
    waiting = await waiting_call(busy, monkeypatch)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    busy.leave("a")
    assert busy.running == 99


async def test_a_place_that_is_given_in_the_moment_of_leaving_comes_back(busy, monkeypatch):
    await fill(busy, "a", 100, workspaces=1)
    waiting = await waiting_call(busy, monkeypatch)
    busy.leave("a")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert busy.running == 99


def test_a_loop_that_lags_lowers_the_limit_and_one_that_does_not_raises_it_again():
    overload = Overload(1000)
    for _ in range(900):
        overload._take("a")
    for _ in range(10):
        overload._adapt(0.3)
    assert LEAST_CALLS < overload.limit < 900
    for _ in range(100):
        overload._adapt(0.3)
    assert overload.limit == LEAST_CALLS
    for _ in range(500):
        overload._adapt(0.0)
    assert overload.limit == 1000
    overload.running = LEAST_CALLS
    overload._adapt(0.3)
    assert overload.limit == 1000  # so few calls can't be the reason


def test_when_memory_is_nearly_used_up_nothing_new_is_taken():
    overload = Overload(1000)
    overload.memory = 0.9
    assert overload._fits("a", 1, "normal")
    assert not overload._fits("a", 1, "batch")
    overload.memory = 0.95
    assert not overload._fits("a", 1, "normal")


async def test_who_is_refused_for_want_of_memory_is_hung_up_on():
    overload = Overload(1000)
    overload.memory = 0.95
    with pytest.raises(Unavailable) as caught:
        await overload.enter("a", 1)
    assert caught.value.headers["connection"] == "close"


@pytest.mark.parametrize(("used", "ended"), [(0.94, 0), (0.96, 1)])
async def test_the_largest_call_is_ended_when_memory_runs_out(monkeypatch, used, ended):
    monkeypatch.setattr("gateway.edge.overload.memory_share", lambda: used)
    overload, found = Overload(1000), []
    overload.relieve = found.append
    overload._tick(asyncio.get_running_loop())
    overload.stop()
    assert [error.code for error in found] == ["overloaded"] * ended


def test_the_workers_of_a_machine_share_its_memory(monkeypatch):
    whole = memory_bytes()
    monkeypatch.setenv("TOLLGATE_WORKERS", "4")
    assert memory_bytes() == whole // 4
