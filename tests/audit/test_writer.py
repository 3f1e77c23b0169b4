import json

import pytest
from django.core.management import call_command
from django.db import DataError, OperationalError, connection

from audit import writer as writers
from audit.batch import decode_leaves
from audit.bodies import key_place, open_body
from audit.journal import INTENT, Segment
from audit.models import AuditEvent, BodyKey, CallBody, CallRecord, JournalPosition, PendingLeaves, Subject
from audit.queries import contract_lines
from audit.record import Record, begin, bring_up_to_date, encode
from audit.rows import call_row, digest
from audit.stage import intend
from audit.writer import Writer
from gateway.core.call import Call
from gateway.core.errors import BudgetExceeded, Unavailable
from tests.audit.sample import KEYRING, call, carry, drained, recorder, snapshot

pytestmark = pytest.mark.django_db


def build(call: Call) -> Record:
    return bring_up_to_date(begin(call), call)


@pytest.fixture
def keeper(tmp_path):
    made = recorder(tmp_path)
    yield made
    made.journal.close(remove=True)


def ids(*calls):
    return sorted(made.id for made in calls)


def stored():
    return sorted(CallRecord.objects.values_list("pk", flat=True))


async def carried(keeper, *, number=1, **fields):
    made = [call(**fields) for _ in range(number)]
    for each in made:
        await carry(each, snapshot(keeper, store_bodies=fields.get("answered") is not None))
    return made


def run(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("nothing here waits")


def test_every_record_of_the_journal_comes_into_the_database_once(keeper):
    calls = run(carried(keeper, number=450))

    writer = drained(keeper)
    writer.drain()

    assert stored() == ids(*calls)
    position = JournalPosition.objects.get()
    assert (position.segment, position.position) == (keeper.journal.current.name, keeper.journal.current.size)


def test_the_writer_reads_no_file_while_it_keeps_up(keeper, monkeypatch):
    writer = Writer(keeper.journal)
    monkeypatch.setattr(Segment, "read", lambda *place: pytest.fail("it reads the file"))
    calls = run(carried(keeper, number=3))
    writer.drain()
    calls += run(carried(keeper, number=2))
    writer.drain()

    assert stored() == ids(*calls)
    assert JournalPosition.objects.get().position == keeper.journal.current.size


def test_what_memory_does_not_hold_any_more_is_read_from_the_file(keeper, monkeypatch):
    monkeypatch.setattr("audit.journal.RECENT_BYTES", 1000)
    keeper.journal.take_recent(keeper.journal.current)  # with that room
    writer = Writer(keeper.journal)
    calls = run(carried(keeper, number=5))
    assert keeper.journal.current.recent is None
    writer.drain()
    calls += run(carried(keeper, number=1))
    assert len(keeper.journal.current.recent) == 1
    writer.drain()

    assert stored() == ids(*calls)
    assert writer.waiting_bytes == 0


def test_what_was_taken_from_memory_and_not_written_is_read_from_the_file(keeper, monkeypatch):
    monkeypatch.setattr(writers, "BATCH_RECORDS", 2)
    writer = Writer(keeper.journal)
    calls = run(carried(keeper, number=5))
    commit, failing = writer._commit, [2]

    def commit_but_the_second(*args, **kwargs):
        failing[0] -= 1
        if failing[0] == 0:
            raise OperationalError("gone")
        commit(*args, **kwargs)

    monkeypatch.setattr(writer, "_commit", commit_but_the_second)
    with pytest.raises(OperationalError):
        writer.drain()
    assert len(stored()) == 2
    calls += run(carried(keeper, number=2))
    writer.drain()

    assert stored() == ids(*calls)
    assert sum(len(decode_leaves(bytes(row.leaves))) for row in PendingLeaves.objects.all()) == len(calls)


def test_the_writer_says_how_much_of_the_journal_waits(keeper):
    writer = Writer(keeper.journal)
    run(carried(keeper, number=3))
    assert writer.waiting_bytes == keeper.journal.current.size > 0

    writer.drain()

    assert writer.waiting_bytes == 0


def test_a_call_is_shown_in_the_contracts_words(keeper):
    made = run(carried(keeper, user="ann", tags=("blue", "fast")))[0]
    drained(keeper)

    [line] = contract_lines(CallRecord.objects.all())

    assert line["call_id"] == made.id
    assert {name: line[name] for name in list(line)[2:23] if name not in ("ms", "attempts")} == {
        "workspace": "acme",
        "team": "search",
        "key": "web",
        "user": "ann",
        "route": "chat",
        "model": "gpt-4o-mini",
        "provider": "openai",
        "prompt": None,
        "status": 200,
        "outcome": "answered",
        "code": None,
        "streamed": False,
        "input_tokens": 12,
        "output_tokens": 30,
        "cost_usd": "0.0000198",
        "cache": None,
        "ttft_ms": 50.0,
        "redacted": 0,
        "tags": ["blue", "fast"],
    }
    [attempt] = line["attempts"]
    assert attempt == {
        "model": "gpt-4o-mini",
        "provider": "openai",
        "status": 200,
        "outcome": "answered",
        "cost_usd": "0.0000198",
        "ms": 199.0,
        "reason": None,
        "credential": "main",
    }


def test_the_command_prints_calls_newest_first_and_one_by_its_id(keeper, capsys):
    old, new = run(carried(keeper, at=1_000_000_000.25)) + run(carried(keeper, at=1_000_000_001.5))
    drained(keeper)

    call_command("calls", "--jsonl", "--workspace", "acme")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["call_id"], line["at"]) for line in lines] == [
        (new.id, "2001-09-09T01:46:41.500000Z"),
        (old.id, "2001-09-09T01:46:40.250000Z"),
    ]
    call_command("calls", "--since", "2001-09-09T01:46:41Z", "--jsonl")
    assert [json.loads(line)["call_id"] for line in capsys.readouterr().out.splitlines()] == [new.id]
    call_command("calls", "--id", old.id, "--jsonl")
    assert [json.loads(line)["call_id"] for line in capsys.readouterr().out.splitlines()] == [old.id]
    call_command("calls")
    assert capsys.readouterr().out.splitlines()[0].split("  ")[1:4] == [new.id, "acme/web", "gpt-4o-mini at openai"]


def test_a_batch_leaves_one_row_of_leaves_for_each_workspace(keeper):
    run(carried(keeper, number=3))
    run(carried(keeper, caller=None))
    drained(keeper)

    waiting = {row.workspace_id: decode_leaves(bytes(row.leaves)) for row in PendingLeaves.objects.all()}

    assert {workspace: len(leaves) for workspace, leaves in waiting.items()} == {"1": 3, "": 1}
    kind, call_id, leaf, worker, seq, _ = waiting["1"][0]
    assert (kind, worker, seq) == ("c", keeper.journal.worker, 1)
    from audit.services.verification import row_of_call

    assert leaf == digest(row_of_call(CallRecord.objects.get(pk=call_id)))


def test_bodies_open_with_their_key_and_only_in_their_place(keeper):
    answer = b"\x00 any bytes \xff\xfe"
    made = run(carried(keeper, user="ann", answered=bytearray(answer)))[0]
    drained(keeper)

    body = CallBody.objects.get(call_id=made.id, kind="answer")
    key = BodyKey.objects.get(pk=body.key_id)
    secret = KEYRING.open(bytes(key.wrapped), key_place("1", key.pk))
    record = CallRecord.objects.get(pk=made.id)
    commitment = bytes.fromhex(record.details["bodies"]["answer"]["commitment"])

    opened = open_body(secret, ("1", made.id, "answer"), bytes(body.nonce), bytes(body.ciphertext), commitment)
    assert opened == answer
    with pytest.raises(Exception, match="does not belong"):
        open_body(secret, ("2", made.id, "answer"), bytes(body.nonce), bytes(body.ciphertext), commitment)


def test_the_name_of_an_end_user_stands_apart_from_the_record(keeper):
    run(carried(keeper, number=2, user="ann@example.com"))
    drained(keeper)

    assert Subject.objects.values_list("name", flat=True).get() == "ann@example.com"
    for row in CallRecord.objects.values():
        assert "ann@" not in repr(row)


def test_while_the_database_is_down_records_wait_and_none_is_lost_or_doubled(keeper, monkeypatch):
    calls = run(carried(keeper, number=5))
    writer = Writer(keeper.journal)
    with monkeypatch.context() as down:

        def refuse(*args):
            raise OperationalError("the database system is shutting down")

        down.setattr(writers.batch, "write", refuse)
        assert writer.attempt() is False
        assert writer.status.error == "OperationalError: the database system is shutting down"
    calls += run(carried(keeper, number=5))

    assert writer.attempt() is True

    assert stored() == ids(*calls)
    assert (writer.status.error, writer.status.failing_since) == ("", None)


def test_a_record_that_the_database_refuses_does_not_take_its_batch_along(keeper, monkeypatch):
    good, bad, fine = run(carried(keeper, number=3))
    write = writers.batch.write

    def choosy(records, segment, position, **options):
        if any(record.call_id == bad.id for record in records):
            raise DataError("value too long")
        write(records, segment, position, **options)

    monkeypatch.setattr(writers.batch, "write", choosy)
    writer = Writer(keeper.journal)
    writer.drain()

    assert stored() == ids(good, fine)
    assert writer.status.dead_letters == 1
    [letter] = [json.loads(line) for line in writer.dead_letters.read_text().splitlines()]
    assert letter["error"] == "value too long"
    assert bad.id in letter["payload"]
    event = AuditEvent.objects.get(kind="record.unreadable")
    assert (event.workspace_id, event.object_id) == ("1", bad.id)
    assert JournalPosition.objects.get().position == keeper.journal.current.size


def test_sinks_are_called_in_the_transaction_of_the_batch(keeper, monkeypatch):
    def spoil(records):
        seen.append(([record.entries for record in records], connection.in_atomic_block))
        if len(seen) == 1:
            raise OperationalError("the ledger can't be written")

    seen = []
    monkeypatch.setattr(writers, "sinks", [spoil])
    made = call()
    keeper.journal.append(b"F", encode(_with_entries(build(made))))
    writer = Writer(keeper.journal)

    assert writer.attempt() is False
    assert stored() == []
    assert writer.attempt() is True

    assert stored() == [made.id]
    assert seen == [([[{"budget": "month", "nanos": 5}]], True)] * 2


def _with_entries(record):
    record.entries = [{"budget": "month", "nanos": 5}]
    return record


def test_a_closed_segment_goes_once_it_is_written_and_its_calls_have_ended(tmp_path):
    keeper = recorder(tmp_path, segment_bytes=600)
    running = call()
    intend(running, snapshot(keeper))
    done = run(carried(keeper, number=4))
    writer = Writer(keeper.journal)
    writer.drain()
    first = keeper.journal.closed[0].name
    assert len(keeper.journal.closed) == 1  # the others held nothing that is still under way

    run(carry(running, snapshot(keeper)))
    writer.drain()

    assert first not in [segment.name for segment in keeper.journal.closed]
    assert stored() == ids(running, *done)
    writer.stop()
    assert [path.name for path in tmp_path.iterdir()] == []


def test_the_next_worker_finds_what_a_dead_one_left_and_doubts_what_had_not_ended(tmp_path):
    dead = recorder(tmp_path)
    refused = call(attempts=0)
    with pytest.raises(BudgetExceeded):
        run(carry(refused, snapshot(dead), BudgetExceeded("spent")))
    answered = call()
    intend(answered, snapshot(dead))
    run(carry(answered, snapshot(dead)))
    lost = call(user="ann")
    intend(lost, snapshot(dead))
    dead.journal.close(remove=False)

    heir = Writer(recorder(tmp_path).journal)
    heir.recover()
    heir.stop()

    ended = dict(CallRecord.objects.values_list("pk", "outcome"))
    assert ended == {refused.id: "refused", answered.id: "answered", lost.id: "in_doubt"}
    assert list(tmp_path.iterdir()) == []
    assert JournalPosition.objects.count() == 0


def test_a_journal_that_was_written_in_part_is_taken_up_where_it_was_left(tmp_path):
    dead = recorder(tmp_path)
    calls = run(carried(dead, number=3))
    drained(dead)
    calls += run(carried(dead, number=2))
    dead.journal.append(INTENT, encode(build(calls[0])))  # known already, so nothing is in doubt
    dead.journal.close(remove=False)

    heir = recorder(tmp_path)
    writer = Writer(heir.journal)
    writer.recover()

    assert stored() == ids(*calls)
    assert sum(len(decode_leaves(bytes(row.leaves))) for row in PendingLeaves.objects.all()) == 5
    heir.journal.close(remove=True)


def test_the_widest_values_fit_or_are_cut(keeper):
    wide = "\x00" + "w" * 5000
    made = call(model=wide, prompt=wide, experiment=wide, peer=wide, code=wide)
    made.controls.session_id = made.controls.run_id = wide
    run(carry(made, snapshot(keeper)))
    drained(keeper)

    record = CallRecord.objects.get()
    assert record.session_id == "\ufffd" + "w" * 199
    assert len(call_row(build(made))) == 36


def test_a_strict_workspace_is_not_served_while_the_database_is_away_and_another_one_is(keeper, monkeypatch):
    writer = Writer(keeper.journal)
    writer.on_stall = lambda is_stalled: setattr(keeper, "is_stalled", is_stalled)
    with monkeypatch.context() as down:

        def refuse(*args):
            raise OperationalError("gone")

        down.setattr(writers.batch, "write", refuse)
        run(carried(keeper))
        writer.attempt()
        with pytest.raises(Unavailable):
            intend(call(), snapshot(keeper, is_strict=True))
        intend(call(), snapshot(keeper))

    writer.attempt()
    intend(call(), snapshot(keeper, is_strict=True))


def test_who_wants_to_know_is_told_after_the_records_are_there_and_can_do_no_harm(keeper, monkeypatch):
    heard = []

    def fail(records):
        raise RuntimeError("the listener's own trouble")

    monkeypatch.setattr(writers, "told", [fail, lambda records: heard.append((len(records), stored()))])
    (made,) = run(carried(keeper))

    writer = drained(keeper)

    assert heard == [(1, [made.id])]
    assert writer.status.dead_letters == 0
