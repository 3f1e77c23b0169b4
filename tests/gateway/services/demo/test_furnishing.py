"""The demo: furnished once on an empty installation, believable, and never in anybody's way."""

import stat
from datetime import UTC, datetime

import pytest
from django.contrib.auth import authenticate
from django.core.management import call_command

from audit.models import CallBody, CallRecord, Feedback
from budgets.models import Entry
from gateway.models import Provider
from gateway.services.configuration.applying import apply_file
from gateway.services.demo.furnishing import CONFIGURATION, furnish, kept_path
from gateway.services.demo.history import Dice, moments
from tenants.models import ApiKey, Workspace, key_digest_of


@pytest.fixture
def data_dir(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    return tmp_path


def test_an_empty_installation_is_furnished(db):
    furnished = furnish()

    assert authenticate(username="admin", password=furnished.password).is_superuser
    assert bytes(ApiKey.objects.get(name="web").digest) == key_digest_of(furnished.key)
    assert furnished.calls == CallRecord.objects.count()
    assert 250 <= furnished.calls <= 500
    assert (CallBody.objects.count() > 300, Feedback.objects.count() > 10) == (True, True)
    assert set(CallRecord.objects.values_list("outcome", flat=True)) == {
        *("answered", "refused", "failed", "client_left"),
    }
    assert set(CallRecord.objects.values_list("cache", flat=True)) == {"off", "miss", "hit-exact"}
    assert set(Provider.objects.values_list("kind", flat=True)) == {"demo"}


def test_what_calls_cost_stands_in_the_ledger(db):
    furnish()

    spent = sum(CallRecord.objects.values_list("cost_nanos", flat=True))

    assert spent > 0
    assert sum(Entry.objects.values_list("nanos", flat=True)) == spent


def test_furnishing_again_changes_nothing(db):
    furnish()
    counts = (CallRecord.objects.count(), ApiKey.objects.count())

    again = furnish()

    assert (again.is_first, again.calls) == (False, 0)
    assert (CallRecord.objects.count(), ApiKey.objects.count()) == counts


def test_an_installation_with_a_workspace_gets_an_admin_and_nothing_else(db):
    Workspace.objects.create(name="mine")

    furnished = furnish()

    assert (bool(furnished.password), furnished.key) == (True, "")
    assert (list(Workspace.objects.values_list("name", flat=True)), CallRecord.objects.count()) == (["mine"], 0)


def test_the_demos_configuration_is_a_file_like_any_other(db):
    furnished = furnish()

    again = apply_file(path=CONFIGURATION, environment={"DEMO_KEY": furnished.key}, dry_run=True)

    assert again.plan.lines() == ["nothing to change"]
    assert set(Provider.history.values_list("history_change_reason", flat=True)) == {"demo"}


def test_no_call_is_in_the_future_and_none_older_than_two_weeks():
    now = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)

    told = list(moments(Dice("x"), now))

    assert told == sorted(told)
    assert (told[0] >= datetime(2026, 2, 16, tzinfo=UTC), told[-1] < now) == (True, True)
    assert told == list(moments(Dice("x"), now))


def test_the_first_start_prints_all_that_is_needed_and_keeps_it_for_the_owner_alone(db, data_dir, capsys):
    call_command("demo", port=8123)
    first = capsys.readouterr().out
    call_command("demo", port=8123)
    second = capsys.readouterr().out

    kept = kept_path()
    secret = next(word for word in first.split() if word.startswith("tg_"))
    assert first.startswith(kept.read_text())
    assert "name: admin   password: " in first
    assert "curl http://127.0.0.1:8123/v1/chat/completions" in first
    assert bytes(ApiKey.objects.get(name="web").digest) == key_digest_of(secret)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert second.splitlines() == [
        "Web UI and /v1 at http://127.0.0.1:8123/",
        f"The first start's password and API key are in {kept}",
    ]
