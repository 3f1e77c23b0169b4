"""deploy/postgresql/protect.sql on a real database: what its roles may do, and what not even a superuser may."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

import budgets.append_only
import prompts.append_only
from audit import append_only, partitions
from audit.models import CallRecord
from audit.services.changes import record_event
from audit.services.retention import drop_what_is_over
from audit.services.sealing import Sealer
from audit.services.verification import Verifier
from tenants.append_only import is_guarded
from tenants.models import Team, Workspace
from tests.audit.sample import call, carry, drained, recorder, snapshot
from tests.audit.test_writer import run

PROTECT = (Path(settings.BASE_DIR) / "deploy/postgresql/protect.sql").read_text()


def sql(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def is_superuser():
    return connection.vendor == "postgresql" and sql("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")[0][0]


@pytest.fixture
def protected(db):
    """The file, run as a superuser inside the test's transaction: roles and event triggers go with it."""
    if not is_superuser():
        pytest.skip("needs PostgreSQL and a superuser")
    sql(PROTECT.replace("BEGIN;", "").replace("COMMIT;", ""))
    Team.objects.create(workspace=Workspace.objects.create(pk=1, name="acme"), name="search")
    sql("SET CONSTRAINTS ALL IMMEDIATE")  # else PostgreSQL alters no table in this transaction


@pytest.fixture
def keeper(tmp_path):
    made = recorder(tmp_path / "journal")
    yield made
    made.journal.close(remove=True)


@pytest.fixture(params=["tollgate_app", "tollgate_owner", ""])
def role(request, protected):
    """The gateway's own role, the one that migrates, and a superuser."""
    if request.param:
        sql(f"SET LOCAL ROLE {request.param}")
    return request.param


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_auditevent SET actor = 'nobody'",
        "DELETE FROM audit_auditevent",
        "TRUNCATE audit_auditevent",
        "SET LOCAL session_replication_role = replica; DELETE FROM audit_auditevent",
        "INSERT INTO audit_auditevent SELECT * FROM audit_auditevent WHERE true ON CONFLICT (id) DO UPDATE SET actor = ''",
        "DROP TABLE audit_callrecord",
        "DROP TABLE audit_callrecord_first",
        "DROP TABLE tenants_historicalteam CASCADE",
        "DROP SCHEMA public CASCADE",
        "DROP TRIGGER audit_callrecord_append_only ON audit_callrecord",
        "DROP TRIGGER audit_callrecord_no_truncate ON audit_callrecord_first",
        "DROP TRIGGER no_update ON budgets_entry",
        "DROP TRIGGER prompts_approval_no_delete ON prompts_approval",
        "DROP TABLE evals_score",
        "DROP FUNCTION audit_append_only() CASCADE",
        "ALTER TABLE audit_auditevent DISABLE TRIGGER ALL",
        "ALTER TABLE audit_callrecord DISABLE TRIGGER audit_callrecord_append_only",
        "ALTER TABLE audit_callrecord DETACH PARTITION audit_callrecord_first",
        "ALTER TABLE audit_auditevent ALTER COLUMN actor TYPE text USING 'nobody'",
        "ALTER TABLE audit_auditevent RENAME TO elsewhere",
        "ALTER TABLE audit_auditevent ENABLE ROW LEVEL SECURITY",
        "ALTER TRIGGER audit_auditevent_append_only ON audit_auditevent RENAME TO other",
        "CREATE RULE swallow AS ON INSERT TO audit_auditevent DO INSTEAD NOTHING",
        "CREATE TRIGGER a_swallow BEFORE INSERT ON audit_auditevent FOR EACH ROW EXECUTE FUNCTION audit_append_only()",
        "CREATE OR REPLACE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$",
        "ALTER FUNCTION audit_append_only() RENAME TO other",
        "ALTER TABLE audit_callrecord_first RENAME TO other; DROP TABLE other",
    ],
)
def test_nobody_takes_the_protection_away(role, statement):
    record_event(kind="change")

    with pytest.raises(DatabaseError), transaction.atomic():
        sql(statement)

    assert append_only.missing(connection) == budgets.append_only.missing(connection) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tenants_historicalteam SET name = 'other'",
        "DELETE FROM tenants_historicalteam",
        "UPDATE audit_seal SET n = 2",
        "DELETE FROM audit_seal",
        "UPDATE budgets_entry SET nanos = 0",
        "DELETE FROM prompts_approval",
        "DELETE FROM audit_callrecord_first",
        "SELECT * FROM audit_callrecord_first",
        "CREATE TABLE more (id int)",
        "ALTER TABLE tenants_team ADD COLUMN more int",
    ],
)
def test_the_gateways_own_role_has_not_even_the_right(protected, statement):
    with transaction.atomic():
        sql("SET LOCAL ROLE tollgate_app")
        with pytest.raises(DatabaseError, match=r"permission denied|must be owner"), transaction.atomic():
            sql(statement)
        sql("RESET ROLE")


def test_the_gateways_own_role_does_all_its_work(protected, keeper, tmp_path):
    first = partitions.FIRST
    sql("SET LOCAL ROLE tollgate_app")
    assert sql(f"SELECT audit_drop_partition('{first}', 0), audit_make_partition('2026-01-01')") == [(True, True)]
    old = datetime(2026, 1, 15, tzinfo=UTC).timestamp()
    for at in (old, old, timezone.now().timestamp()):
        run(carry(call(at=at, user="ann"), snapshot(keeper, records_days=10)))
    drained(keeper)
    Sealer(settings.KEYRING, tmp_path)()
    team = Team.objects.get()
    team.name = "found"
    team.save()

    assert drop_what_is_over(keyring=settings.KEYRING)["calls"] == 2

    assert CallRecord.objects.count() == 1
    assert "audit_callrecord_2026_01" not in [each.name for each in partitions.partitions(connection)]
    assert partitions.make_ahead(connection, date(2400, 1, 1)) != []
    assert list(Verifier(settings.KEYRING, tmp_path).run()) == []
    assert append_only.missing(connection) == []
    sql("RESET ROLE")
    owners = sql("SELECT DISTINCT tableowner FROM pg_tables WHERE tablename LIKE 'audit_callrecord%'")
    assert owners == [("tollgate_owner",)]


def test_migrating_with_nothing_to_migrate_goes_on_as_the_owner(protected):
    sql("SET LOCAL ROLE tollgate_owner")

    call_command("migrate", verbosity=0)

    sql("RESET ROLE")
    assert append_only.missing(connection) == prompts.append_only.missing(connection) == []


def test_it_can_be_run_again(protected):
    sql(PROTECT.replace("BEGIN;", "").replace("COMMIT;", ""))

    assert is_guarded(connection)


def test_doctor_says_whether_it_is_in_force(protected):
    assert append_only.may_be_taken_away(connection) == ""

    sql("ALTER EVENT TRIGGER tollgate_no_drop DISABLE")
    assert append_only.may_be_taken_away(connection).endswith(
        "could drop them: deploy/postgresql/protect.sql prevents that"
    )

    sql("SET LOCAL ROLE tollgate_app")
    assert append_only.may_be_taken_away(connection) == ""
    sql("RESET ROLE")
