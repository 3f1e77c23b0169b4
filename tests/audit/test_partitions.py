"""Call records by month on PostgreSQL: where they lie, what protects them there, and how a month goes."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from audit import append_only, partitions
from audit.batch import append_event
from audit.models import AuditEvent, CallRecord, Feedback
from audit.origin import Origin
from audit.partitions import FIRST, REST, TABLE, make_ahead
from audit.services.feedback import record_feedback
from audit.services.holds import place_hold
from audit.services.retention import drop_what_is_over
from audit.services.sealing import Sealer
from audit.services.verification import Verifier
from audit.snapshot import AuditSnapshot, Keeping
from audit.tasks import drop_records_and_bodies
from tenants.models import Workspace
from tests.audit.sample import ACME, call, carry, drained, recorder
from tests.audit.test_writer import run

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="partitions are PostgreSQL's"),
]
OLD = date(2026, 1, 1)
GLOBEX = replace(ACME, workspace_id="2", workspace="globex")
MIDDLE_OF_OLD = datetime(2026, 1, 15, tzinfo=UTC)


def sql(statement, *values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def names():
    return [partition.name for partition in partitions.partitions(connection)]


@pytest.fixture
def old_month():
    """A month that is past, in the place of the empty first partition, which ends with the month of the migration."""
    assert sql("SELECT audit_drop_partition(%s, 0)", FIRST) == [(True,)]
    assert sql("SELECT audit_make_partition(%s)", OLD) == [(True,)]
    return f"{TABLE}_2026_01"


@pytest.fixture
def keeper(tmp_path):
    made = recorder(tmp_path / "journal")
    yield made
    made.journal.close(remove=True)


def put(keeper, *, at, keep=10, **fields):
    made = call(at=at.timestamp(), **fields)
    keeping = Keeping(subject_key=b"k", records_days=keep)
    run(carry(made, AuditSnapshot(keeping={"1": keeping, "2": keeping}, recorder=keeper)))
    return made.id


def written(keeper, folder):
    drained(keeper)
    Sealer(settings.KEYRING, folder)()


def findings(folder):
    return [str(finding) for finding in Verifier(settings.KEYRING, folder).run()]


def place_of(call_id):
    return sql(f"SELECT tableoid::regclass::text FROM {TABLE} WHERE id = %s", call_id)[0][0]


def test_the_coming_months_have_their_places():
    today = datetime.now(UTC).date()
    months, month = [], today.replace(day=1)
    for _ in range(4):
        months.append(f"{TABLE}_{month:%Y_%m}")
        month = partitions.following(month)

    assert names() == [FIRST, *months[1:], REST]  # the month of the migration has begun in the first
    assert make_ahead(connection) == []
    assert make_ahead(connection, partitions.following(today)) == [month]
    assert append_only.missing(connection) == []


def test_the_hourly_job_makes_them(monkeypatch):
    last = names()[-2]
    with transaction.atomic():
        sql("SELECT audit_drop_partition(%s, 0)", last)
    assert last not in names()

    drop_records_and_bodies()

    assert last in names()


def test_a_record_lies_in_its_month_and_what_fits_nowhere_in_the_rest(keeper, old_month, tmp_path):
    old = put(keeper, at=MIDDLE_OF_OLD, keep=10_000)
    ancient, now = put(keeper, at=datetime(1999, 1, 1, tzinfo=UTC), keep=20_000), put(keeper, at=datetime.now(UTC))
    written(keeper, tmp_path)

    assert (place_of(old), place_of(ancient), place_of(now)) == (old_month, REST, REST)
    assert findings(tmp_path) == []


def test_a_month_that_has_begun_elsewhere_is_left_there(keeper):
    put(keeper, at=datetime(2300, 5, 5, tzinfo=UTC))
    drained(keeper)

    assert sql("SELECT audit_make_partition(%s)", date(2300, 5, 1)) == [(False,)]
    assert sql("SELECT audit_make_partition(%s)", OLD) == [(False,)]  # in the first one
    assert append_only.missing(connection) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET cost_nanos = 0",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "TRUNCATE audit_callrecord",
        "SET LOCAL session_replication_role = replica; DELETE FROM {}",
        "SELECT audit_drop_partition('{}', 1)",
        "SELECT audit_drop_partition('audit_callrecord_rest', 0)",
        "SELECT audit_drop_partition('audit_seal', 0)",
    ],
)
def test_a_partition_refuses_what_its_table_refuses(keeper, old_month, statement):
    put(keeper, at=MIDDLE_OF_OLD, keep=10_000)
    drained(keeper)
    before = list(CallRecord.objects.values())

    with pytest.raises(DatabaseError), transaction.atomic():
        sql(statement.format(old_month))

    assert list(CallRecord.objects.values()) == before


@pytest.mark.parametrize("kind", ["append_only", "no_truncate"])
def test_a_trigger_of_a_partition_that_is_off_is_named(old_month, kind):
    sql(f"ALTER TABLE {old_month} DISABLE TRIGGER {TABLE}_{kind}")

    assert append_only.missing(connection) == [f"trigger {TABLE}_{kind} of {old_month} is changed or switched off"]
    append_only.install(connection)
    assert append_only.missing(connection) == []


def test_a_month_that_is_over_for_everybody_goes_at_once_and_the_proof_holds(keeper, old_month, tmp_path, monkeypatch):
    gone = [put(keeper, at=MIDDLE_OF_OLD + timedelta(hours=n)) for n in range(3)]
    gone.append(put(keeper, at=MIDDLE_OF_OLD, caller=GLOBEX))
    kept = put(keeper, at=datetime.now(UTC))
    written(keeper, tmp_path)
    record_feedback(call_id=gone[0], workspace_id="1", score=1)
    monkeypatch.setattr(
        "audit.services.retention._batches", lambda found, by="at": iter(())
    )  # row by row, nothing would go

    assert drop_what_is_over(keyring=settings.KEYRING) == {"bodies": 0, "calls": 4, "changes": 0}
    Sealer(settings.KEYRING, tmp_path)()

    assert old_month not in names()
    assert [row.pk for row in CallRecord.objects.all()] == [kept]
    assert Feedback.objects.count() == 0
    assert AuditEvent.objects.filter(kind="retention.drop").count() == 2
    verifier = Verifier(settings.KEYRING, tmp_path)
    assert (list(verifier.run()), verifier.proof.dropped) == ([], 4)


def test_a_month_with_one_record_that_is_kept_goes_row_by_row(keeper, old_month, tmp_path):
    kept = put(keeper, at=MIDDLE_OF_OLD, keep=10_000, caller=GLOBEX)
    put(keeper, at=MIDDLE_OF_OLD)
    written(keeper, tmp_path)

    assert drop_what_is_over(keyring=settings.KEYRING)["calls"] == 1

    assert old_month in names()
    assert [row.pk for row in CallRecord.objects.all()] == [kept]
    assert findings(tmp_path) == []


def test_a_month_of_a_workspace_under_a_hold_stays(keeper, old_month, tmp_path):
    acme = Workspace.objects.create(pk=1, name="acme")
    put(keeper, at=MIDDLE_OF_OLD)
    written(keeper, tmp_path)
    place_hold(workspace=acme, reason="case 7", origin=Origin("", "test", "test"))

    assert drop_what_is_over(keyring=settings.KEYRING)["calls"] == 0

    assert old_month in names()


def test_a_record_that_came_meanwhile_keeps_its_month(keeper, old_month, tmp_path):
    put(keeper, at=MIDDLE_OF_OLD)
    written(keeper, tmp_path)
    [month] = [each for each in partitions.partitions(connection) if each.name == old_month]

    assert partitions.drop(connection, month, 0) is False
    assert old_month in names()
    assert partitions.drop(connection, month, 1) is True


@pytest.fixture
def empty_month():
    assert sql("SELECT audit_make_partition(%s)", date(2400, 1, 1)) == [(True,)]
    yield next(each for each in partitions.partitions(connection) if each.name == f"{TABLE}_2400_01")
    if f"{TABLE}_2400_01" in names():
        sql("SELECT audit_drop_partition(%s, 0)", f"{TABLE}_2400_01")


@pytest.fixture
def reader():
    """Somebody who reads all records in a long transaction."""
    reading = psycopg.connect(
        **connection.get_connection_params() | {"cursor_factory": psycopg.Cursor, "context": None}
    )
    reading.execute(f"SELECT count(*) FROM {TABLE}")
    yield reading
    reading.close()


@pytest.mark.django_db(transaction=True)
def test_a_month_goes_as_soon_as_a_long_reader_is_done_and_writers_go_on_meanwhile(empty_month, reader, monkeypatch):
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        sql("SET lock_timeout = '1ms'")  # a writer that would not wait for anybody
        with transaction.atomic():
            sql(f"LOCK TABLE {TABLE} IN ROW EXCLUSIVE MODE")
        sql("SET lock_timeout = 0")
        if len(pauses) == 3:
            reader.rollback()

    monkeypatch.setattr(partitions.time, "sleep", pause)
    assert partitions.drop(connection, empty_month, 0) is True
    assert (len(pauses), empty_month.name in names()) == (3, False)


@pytest.mark.django_db(transaction=True)
def test_a_month_that_somebody_reads_all_the_while_stays_for_the_next_time(empty_month, reader, monkeypatch):
    monkeypatch.setattr(partitions.time, "sleep", lambda seconds: None)
    assert partitions.drop(connection, empty_month, 0) is False
    assert empty_month.name in names()
    reader.rollback()
    assert partitions.drop(connection, empty_month, 0) is True


def test_nobody_waits_long_behind_the_drop_of_a_month():
    found = sql("SELECT unnest(proconfig) FROM pg_proc WHERE proname = 'audit_drop_partition'")
    assert ("lock_timeout=100ms",) in found


def test_an_old_month_in_which_nothing_ever_came_goes_too(old_month):
    drop_what_is_over(keyring=settings.KEYRING)

    assert old_month not in names()


def test_a_month_that_a_superuser_drops_is_named(keeper, old_month, tmp_path):
    lost = put(keeper, at=MIDDLE_OF_OLD)
    written(keeper, tmp_path)

    sql(f"DROP TABLE {old_month}")

    assert findings(tmp_path) == [f"workspace 1: call {lost} was removed"]


def test_a_second_record_of_the_same_call_in_another_month_is_named(keeper, old_month, tmp_path):
    made = put(keeper, at=MIDDLE_OF_OLD, keep=10_000)
    written(keeper, tmp_path)
    row = CallRecord.objects.values().get()
    CallRecord.objects.create(**row | {"at": datetime.now(UTC), "cost_nanos": 0})

    assert f"workspace 1: call {made} stands there more than once" in findings(tmp_path)


def test_a_record_that_was_put_into_another_month_is_named(keeper, old_month, tmp_path):
    made = put(keeper, at=MIDDLE_OF_OLD, keep=10_000)
    written(keeper, tmp_path)
    append_only.uninstall(connection)
    sql(f"UPDATE {TABLE} SET at = now() WHERE id = %s", made)
    append_only.install(connection)

    assert findings(tmp_path) == [f"workspace 1: call {made} was changed"]


@pytest.mark.django_db(transaction=True)
def test_records_survive_the_dividing_and_the_joining(keeper, tmp_path):
    made = [put(keeper, at=at) for at in (MIDDLE_OF_OLD, datetime.now(UTC), datetime(2300, 1, 1, tzinfo=UTC))]
    written(keeper, tmp_path)
    append_event(AuditEvent(kind="change"))
    indexes = "SELECT indexname FROM pg_indexes WHERE tablename = 'audit_callrecord' ORDER BY 1"
    before = sql(indexes)

    call_command("migrate", "audit", "0006", verbosity=0)
    assert not partitions.is_divided(connection)
    assert sql(indexes) == before
    assert (append_only.missing(connection), findings(tmp_path)) == ([], [])

    call_command("migrate", "audit", verbosity=0)
    assert partitions.is_divided(connection)
    assert sql(indexes) == before
    assert {place_of(call_id) for call_id in made} == {FIRST}
    assert (append_only.missing(connection), findings(tmp_path)) == ([], [])
    assert names()[-1] == REST
