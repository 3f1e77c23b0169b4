import asyncio
import contextlib
from collections import Counter

import pytest

from audit.journal import FINAL, INTENT, JournalFull, frames
from audit.record import decode
from audit.snapshot import AuditSnapshot
from audit.stage import intend, refuse
from gateway.core.errors import (
    AllTargetsFailed,
    BudgetExceeded,
    DeadlinePassed,
    RateLimited,
    Unauthenticated,
    Unavailable,
    UpstreamRejected,
    UpstreamUnavailable,
)
from tests.audit.sample import call, carry, recorder, snapshot


@pytest.fixture
def keeper(tmp_path):
    made = recorder(tmp_path)
    yield made
    made.journal.close(remove=True)


def written(keeper, kind=FINAL):
    segment = keeper.journal.current
    return [decode(frame.payload) for frame in frames(segment.read(0, segment.size)) if frame.kind == kind]


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (None, ("answered", 200, "")),
        (BudgetExceeded("month is spent"), ("refused", 429, "budget_exceeded")),
        (AllTargetsFailed("gpt-4o-mini: connect"), ("failed", 502, "all_targets_failed")),
        (DeadlinePassed("60 s"), ("failed", 504, "timeout")),
        (UpstreamRejected("bad", kind="rejected", status=422), ("failed", 422, "upstream_error")),
        (GeneratorExit(), ("client_left", 499, "client_left")),
        (asyncio.CancelledError(), ("client_left", 499, "client_left")),
        (ZeroDivisionError(), ("failed", 500, "internal_error")),
    ],
)
async def test_however_a_call_ends_its_record_says_so(keeper, error, ended):
    made = call()

    with contextlib.suppress(BaseException):
        await carry(made, snapshot(keeper), error)

    [record] = written(keeper)
    assert (record.outcome, record.status, record.code) == ended
    assert (made.outcome, made.status, made.code) == ended


async def test_a_record_tells_who_called_what_and_what_it_cost(keeper):
    made = call(user="ann", tags=("blue",), metadata={"order": 7})

    await carry(made, snapshot(keeper, records_days=1))

    [record] = written(keeper)
    told = (record.workspace, record.team, record.key, record.user, record.route, record.model, record.provider)
    assert told == ("acme", "search", "web", "ann", "chat", "gpt-4o-mini", "openai")
    assert (record.input_tokens, record.output_tokens, record.cached_tokens, record.cost_nanos) == (12, 30, 4, 19_800)
    assert (record.tags, record.metadata) == (["blue"], {"order": 7})
    assert [(a.status, a.outcome, a.cost_nanos, a.us) for a in record.attempts] == [(200, "answered", 19_800, 199_000)]
    assert record.keep_until_us == record.at_us + 86_400_000_000
    assert len(record.subject) == 32
    assert record.bodies == []


async def test_records_of_a_workspace_are_numbered_without_holes(keeper):
    for _ in range(3):
        await carry(call(), snapshot(keeper))
    await carry(call(caller=None), snapshot(keeper))

    assert [(record.workspace_id, record.seq) for record in written(keeper)] == [("1", 1), ("1", 2), ("1", 3), ("", 1)]


async def test_bodies_are_in_the_journal_only_as_ciphertext(keeper):
    made = call(
        body={"messages": [{"role": "user", "content": "a secret \ud800 word"}]}, answered=bytearray(b"an answer")
    )

    await carry(made, snapshot(keeper, store_bodies=True))

    segment = keeper.journal.current
    raw = segment.read(0, segment.size)
    assert b"secret" not in raw
    assert b"an answer" not in raw
    [record] = written(keeper)
    assert [body.kind for body in record.bodies] == ["request", "answer"]
    assert record.bodies_until_us == record.at_us + 30 * 86_400_000_000


@pytest.mark.parametrize(
    "metadata", [{"big": 10**40}, {"surrogate": "\ud800"}, {"\udfff": 1}, {"nul": "\x00"}, {"deep": None}]
)
async def test_nothing_that_a_caller_can_send_prevents_the_record(keeper, metadata):
    if "deep" in metadata:
        for _ in range(3000):
            metadata = {"deep": metadata}

    await carry(call(metadata=metadata, user="\ud800"), snapshot(keeper))

    assert [record.outcome for record in written(keeper)] == ["answered"]


async def test_an_intent_stands_in_the_journal_before_the_attempt_is_sent(keeper):
    made = call()
    intend(made, snapshot(keeper))

    [record] = written(keeper, INTENT)
    assert (record.call_id, record.outcome, record.model) == (made.id, "in_doubt", "gpt-4o-mini")


async def test_a_call_whose_record_finds_no_room_does_not_look_answered(keeper, monkeypatch):
    def full(*args, **kwargs):
        raise JournalFull

    monkeypatch.setattr(keeper.journal, "append", full)
    made = call()

    with pytest.raises(Unavailable) as refusal:
        await carry(made, snapshot(keeper))

    assert (refusal.value.status, refusal.value.code) == (503, "overloaded")
    assert (made.outcome, made.status) == ("failed", 503)


async def test_without_room_for_the_intent_nothing_may_be_sent(keeper, monkeypatch):
    def full(*args, **kwargs):
        raise JournalFull

    monkeypatch.setattr(keeper.journal, "append", full)

    with pytest.raises(Unavailable):
        intend(call(), snapshot(keeper))


async def test_strict_calls_that_end_together_wait_for_the_disk_together(keeper, monkeypatch):
    synced = []
    monkeypatch.setattr(keeper.journal, "sync", lambda: synced.append(len(written(keeper))))

    await asyncio.gather(*(carry(call(), snapshot(keeper, is_strict=True)) for _ in range(20)))

    assert sum(synced) >= 20
    assert len(synced) <= 3


async def test_a_strict_answer_breaks_off_when_the_disk_fails(keeper, monkeypatch):
    def fails():
        raise JournalFull

    monkeypatch.setattr(keeper.journal, "sync", fails)

    with pytest.raises(Unavailable):
        await carry(call(), snapshot(keeper, is_strict=True))


async def test_a_flood_of_strangers_is_counted_instead_of_written(keeper):
    for _ in range(50):
        made = call(caller=None, attempts=0, peer="10.0.0.9", at=1000.0)
        with pytest.raises(Unauthenticated):
            await carry(made, snapshot(keeper), Unauthenticated("no such key"))

    assert len(written(keeper)) == 20
    assert keeper.denied == {("invalid_api_key", "10.0.0.9"): 30}


async def test_shed_calls_are_recorded_and_beyond_twenty_a_second_counted_by_workspace(keeper):
    for _ in range(50):
        made = call(attempts=0, at=1000.0)
        with pytest.raises(Unavailable):
            await refuse(made, snapshot(keeper), Unavailable("too much"))

    assert {(record.outcome, record.code, record.workspace) for record in written(keeper)} == {
        ("refused", "overloaded", made.caller.workspace)
    }
    assert len(written(keeper)) == 20
    assert keeper.denied == {("overloaded", made.caller.workspace): 30}


async def test_calls_beyond_a_rate_limit_are_recorded_and_beyond_five_hundred_a_second_counted(keeper):
    for number in range(1002):
        made = call(attempts=0, at=1000.0 + number // 501)
        with pytest.raises(RateLimited):
            await carry(made, snapshot(keeper), RateLimited("too often"))

    assert Counter(record.code for record in written(keeper)) == {"rate_limit_exceeded": 1000}
    assert keeper.denied == {("rate_limit_exceeded", made.caller.workspace): 2}


async def test_what_a_provider_limits_is_always_recorded(keeper):
    for _ in range(510):
        with pytest.raises(UpstreamUnavailable):
            await carry(
                call(at=1000.0), snapshot(keeper), UpstreamUnavailable("slow down", kind="rate_limit", status=429)
            )

    assert len(written(keeper)) == 510
    assert keeper.denied == {}


async def test_a_call_is_concluded_and_told_even_where_nothing_is_kept():
    told = []

    await carry(call(), AuditSnapshot(write=lambda made: told.append(made.outcome)))

    assert told == ["answered"]
