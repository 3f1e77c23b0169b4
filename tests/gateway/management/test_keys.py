"""`manage.py keys`: a secret is printed once, alone; whatever else there is to say goes beside it."""

import json

import pytest
from django.core.management import CommandError, call_command

from tenants.models import ApiKey, Team, Workspace, key_digest_of


@pytest.fixture
def acme(db):
    workspace = Workspace.objects.create(name="acme")
    Team.objects.create(workspace=workspace, name="search")
    return workspace


def keys(capsys, action, *options):
    """What the command prints to standard output."""
    call_command("keys", action, "--workspace", "acme", *options)
    return capsys.readouterr().out


def test_a_created_key_prints_its_secret_and_nothing_else(acme, capsys):
    options = ["--team", "search", "--models", "chat, faq", "--ips", "10.0.0.0/8", "--expires", "2099-01-31"]

    secret = keys(capsys, "create", "--name", "web", *options).removesuffix("\n")

    key = ApiKey.objects.get()
    assert bytes(key.digest) == key_digest_of(secret)
    assert (key.team.name, key.allowed_models, key.allowed_ips) == ("search", ["chat", "faq"], ["10.0.0.0/8"])
    assert key.expires_at.isoformat() == "2099-01-31T00:00:00+00:00"
    assert ApiKey.history.get().history_change_reason == "keys"


def test_an_operator_may_choose_the_secret(acme, capsys, monkeypatch):
    monkeypatch.setenv("MY_KEY", "chosen-by-the-operator")

    assert keys(capsys, "create", "--name", "web", "--secret-env", "MY_KEY") == "chosen-by-the-operator\n"
    with pytest.raises(CommandError, match=r"The environment variable NO_KEY is not set\."):
        keys(capsys, "create", "--name", "other", "--secret-env", "NO_KEY")


def test_a_rotated_key_opens_with_both_secrets_until_the_overlap_ends(acme, capsys):
    old = keys(capsys, "create", "--name", "web").strip()
    new = keys(capsys, "rotate", "--name", "web", "--overlap", "2").strip()

    key = ApiKey.objects.get()
    assert (bytes(key.digest), bytes(key.previous_digest)) == (key_digest_of(new), key_digest_of(old))

    keys(capsys, "rotate", "--name", "web", "--overlap", "0")

    assert ApiKey.objects.get().previous_digest is None


def test_a_revoked_key_is_closed_and_revoking_again_says_so(acme, capsys):
    keys(capsys, "create", "--name", "web")

    assert keys(capsys, "revoke", "--name", "web") == "key acme/web is revoked\n"
    when = ApiKey.objects.get().revoked_at
    assert keys(capsys, "revoke", "--name", "web") == (
        f"key acme/web was revoked at {when:%Y-%m-%d %H:%M} UTC already\n"
    )
    with pytest.raises(CommandError, match="This key was revoked"):
        keys(capsys, "rotate", "--name", "web")


def test_the_list_shows_no_secret(acme, capsys):
    secret = keys(capsys, "create", "--name", "web", "--models", "chat").strip()
    keys(capsys, "create", "--name", "old")
    keys(capsys, "revoke", "--name", "old")

    table = keys(capsys, "list")
    told = json.loads(keys(capsys, "list", "--json", "--name", "web"))

    old = ApiKey.objects.get(name="old")
    assert table.splitlines() == [
        f"acme/old  …{old.hint}  revoked  -  all",
        f"acme/web  …{secret[-4:]}  active  -  chat",
    ]
    assert told == [
        {
            "workspace": "acme",
            "name": "web",
            "hint": secret[-4:],
            "state": "active",
            "team": None,
            "models": ["chat"],
            "allowed_ips": [],
            "expires_at": None,
            "overlap_until": None,
        }
    ]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["create", "--workspace", "nobody", "--name", "x"], r"There is no workspace 'nobody'\. There are: acme\."),
        (["create", "--workspace", "acme", "--name", "x", "--team", "t"], r"acme has no team 't'\."),
        (["create", "--workspace", "acme", "--name", "x", "--ips", "home"], "'home' is not an address or network"),
        (["create", "--workspace", "acme", "--name", "x", "--expires", "soon"], "'soon' is not a moment"),
        (["rotate", "--workspace", "acme", "--name", "x"], r"acme has no key 'x'\. It has: none\."),
        (["revoke", "--workspace", "acme", "--name", "x"], r"acme has no key 'x'\. It has: none\."),
        (["create", "--workspace", "acme"], "the following arguments are required: --name"),
    ],
)
def test_a_wrong_command_says_what_is_there(acme, options, told):
    with pytest.raises(CommandError, match=told):
        call_command("keys", *options)
    assert ApiKey.objects.count() == 0
