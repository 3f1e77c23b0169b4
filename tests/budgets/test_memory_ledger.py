"""What the ledger of one process remembers of attempts that are over: enough, and no more however many there were."""

from types import SimpleNamespace

from budgets.ledger import memory
from budgets.ledger.memory import MemoryLedger
from budgets.ledger.parts import Open
from budgets.ledger.redis import RedisLedger
from gateway.core.counters import Ask, Spent, Wish

BUCKET = "{1}:workspace:month:0:usd:1"


async def run(ledger, attempt, spent):
    await ledger.reserve(attempt, [Ask(BUCKET, 100, 0, None)], Wish(0, 0), str)
    await ledger.settle(attempt, spent)


async def test_attempts_that_are_over_are_not_remembered_for_ever(monkeypatch):
    monkeypatch.setattr(memory, "REMEMBERED", 5)
    monkeypatch.setattr(memory, "DOUBTS_REMEMBERED", 3)
    ledger = MemoryLedger()
    for number in range(20):
        await run(ledger, f"exact.{number}", Spent(1, 1))
        await run(ledger, f"doubt.{number}", Spent(100, 0, in_doubt=True))
    assert (len(ledger._settled), len(ledger._doubtful), len(ledger.holds)) == (5, 3, 0)
    assert ledger.sums() == {BUCKET: (20 * 1 + 20 * 100, 0, 20 * 100)}


async def test_a_late_answer_replaces_a_doubt_that_is_remembered_and_leaves_a_forgotten_one_charged(monkeypatch):
    monkeypatch.setattr(memory, "DOUBTS_REMEMBERED", 1)
    ledger = MemoryLedger()
    await run(ledger, "forgotten", Spent(100, 0, in_doubt=True))
    await run(ledger, "remembered", Spent(100, 0, in_doubt=True))
    for attempt in ("forgotten", "remembered", "remembered"):
        await ledger.settle(attempt, Spent(7, 7))
    assert ledger.sums() == {BUCKET: (100 + 7, 0, 100)}


async def test_a_doubt_is_forgotten_when_no_answer_can_come_any_more(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(memory, "time", SimpleNamespace(monotonic=lambda: now))
    ledger = MemoryLedger()
    await run(ledger, "old", Spent(100, 0, in_doubt=True))
    now += memory.DOUBT_SECONDS / 2
    await run(ledger, "younger", Spent(100, 0, in_doubt=True))
    assert list(ledger._doubtful) == ["old", "younger"]
    now += memory.DOUBT_SECONDS / 2 + 1
    await run(ledger, "new", Spent(100, 0, in_doubt=True))
    assert list(ledger._doubtful) == ["younger", "new"]


def test_the_shared_ledger_keeps_no_note_of_a_hold_that_is_over():
    ledger = RedisLedger(SimpleNamespace(), "worker")
    ledger.open["a"] = Open([(BUCKET, 100, 0)], 1, "a long note")
    ledger._remember("a", Spent(1, 1))
    assert [(hold.parts, hold.note, spent) for _, hold, spent in ledger.settled.values()] == [
        ([(BUCKET, 100, 0)], "", Spent(1, 1))
    ]
