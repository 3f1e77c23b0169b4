"""`manage.py apply` and `export`, as a person or a pipeline sees them."""

import json

import pytest
from django.core.management import CommandError, call_command

from tenants.models import ApiKey, Workspace, key_digest_of

FILE = "version: 1\nworkspaces:\n  - name: acme\n    keys: [{name: web}]\n"


@pytest.fixture
def file(db, tmp_path):
    path = tmp_path / "tollgate.yaml"
    path.write_text(FILE)
    return path


def test_the_plan_is_printed_and_a_made_secret_once(file, capsys):
    call_command("apply", str(file))
    first = capsys.readouterr().out.splitlines()
    call_command("apply", str(file))
    second = capsys.readouterr().out.splitlines()

    secret = first[-1].rpartition(": ")[2]
    assert first[:-1] == ["+ workspace acme", "+ key acme/web"]
    assert first[-1] == f"secret of key acme/web, shown this once: {secret}"
    assert bytes(ApiKey.objects.get().digest) == key_digest_of(secret)
    assert second == ["nothing to change"]


def test_a_dry_run_says_so(file, capsys):
    call_command("apply", str(file), dry_run=True)

    assert capsys.readouterr().out.splitlines() == [
        "+ workspace acme",
        "+ key acme/web",
        "dry run: nothing was changed",
    ]
    assert Workspace.objects.count() == 0


def test_json_holds_the_plan_and_the_made_secrets(file, capsys):
    call_command("apply", str(file), json=True)
    told = json.loads(capsys.readouterr().out)
    file.write_text(FILE + "    timezone: Asia/Tokyo\n")
    call_command("apply", str(file), json=True)
    changed = json.loads(capsys.readouterr().out)

    secret = told["secrets"]["acme/web"]
    assert told == {
        "applied": True,
        "changes": [
            {"action": "add", "kind": "workspace", "name": "acme", "fields": {}},
            {"action": "add", "kind": "key", "name": "acme/web", "fields": {}},
        ],
        "notes": [],
        "secrets": {"acme/web": secret},
    }
    assert bytes(ApiKey.objects.get().digest) == key_digest_of(secret)
    assert changed["changes"] == [
        {
            "action": "change",
            "kind": "workspace",
            "name": "acme",
            "fields": {"timezone": {"old": "UTC", "new": "Asia/Tokyo"}},
        }
    ]
    assert changed["secrets"] == {}


def test_a_wrong_file_exits_with_1_and_names_each_place(file, capsys):
    file.write_text("version: 1\nworkspaces: [{name: acme, timezone: Mars}]\nroute: []\n")

    with pytest.raises(SystemExit) as exit:
        call_command("apply", str(file))

    told = capsys.readouterr()
    assert (exit.value.code, told.out) == (1, "")
    assert told.err.splitlines() == [
        f"{file}:2:37 workspaces[0].timezone: 'Mars' is not a time zone; write one like Africa/Johannesburg",
        f"{file}:3:1 route: the file has no field 'route'; did you mean 'routes'?",
        "2 problem(s); nothing was changed",
    ]
    assert Workspace.objects.count() == 0


def test_a_wrong_file_is_told_in_json_too(file, capsys):
    file.write_text("version: 2\n")

    with pytest.raises(SystemExit):
        call_command("apply", str(file), json=True)

    assert json.loads(capsys.readouterr().out) == {
        "applied": False,
        "errors": [
            {
                "file": str(file),
                "line": 1,
                "column": 10,
                "path": "version",
                "message": "2 is out of range: from 1 to 1",
            }
        ],
    }


def test_a_note_goes_beside_the_plan(file, capsys):
    call_command("apply", str(file))
    call_command("keys", "revoke", "--workspace", "acme", "--name", "web")
    capsys.readouterr()
    call_command("apply", str(file))

    told = capsys.readouterr()
    assert told.out == "nothing to change\n"
    assert told.err == "note: key acme/web was revoked and stays so; take it out of the file, or name a new key\n"


def test_export_prints_a_file_that_applies_as_an_empty_plan(file, capsys):
    call_command("apply", str(file))
    capsys.readouterr()
    call_command("export", workspace="acme")
    file.write_text(capsys.readouterr().out)
    call_command("apply", str(file), prune=True)

    assert capsys.readouterr().out == "nothing to change\n"
    with pytest.raises(CommandError, match="there is no workspace 'other'"):
        call_command("export", workspace="other")
