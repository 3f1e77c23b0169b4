"""`manage.py doctor`: one line for each thing, and 1 when one fails."""

import pytest
from django.core.management import call_command
from django.db import connection

from audit import append_only
from gateway.core.crypto import Keyring, new_key
from gateway.models import Credential, Provider
from gateway.services.credentials import store_credential
from gateway.services.diagnosis import diagnose

NAMES = [
    *("settings", "database", "migrations", "configuration", "credentials", "append-only", "ledger"),
    *("redis", "disk", "journal", "secrets"),
]


@pytest.fixture
def data_dir(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    return tmp_path


def states():
    """The state of each finding that is not ok, with its message."""
    return {found.name: (found.state, found.message) for found in diagnose() if found.state != "ok"}


def test_a_sound_installation_has_nothing_but_ok(db, data_dir, capsys):
    call_command("doctor")

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1].rstrip(":") for line in lines] == NAMES
    assert {line.split()[0] for line in lines} == {"ok"}


def test_a_credential_that_does_not_open_fails_and_exits_with_1(db, data_dir, settings, capsys):
    provider = Provider.objects.create(name="openai", kind="openai")
    store_credential(provider=provider, name="main", secret="sk-a-secret-of-theirs")
    settings.KEYRING = Keyring([new_key()])

    with pytest.raises(SystemExit) as exit:
        call_command("doctor")

    told = capsys.readouterr().out.splitlines()
    assert exit.value.code == 1
    assert "FAIL  credentials: 1 of 1 do not open with ENCRYPTION_KEYS, first openai / main" in told
    assert [line for line in told if "sk-a-secret" in line] == []


def test_a_secret_under_an_older_key_is_worth_a_look(db, data_dir, settings):
    old = new_key()
    settings.KEYRING = Keyring([old])
    store_credential(provider=Provider.objects.create(name="p", kind="openai"), name="main", secret="secret")
    settings.KEYRING = Keyring([new_key(), old])

    assert Credential.objects.get().secret == "secret"
    assert states() == {"credentials": ("warn", "1 of 1 are sealed under an older key of ENCRYPTION_KEYS")}


def test_a_missing_trigger_fails(db, data_dir):
    append_only.unguard(connection)
    append_only.uninstall(connection)
    try:
        found = states()
    finally:
        append_only.install(connection)
        append_only.guard(connection)

    assert list(found) == ["append-only"]
    assert found["append-only"][0] == "FAIL"
    assert found["append-only"][1].endswith("run `manage.py migrate`, which puts the triggers back")


def test_a_redis_that_does_not_answer_fails(db, data_dir, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    assert states()["redis"][0] == "FAIL"


def test_records_that_were_refused_and_open_files_are_told(db, data_dir):
    (data_dir / "journal").mkdir()
    (data_dir / "journal" / "dead-letters.jsonl").write_text("{}\n{}\n")
    (data_dir / "secret_key").write_text("x")
    (data_dir / "secret_key").chmod(0o644)

    assert states() == {
        "journal": (
            "FAIL",
            f"2 record(s) that the database refused stand in {data_dir / 'journal' / 'dead-letters.jsonl'}",
        ),
        "secrets": ("FAIL", f"others may read secret_key in {data_dir}: chmod 600"),
    }
