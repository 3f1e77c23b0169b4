"""What goes when its time is over, what a person's erasure leaves, and what a hold prevents."""

import time
from datetime import timedelta
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.utils import timezone

from audit.bodies import BodySealer
from audit.models import AuditEvent, BodyKey, CallBody, CallRecord, Feedback, Subject
from audit.origin import Origin
from audit.queries import contract_lines
from audit.running import Refusals
from audit.services import retention
from audit.services.bodies import bodies_of
from audit.services.erasure import UnderLegalHold, erase_person, finish_erasures
from audit.services.feedback import UnknownCall, record_feedback
from audit.services.holds import place_hold
from audit.services.retention import drop_what_is_over
from audit.services.sealing import Sealer
from audit.services.verification import Verifier
from tenants.models import Workspace
from tests.audit.sample import call, carry, drained, recorder, snapshot
from tests.audit.test_writer import run

pytestmark = pytest.mark.django_db
DAY = 86_400
NOTHING = {"raises": 0, "alerts": 0, "messages": 0, "history": 0}
NOBODY = Origin("", "test", "test")


@pytest.fixture
def keeper(tmp_path):
    made = recorder(tmp_path / "journal")
    made.sealer = BodySealer(settings.KEYRING.seal)
    yield made
    made.journal.close(remove=True)


@pytest.fixture
def acme():
    return Workspace.objects.create(pk=1, name="acme")


def put(keeper, *, days_ago=0.0, keep=10, **fields):
    made = call(at=time.time() - days_ago * DAY, **fields)
    run(carry(made, snapshot(keeper, store_bodies="answered" in fields, records_days=keep, bodies_days=2)))
    return made


def written(keeper, folder):
    drained(keeper)
    Sealer(settings.KEYRING, folder)()


def findings(folder):
    return [str(finding) for finding in Verifier(settings.KEYRING, folder).run()]


def left():
    return set(CallRecord.objects.values_list("pk", flat=True))


def test_records_go_when_their_time_is_over_and_the_proof_still_holds(keeper, tmp_path):
    for _ in range(3):
        put(keeper, days_ago=11)
    kept = [put(keeper, days_ago=9).id, put(keeper).id]
    written(keeper, tmp_path)

    dropped = drop_what_is_over(keyring=settings.KEYRING)
    Sealer(settings.KEYRING, tmp_path)()

    assert dropped == {"bodies": 0, "calls": 3, "changes": 0}
    assert left() == set(kept)
    trace = AuditEvent.objects.get(kind="retention.drop")
    assert (trace.workspace_id, trace.keep_until) == ("1", None)
    verifier = Verifier(settings.KEYRING, tmp_path)
    assert list(verifier.run()) == []
    assert verifier.proof.dropped == 3
    assert drop_what_is_over(keyring=settings.KEYRING) == {"bodies": 0, "calls": 0, "changes": 0}


def test_a_record_that_went_without_a_trace_of_ours_is_named(keeper, tmp_path):
    gone = put(keeper, days_ago=11)
    put(keeper)
    written(keeper, tmp_path)

    CallRecord.objects.filter(pk=gone.id).delete()  # its time is over, so the database lets it go

    assert findings(tmp_path) == [f"workspace 1: call {gone.id} was removed"]


def test_a_forged_trace_excuses_nothing(keeper, tmp_path):
    from audit.services.changes import record_event

    gone = put(keeper, days_ago=11)
    put(keeper)
    written(keeper, tmp_path)
    CallRecord.objects.filter(pk=gone.id).delete()
    real = {"leaves": "c", "before_us": 2**62, "key_id": "x", "signature": "00" * 64}
    record_event(kind="retention.drop", workspace="1", origin=NOBODY, data=real)

    assert findings(tmp_path) == [f"workspace 1: call {gone.id} was removed"]


def test_nothing_is_dropped_that_lies_behind_a_record_which_was_promised_a_longer_time(keeper, tmp_path):
    longer = put(keeper, days_ago=12, keep=100)
    shorter = put(keeper, days_ago=11, keep=1)
    written(keeper, tmp_path)

    drop_what_is_over(keyring=settings.KEYRING)

    assert left() == {longer.id, shorter.id}
    assert findings(tmp_path) == []


def test_bodies_go_before_their_records_and_take_their_keys_along(keeper, tmp_path):
    old = put(keeper, days_ago=5, answered=bytearray(b"old"))
    new = put(keeper, answered=bytearray(b"new"))
    written(keeper, tmp_path)

    assert drop_what_is_over(keyring=settings.KEYRING) == {"bodies": 2, "calls": 0, "changes": 0}

    assert set(CallBody.objects.values_list("call_id", flat=True)) == {new.id}
    assert BodyKey.objects.count() == 1
    assert left() == {old.id, new.id}
    assert findings(tmp_path) == []


def test_changes_go_with_their_time_too(acme, tmp_path):
    Sealer(settings.KEYRING, tmp_path)()
    later = timezone.now() + timedelta(days=366)

    assert AuditEvent.objects.filter(workspace_id="1").count() == 1
    if connection.vendor == "sqlite":  # the database holds to its own clock, whatever we say the time is
        with pytest.raises(Exception, match="append-only"):
            drop_what_is_over(keyring=settings.KEYRING, now=later)


def test_an_erased_person_can_not_be_read_of_any_more_and_the_proof_holds(keeper, acme, tmp_path):
    ann = put(keeper, user="ann@example.com", answered=bytearray(b"ann's answer"))
    bob = put(keeper, user="bob@example.com", answered=bytearray(b"bob's answer"))
    written(keeper, tmp_path)
    record_feedback(call_id=ann.id, workspace_id="1", comment="I am ann")

    gone = erase_person(workspace=acme, user="ann@example.com", origin=NOBODY)
    Sealer(settings.KEYRING, tmp_path)()

    assert gone == {"keys": 1, "bodies": 2, "feedback": 1, "ledger lines": 0} | NOTHING | {"cache purges": 1}
    assert findings(tmp_path) == []
    [line] = contract_lines(CallRecord.objects.filter(pk=ann.id))
    assert line["user"] == CallRecord.objects.get(pk=ann.id).subject
    for table in (CallRecord, CallBody, Subject, Feedback, AuditEvent):
        assert "ann@" not in repr(list(table.objects.values())), table
    assert [bytes(key.wrapped) for key in BodyKey.objects.exclude(destroyed_at=None)] == [b""]
    assert [body.text for body in bodies_of(call=CallRecord.objects.get(pk=bob.id), origin=NOBODY)][1] == "bob's answer"
    assert AuditEvent.objects.get(kind="erasure").keep_until is None


def test_what_was_under_way_when_a_person_was_erased_is_erased_when_it_arrives(keeper, acme, tmp_path):
    put(keeper, user="ann", answered=bytearray(b"one"))
    written(keeper, tmp_path)
    keeper.sealer = BodySealer(settings.KEYRING.seal)  # another worker, with a key of its own
    put(keeper, user="ann", answered=bytearray(b"two"))

    erase_person(workspace=acme, user="ann", origin=NOBODY)
    drained(keeper)
    assert CallBody.objects.count() == 2
    assert finish_erasures() == 1

    assert CallBody.objects.count() == 0
    assert set(BodyKey.objects.values_list("wrapped", flat=True)) == {b""}
    assert set(Subject.objects.values_list("name", flat=True)) == {""}
    assert finish_erasures() == 0


def test_a_destroyed_key_does_not_come_back_out_of_a_journal(keeper, acme, tmp_path):
    put(keeper, user="ann", answered=bytearray(b"one"))
    written(keeper, tmp_path)
    erase_person(workspace=acme, user="ann", origin=NOBODY)
    put(keeper, user="ann", answered=bytearray(b"two"))  # the same worker, which still has the key
    drained(keeper)

    assert [bytes(key.wrapped) for key in BodyKey.objects.all()] == [b""]


def test_under_a_legal_hold_nothing_goes(keeper, acme, tmp_path):
    put(keeper, days_ago=11, user="ann", answered=bytearray(b"x"))
    put(keeper)
    written(keeper, tmp_path)
    place_hold(workspace=acme, reason="case 7", origin=NOBODY)

    assert drop_what_is_over(keyring=settings.KEYRING) == {"bodies": 0, "calls": 0, "changes": 0}
    with pytest.raises(UnderLegalHold):
        erase_person(workspace=acme, user="ann", origin=NOBODY)

    call_command("audit", "release", "--workspace", "acme", "--reason", "closed", stdout=StringIO())
    assert drop_what_is_over(keyring=settings.KEYRING) == {"bodies": 2, "calls": 1, "changes": 0}
    kinds = AuditEvent.objects.filter(kind__startswith="hold").order_by("at").values_list("kind", "reason")
    assert list(kinds) == [("hold.place", "case 7"), ("hold.release", "closed")]


def test_the_commands_say_what_they_did_or_why_not(keeper, acme, tmp_path):
    put(keeper, user="ann", answered=bytearray(b"x"))
    drained(keeper)
    out = StringIO()

    call_command("audit", "hold", "--workspace", "acme", "--reason", "case 7", stdout=out)
    for wrong, told in (
        (("hold", "--workspace", "acme", "--reason", "again"), "under a hold already"),
        (("erase", "--workspace", "acme", "--user", "ann"), "legal hold"),
        (("erase", "--workspace", "nobody", "--user", "ann"), "There is no workspace 'nobody'"),
    ):
        with pytest.raises(CommandError, match=told):
            call_command("audit", *wrong, stdout=out)
    call_command("audit", "release", "--workspace", "acme", "--reason", "over", stdout=out)
    call_command("audit", "erase", "--workspace", "acme", "--user", "ann", stdout=out)
    call_command("audit", "drop", stdout=out)

    assert out.getvalue().splitlines() == [
        "acme is under a legal hold.",
        "The legal hold of acme is released.",
        "1 keys, 2 bodies, 0 feedback, 0 ledger lines, 0 raises, 0 alerts, 0 messages, 1 cache purges erased.",
        "0 bodies, 0 calls, 0 changes dropped.",
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "needs a score"),
        ({"score": 1.1}, "score must be"),
        ({"score": float("nan")}, "score must be"),
        ({"label": "x" * 81}, "label must"),
        ({"comment": "x" * 4001}, "comment must"),
    ],
)
def test_feedback_that_makes_no_sense_is_refused(given, told):
    with pytest.raises(ValueError, match=told):
        record_feedback(call_id="x", workspace_id="1", **given)


def test_feedback_is_for_calls_of_ones_own_workspace(keeper):
    made = put(keeper)
    drained(keeper)

    record_feedback(call_id=made.id, workspace_id="1", score=-0.5, label="wrong", by="web")
    with pytest.raises(UnknownCall):
        record_feedback(call_id=made.id, workspace_id="2", score=1)

    assert list(Feedback.objects.values_list("call_id", "score", "label", "by")) == [(made.id, -0.5, "wrong", "web")]


def test_counted_refusals_are_told_once_a_minute(keeper):
    keeper.denied = {("invalid_api_key", "10.0.0.9"): 30}
    refusals = Refusals(keeper)

    refusals()
    assert AuditEvent.objects.count() == 0
    refusals._told -= 61
    refusals()

    assert AuditEvent.objects.get().data == '{"calls": [{"calls": 30, "code": "invalid_api_key", "from": "10.0.0.9"}]}'
    assert keeper.denied == {}


def test_the_job_rests_most_of_the_time_so_that_calls_go_on(keeper, tmp_path, monkeypatch):
    for _ in range(5):
        put(keeper, days_ago=11, answered=bytearray(b"yes"))
    written(keeper, tmp_path)
    pauses, moments = [], iter(range(0, 1000, 2))  # everything takes two seconds

    class Clock:
        monotonic = staticmethod(lambda: next(moments))
        sleep = staticmethod(pauses.append)

    monkeypatch.setattr(retention, "time", Clock)
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)

    assert drop_what_is_over(keyring=settings.KEYRING) == {"bodies": 10, "calls": 5, "changes": 0}
    assert pauses == [18.0] * (5 + 3)
