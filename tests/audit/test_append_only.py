"""The database refuses: through the ORM, in raw SQL, with every trick of either vendor."""

from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import DatabaseError, connection, models, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from audit import append_only
from audit.append_only.tables import protected_tables
from audit.batch import append_event
from audit.checks import records_are_protected
from audit.models import AuditEvent, CallRecord, Seal
from audit.services.changes import record_event
from tenants.models import Team, Workspace

pytestmark = pytest.mark.django_db

ON_SQLITE = connection.vendor == "sqlite"
COMMON = [
    "UPDATE audit_auditevent SET actor = 'nobody'",
    "DELETE FROM audit_auditevent",
    "UPDATE audit_seal SET n = n + 1",
    "DELETE FROM audit_seal",
    "INSERT INTO audit_auditevent SELECT * FROM audit_auditevent WHERE true ON CONFLICT (id) DO UPDATE SET actor = 'x'",
]
SQLITE = [
    "REPLACE INTO audit_auditevent SELECT * FROM audit_auditevent",
    "INSERT OR REPLACE INTO audit_seal SELECT * FROM audit_seal",
    "UPDATE OR REPLACE audit_auditevent SET id = id",
    "DROP TABLE audit_auditevent",
    "DROP TRIGGER audit_auditevent_no_update",
    "ALTER TABLE audit_auditevent RENAME TO elsewhere",
    "ALTER TABLE audit_auditevent DROP COLUMN actor",
    "ALTER TABLE audit_auditevent ADD COLUMN more text",
    "CREATE TRIGGER swallow BEFORE INSERT ON audit_auditevent BEGIN SELECT RAISE(IGNORE); END",
    "CREATE TEMP TRIGGER swallow BEFORE INSERT ON audit_auditevent BEGIN SELECT RAISE(IGNORE); END",
    "PRAGMA writable_schema = ON",
    "PRAGMA recursive_triggers = OFF",
    "UPDATE sqlite_master SET sql = ''",
]
POSTGRESQL = [
    "TRUNCATE audit_auditevent",
    "TRUNCATE audit_seal",
    "SET LOCAL session_replication_role = replica; UPDATE audit_auditevent SET actor = 'nobody'",
    "SET LOCAL session_replication_role = replica; DELETE FROM audit_auditevent",
]


@pytest.fixture
def event():
    Seal.objects.create(
        workspace_id="", n=1, first_seq=1, count=0, first_at=timezone.now(), last_at=timezone.now(),
        sealed_at=timezone.now(), root="", previous="", digest="", key_id="", signature="", leaves=b"",
    )  # fmt: skip
    return record_event(kind="change", data={"x": 1})


def rows():
    return list(AuditEvent.objects.order_by("pk").values()), list(Seal.objects.values())


@pytest.mark.parametrize("statement", COMMON + (SQLITE if ON_SQLITE else POSTGRESQL))
def test_raw_sql_is_refused(event, statement):
    before = rows()

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert rows() == before


@pytest.mark.parametrize(
    "deed",
    [
        lambda event: event.delete(),
        lambda event: event.save(),
        lambda event: AuditEvent.objects.update(actor="nobody"),
        lambda event: AuditEvent.objects.all().delete(),
        lambda event: AuditEvent.objects.bulk_update([event], ["actor"]),
        lambda event: AuditEvent.objects.bulk_create(
            [event], update_conflicts=True, update_fields=["actor"], unique_fields=["id"]
        ),
        lambda event: Seal.objects.all()._raw_delete("default"),
        lambda event: Seal.objects.filter(n=1).update(n=models.F("n") + 1),
    ],
)
def test_the_orm_is_refused(event, deed):
    before = rows()
    event.actor = "nobody"

    with pytest.raises(DatabaseError), transaction.atomic():
        deed(event)

    assert rows() == before


def test_a_row_may_go_only_when_its_time_is_over():
    now = timezone.now()
    over = append_event(AuditEvent(kind="change", keep_until=now - timedelta(seconds=5)))
    kept = append_event(AuditEvent(kind="change", keep_until=now + timedelta(days=1)))
    for_ever = append_event(AuditEvent(kind="change"))

    over.delete()
    for event in (kept, for_ever):
        with pytest.raises(DatabaseError), transaction.atomic():
            event.delete()

    assert set(AuditEvent.objects.values_list("pk", flat=True)) == {kept.pk, for_ever.pk}


HISTORY = "tenants_historicalteam"
ON_HISTORY = [
    f"UPDATE {HISTORY} SET name = 'other'",
    f"UPDATE {HISTORY} SET history_user_id = NULL, name = 'other'",
    f"UPDATE {HISTORY} SET history_user_id = history_user_id",
    f"DELETE FROM {HISTORY}",
    *([f"REPLACE INTO {HISTORY} SELECT * FROM {HISTORY}", f"DROP TABLE {HISTORY}"] if ON_SQLITE else []),
    *(
        []
        if ON_SQLITE
        else [f"TRUNCATE {HISTORY}", f"SET LOCAL session_replication_role = replica; DELETE FROM {HISTORY}"]
    ),
]


@pytest.fixture
def ada():
    return get_user_model().objects.create_user("ada")


@pytest.fixture
def team(ada):
    team = Team(workspace=Workspace.objects.create(name="acme"), name="search")
    team._history_user = ada
    team.save()
    return team


@pytest.mark.parametrize("statement", ON_HISTORY)
def test_the_history_of_configuration_is_refused_too(team, statement):
    before = list(Team.history.values())

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert list(Team.history.values()) == before != []


@pytest.mark.parametrize(
    "deed", [lambda team: team.history.all().delete(), lambda team: team.history.update(name="other")]
)
def test_the_orm_is_refused_history_too(team, deed):
    with pytest.raises(DatabaseError), transaction.atomic():
        deed(team)

    assert Team.history.values_list("name", flat=True).get() == "search"


def test_an_account_can_still_be_deleted_and_its_changes_stay(team, ada):
    Team.history.get()
    ada.delete()

    assert Team.history.values_list("name", "history_user_id").get() == ("search", None)


def test_every_history_there_is_is_protected():
    tables = {model._meta.db_table for model in apps.get_models() if model.__name__.startswith("Historical")}

    assert {protected.table for protected in protected_tables() if protected.columns} == tables
    assert HISTORY in tables


@pytest.fixture
def unguarded():
    connection.ensure_connection()
    append_only.unguard(connection)
    yield
    append_only.install(connection)
    append_only.guard(connection)


def first_trigger():
    kind = "no_update" if ON_SQLITE else "append_only"
    return f"audit_auditevent_{kind}", "audit_auditevent"


@pytest.mark.parametrize("table", ["audit_auditevent", HISTORY])
def test_a_trigger_that_was_dropped_is_named_by_the_check(unguarded, table):
    assert records_are_protected(databases=["default"]) == []
    name = f"{table}_no_delete" if ON_SQLITE else f"{table}_append_only"

    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER {name}" + ("" if ON_SQLITE else f" ON {table}"))

    assert append_only.missing(connection) == [f"trigger {name} is missing"]
    assert [found.msg for found in records_are_protected(databases=["default"])] == [f"trigger {name} is missing."]


def test_before_migrations_that_wait_the_triggers_of_before_are_no_trouble(unguarded):
    name, table = first_trigger()
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER {name}" + ("" if ON_SQLITE else f" ON {table}"))
    newest = MigrationRecorder.Migration.objects.filter(app="audit").latest("id")
    newest.delete()

    assert records_are_protected(databases=["default"]) == []
    assert append_only.missing(connection) != []

    newest.save(force_insert=True)
    assert records_are_protected(databases=["default"]) != []


def test_a_trigger_that_was_replaced_or_switched_off_is_named(unguarded):
    name, table = first_trigger()
    with connection.cursor() as cursor:
        if ON_SQLITE:
            cursor.execute(f"DROP TRIGGER {name}")
            cursor.execute(f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} BEGIN SELECT 1; END")
            expected = [f"trigger {name} is changed"]
        else:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}")
            cursor.execute(
                "CREATE OR REPLACE FUNCTION audit_append_only_for_ever() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RETURN OLD; END $$"
            )
            expected = [f"trigger {name} is changed or switched off", "function audit_append_only_for_ever is changed"]

    assert append_only.missing(connection) == expected


@pytest.mark.django_db(transaction=True)
def test_a_migration_that_remakes_a_table_does_not_leave_it_unprotected():
    connection.ensure_connection()
    append_only.unguard(connection)
    field = CallRecord._meta.get_field("form")
    longer = models.CharField(max_length=21, blank=True)
    longer.set_attributes_from_name("form")
    with connection.schema_editor() as editor:
        editor.alter_field(CallRecord, field, longer)
        editor.alter_field(CallRecord, longer, field)
    if ON_SQLITE:
        assert append_only.missing(connection) != []  # Django's remake forgets triggers

    call_command("migrate", verbosity=0)

    assert append_only.missing(connection) == []


@pytest.mark.django_db(transaction=True)
def test_going_back_and_forth_over_the_migration_ends_protected():
    call_command("migrate", "audit", "0001", verbosity=0)
    assert append_only.missing(connection) != []

    call_command("migrate", "audit", verbosity=0)

    assert append_only.missing(connection) == []
