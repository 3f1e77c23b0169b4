"""A month's statement: sums of ledger lines, the same byte for byte whenever it is made again."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from budgets.models import Entry
from budgets.services.spending import book
from budgets.statement import COLUMNS, make_statement
from tests import rows
from tests.budgets.test_spending import line

pytestmark = pytest.mark.django_db

INSIDE = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def world():
    """Lines on both sides of March 2026 in Johannesburg, of a team and of none, one in doubt and one corrected."""
    with override_settings(SIMPLE_HISTORY_ENABLED=False):  # it was always there
        ours = rows.tenant("acme")
    ours.team.save()
    ours.key.save()
    ours.workspace.timezone = "Africa/Johannesburg"
    ours.workspace.save()
    team, key = str(ours.team.pk), str(ours.key.pk)
    at = {
        "before": datetime(2026, 2, 28, 21, 59, 59, tzinfo=UTC),
        "first": datetime(2026, 2, 28, 22, tzinfo=UTC),
        "inside": INSIDE,
        "last": datetime(2026, 3, 31, 21, 59, 59, tzinfo=UTC),
        "after": datetime(2026, 3, 31, 22, tzinfo=UTC),
    }
    book(
        [line(ours.workspace, name, at=when.timestamp(), team=team, key=key, nanos=10) for name, when in at.items()]
        + [
            line(ours.workspace, "alone", at=INSIDE.timestamp(), key=key, nanos=5, classes={"input": 4, "cached": 3}),
            line(ours.workspace, "doubt", at=INSIDE.timestamp(), team=team, key=key, nanos=700, status="in_doubt"),
            line(ours.workspace, "known", at=INSIDE.timestamp(), team=team, key=key, nanos=800, status="in_doubt"),
        ]
    )
    book([line(ours.workspace, "known", at=INSIDE.timestamp(), team=team, key=key, nanos=300)])
    book([line(rows.tenant("umbra").workspace, "theirs", at=INSIDE.timestamp(), nanos=9999)])
    return ours


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_statement_adds_up_the_month_as_the_workspace_lives_it(world):
    of_none, of_team, total = read(make_statement(world.workspace, "2026-03").text)
    names = ("team", "key", "attempts", "charged_usd", "corrections_usd", "total_usd", "in_doubt_usd")
    assert [of_team[name] for name in names] == [
        *("acme-team", "acme-key", "5", "0.00000153", "-0.0000005", "0.00000103", "0.0000007"),
    ]
    assert [of_none[name] for name in (*names[:4], "input_tokens", "cached_tokens")] == [
        *("", "acme-key", "1", "0.000000005", "4", "3"),
    ]
    assert [total[name] for name in names[2:]] == ["6", "0.000001535", "-0.0000005", "0.000001035", "0.0000007"]
    assert (total["team"], total["time_zone"], total["month"]) == ("TOTAL", "Africa/Johannesburg", "2026-03")
    (only, _) = read(make_statement(world.workspace, "2026-03", team=world.team).text)
    assert only == of_team


def test_a_statement_is_the_same_after_names_change_calls_go_on_and_it_can_be_made_again_after_a_correction(world):
    first = make_statement(world.workspace, "2026-03")
    world.team.name, world.key.name, world.workspace.name = "=renamed", "other", "acme-2"
    for row in (world.team, world.key, world.workspace):
        row.save()
    book([line(world.workspace, "april", at=datetime(2026, 4, 2, tzinfo=UTC).timestamp())])
    assert make_statement(world.workspace, "2026-03").text == first.text
    book([line(world.workspace, "doubt", at=INSIDE.timestamp(), team=str(world.team.pk), nanos=100)])
    later = make_statement(world.workspace, "2026-03")
    assert later.digest != first.digest
    assert make_statement(world.workspace, "2026-03", as_of=first.as_of).text == first.text
    assert "'=renamed" in later.text


def test_a_month_without_lines_is_an_empty_statement(world):
    (total,) = make_statement(world.workspace, "2025-01").rows
    assert dict(zip(COLUMNS, total, strict=True))["total_usd"] == "0"


def test_the_command_prints_writes_and_verifies(world, tmp_path, capsys):
    asked = ["--workspace", "acme", "--month", "2026-03", "--team", "acme-team"]
    made = make_statement(world.workspace, "2026-03", team=world.team)
    call_command("statement", *asked)
    printed = capsys.readouterr()
    assert printed.out.replace("\r\n", "\n") == made.text.replace("\r\n", "\n")
    assert made.digest in printed.err
    call_command("statement", *asked, "--output", str(tmp_path / "s.csv"))
    assert (tmp_path / "s.csv").read_bytes() == made.text.encode()
    call_command("statement", *asked, "--verify", made.digest)
    book([line(world.workspace, "late", at=INSIDE.timestamp(), team=str(world.team.pk))])
    with pytest.raises(SystemExit):
        call_command("statement", *asked, "--verify", made.digest)
    call_command("statement", *asked, "--verify", made.digest, "--as-of", made.as_of.isoformat())


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (["--workspace", "nobody"], "no workspace 'nobody'"),
        (["--workspace", "acme", "--team", "x"], "has no team 'x'. There are: acme-team"),
        (["--workspace", "acme", "--month", "March"], "'March' is not a month"),
        (["--workspace", "acme", "--as-of", "soon"], "'soon' is not a time"),
    ],
)
def test_the_command_says_what_is_wrong(world, fields, says):
    with pytest.raises(CommandError, match=says):
        call_command("statement", *fields)


def test_the_pages_show_a_months_teams_and_give_the_same_bytes(client, world):
    url = reverse("admin:budgets_budget_statements")
    client.force_login(world.person("viewer"))
    page = client.get(url, {"month": "2026-03"})
    assert page.status_code == 200
    assert "umbra" not in page.content.decode()
    made = make_statement(world.workspace, "2026-03", team=world.team)
    asked = {"month": "2026-03", "workspace": world.workspace.pk, "team": world.team.pk}
    one = client.get(url, asked)
    assert made.digest in one.content.decode()
    answer = client.get(url, asked | {"format": "csv"})
    assert answer.content == made.text.encode()
    assert answer.headers["content-disposition"] == 'attachment; filename="statement-acme-acme-team-2026-03.csv"'
    theirs = rows.Workspace.objects.get(name="umbra")
    assert client.get(url, {"month": "2026-03", "workspace": theirs.pk}).status_code == 404
    assert client.get(url, {"month": "nonsense"}).status_code == 404
    assert client.get(url).status_code == 200


def test_lines_keep_when_they_were_booked(world):
    assert Entry.objects.filter(booked_at__lt=timezone.now() - timedelta(minutes=5)).count() == 0
