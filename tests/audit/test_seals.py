"""Seals, and what `audit verify` makes of every way to tamper with what they cover."""

import json
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from audit import append_only, merkle
from audit.batch import append_event
from audit.models import AuditEvent, CallRecord, PendingLeaves, Seal, SealKey
from audit.services.sealing import Sealer, leaves_of, signer
from audit.services.verification import Verifier
from tenants.models import Workspace
from tests.audit.sample import call, carry, drained, recorder, snapshot
from tests.audit.test_writer import run

pytestmark = pytest.mark.django_db


@pytest.fixture
def sealed(tmp_path, settings):
    """Two seals over five calls in workspace 1, and one over a change outside it."""
    settings.DATA_DIR = tmp_path
    keeper = recorder(tmp_path / "journal")
    sealer = Sealer(settings.KEYRING, tmp_path / "seals")
    for number in (3, 2):
        for _ in range(number):
            run(carry(call(user="ann"), snapshot(keeper)))
        drained(keeper)
        sealer()
    append_event(AuditEvent(kind="change", object_type="model", object_name="gpt"))
    sealer()
    yield tmp_path / "seals"
    keeper.journal.close(remove=True)


@pytest.fixture
def superuser():
    """Somebody who may take the triggers away."""
    connection.ensure_connection()
    append_only.unguard(connection)
    append_only.uninstall(connection, append_only.TABLES)

    def do(sql, *values):
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            assert cursor.rowcount != 0

    yield do
    append_only.install(
        connection, append_only.TABLES
    )  # histories may have checks pending, and PostgreSQL alters none such
    append_only.guard(connection)


def findings(folder):
    return [str(finding) for finding in Verifier(settings.KEYRING, folder).run()]


def calls():
    return list(CallRecord.objects.order_by("seq").values_list("pk", flat=True))


def test_the_tree_is_the_one_of_rfc_6962():
    """Roots for the leaves d0 … d6 of section 2.1.3's picture, by its recursive definition."""

    def by_definition(hashes):
        if len(hashes) == 1:
            return hashes[0]
        split = 1
        while split * 2 < len(hashes):
            split *= 2
        return merkle.hashlib.sha256(b"\x01" + by_definition(hashes[:split]) + by_definition(hashes[split:])).digest()

    hashes = [merkle.leaf_hash(b"d%d" % number) for number in range(17)]

    assert [merkle.root(hashes[:n]) for n in range(1, 18)] == [by_definition(hashes[:n]) for n in range(1, 18)]
    assert merkle.root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_what_was_sealed_and_left_alone_holds(sealed):
    assert findings(sealed) == []
    seals = [(seal.workspace_id, seal.n, seal.first_seq, seal.count) for seal in Seal.objects.all()]
    assert seals == [("", 1, 1, 1), ("1", 1, 1, 3), ("1", 2, 4, 2)]
    assert PendingLeaves.objects.count() == 0


def test_the_copies_outside_hold_every_seal_once(sealed):
    lines = [json.loads(line) for line in (sealed / "1.jsonl").read_text().splitlines()]

    assert [(line["n"], line["digest"]) for line in lines] == list(
        Seal.objects.filter(workspace_id="1").values_list("n", "digest")
    )


def test_a_seal_that_is_made_while_the_proof_is_made_is_none_that_was_removed(sealed, monkeypatch):
    def all_at_that_moment():
        with (sealed / "1.jsonl").open("a") as later:
            later.write(json.dumps({"n": 3, "digest": "00"}) + "\n")
        return ["", "1"]

    monkeypatch.setattr("audit.services.verification.all_workspace_ids", all_at_that_moment)

    assert findings(sealed) == []
    assert findings(sealed) == ["workspace 1: seal 3 was removed: its copy outside the database is still there"]


def test_two_sealers_never_make_two_chains(sealed, tmp_path):
    append_event(AuditEvent(kind="change"))
    one, other = Sealer(settings.KEYRING, tmp_path / "a"), Sealer(settings.KEYRING, tmp_path / "b")

    one()
    other()
    append_event(AuditEvent(kind="change"))
    other()
    one()

    assert list(Seal.objects.filter(workspace_id="").values_list("n", flat=True)) == [1, 2, 3]
    assert findings(sealed) == findings(tmp_path / "b") == []


TAMPERINGS = {
    "a cost that was lowered": ("UPDATE audit_callrecord SET cost_nanos = 1 WHERE id = '{2}'", "call {2} was changed"),
    "one byte of the rest": (
        "UPDATE audit_callrecord SET rest = replace(rest, 'answered', 'answereD') WHERE id = '{1}'",
        "call {1} was changed",
    ),
    "a time that was put back": (
        "UPDATE audit_callrecord SET at = '2020-01-01 00:00:00' WHERE id = '{0}'",
        "call {0} was changed",
    ),
    "a call that was deleted": ("DELETE FROM audit_callrecord WHERE id = '{3}'", "call {3} was removed"),
    "a call that was renamed": ("UPDATE audit_callrecord SET id = 'x' WHERE id = '{4}'", "call {4} was removed"),
    "a change that was deleted": ("DELETE FROM audit_auditevent WHERE kind = 'change'", "change {event} was removed"),
    "a seal that was cut off": (
        "DELETE FROM audit_seal WHERE workspace_id = '1' AND n = 2",
        "seal 2 was removed: its copy outside the database is still there",
    ),
    "a seal that was taken out": (
        "DELETE FROM audit_seal WHERE workspace_id = '1' AND n = 1",
        "seal 1 is missing: the chain goes on with seal 2",
    ),
    "seals that were renumbered": (
        "UPDATE audit_seal SET n = 7 WHERE workspace_id = '1' AND n = 2",
        "seal 2 is missing: the chain goes on with seal 7",
    ),
    "a seal put back in time": (
        "UPDATE audit_seal SET sealed_at = '2020-01-01 00:00:00' WHERE workspace_id = '1' AND n = 1",
        "seal 1 was changed",
    ),
    "a root that was replaced": (
        "UPDATE audit_seal SET root = '00' WHERE workspace_id = '1' AND n = 1",
        "seal 1: its list of records is not the one that was sealed",
    ),
    "a signature that was replaced": (
        "UPDATE audit_seal SET signature = '00' WHERE workspace_id = '1' AND n = 1",
        "seal 1: its signature does not hold",
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_whoever_tampers_as_superuser_is_named(sealed, superuser, name):
    statement, expected = TAMPERINGS[name]
    event = AuditEvent.objects.get(kind="change").pk
    ids = calls()

    superuser(statement.format(*ids))

    found = findings(sealed)
    assert found[0].split(": ", 1)[1] == expected.format(*ids, event=event)


def test_two_records_that_changed_places_are_both_named(sealed, superuser):
    first, second = calls()[:2]
    for old, new in ((first, "x"), (second, first), ("x", second)):
        superuser("UPDATE audit_callrecord SET id = %s WHERE id = %s", new, old)

    assert findings(sealed) == [f"workspace 1: call {first} was changed", f"workspace 1: call {second} was changed"]


def test_a_call_that_was_put_in_by_hand_is_named(sealed):
    row = CallRecord.objects.values().first()
    CallRecord.objects.create(**row | {"id": "forged", "seq": 99})

    assert findings(sealed) == ["workspace 1: call forged was put there by other means: no seal knows it"]


def test_a_record_that_went_before_it_was_sealed_leaves_a_hole(sealed, tmp_path):
    keeper = recorder(tmp_path / "other")
    for _ in range(3):
        run(carry(call(), snapshot(keeper)))
    gone = keeper.journal.worker
    from audit.writer import Writer

    writer = Writer(keeper.journal)
    decoded = writer._decoded
    writer._decoded = lambda payload: None if (record := decoded(payload)).seq == 2 else record
    writer.drain()
    Sealer(settings.KEYRING, sealed)()

    assert findings(sealed) == [f"workspace 1: record number 2 of worker {gone} was removed before it was sealed"]
    keeper.journal.close(remove=True)


def test_a_chain_made_anew_with_another_key_is_not_believed(sealed, superuser):
    """Whoever can write to the database but does not have ENCRYPTION_KEYS signs with a key of their own."""
    from gateway.core.crypto import Keyring, new_key

    superuser("DELETE FROM audit_sealkey")
    forger = signer(Keyring([new_key()]))
    for seal in Seal.objects.all():
        superuser(
            "UPDATE audit_seal SET signature = %s, key_id = %s WHERE id = %s",
            forger.sign(bytes.fromhex(seal.digest)),
            forger.key_id,
            seal.pk,
        )

    assert findings(sealed)[0].startswith("the installation: a signing key can't be trusted: ")


def test_the_command_exits_1_and_names_the_first_that_does_not_hold(sealed, superuser):
    out, err = StringIO(), StringIO()
    call_command("audit", "verify", "--anchors", str(sealed), stdout=out, stderr=err)
    assert out.getvalue().startswith("The audit trail holds: 6 records under 3 seals, 0 of them waiting")

    victim = calls()[1]
    superuser("DELETE FROM audit_callrecord WHERE id = %s", victim)
    with pytest.raises(CommandError) as failed:
        call_command("audit", "verify", "--anchors", str(sealed), stdout=out, stderr=err)

    assert failed.value.returncode == 1
    assert err.getvalue() == f"workspace 1: call {victim} was removed\n"


def test_one_workspace_can_be_verified_by_its_name(sealed, superuser):
    Workspace.objects.create(pk=1, name="acme")
    superuser("DELETE FROM audit_auditevent WHERE kind = 'change'")
    out = StringIO()

    call_command("audit", "verify", "--workspace", "acme", "--anchors", str(sealed), stdout=out)

    assert out.getvalue().startswith("The audit trail holds: 6 records under 3 seals, 0 of them waiting")
    with pytest.raises(CommandError, match="There is no workspace 'nobody'"):
        call_command("audit", "verify", "--workspace", "nobody")


def test_sealing_goes_on_after_the_clock_was_put_back(sealed, tmp_path):
    keeper = recorder(tmp_path / "other")
    run(carry(call(at=1_000_000_000.0), snapshot(keeper)))
    drained(keeper)
    Sealer(settings.KEYRING, sealed)()

    assert findings(sealed) == []
    assert [leaf[5] for leaf in leaves_of(Seal.objects.get(workspace_id="1", n=3))] == [1_000_000_000_000_000]
    keeper.journal.close(remove=True)


def test_the_private_half_of_the_signing_key_is_nowhere_in_the_clear(sealed):
    row = SealKey.objects.get()
    opened = signer(settings.KEYRING)

    assert opened.public == row.public
    assert settings.KEYRING.open(bytes(row.wrapped), f"seal-key:{row.pk}") not in bytes(row.wrapped)
