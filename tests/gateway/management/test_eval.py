"""Suites from the command line: what CI sees."""

import json
from contextlib import nullcontext
from io import StringIO
from xml.etree import ElementTree

import pytest
from django.core.management import CommandError, call_command

from evals.models import Run
from gateway.client import Completion
from gateway.management.commands import eval as command
from tests.evals.world import Gateway, case, suite_of
from tests.installation import Installation

SAID = {"kind": "contains", "value": "said"}


@pytest.fixture
def gateway(monkeypatch) -> Gateway:
    """The gateway of the world of evals, in place of one that is started for the command."""
    made = Gateway()
    monkeypatch.setattr(command, "serving", nullcontext)
    monkeypatch.setattr(command, "completer", lambda: made.complete)
    return made


def run(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("eval", *arguments, stdout=out)
    except SystemExit as ended:
        return int(ended.code), out.getvalue()
    except CommandError as error:
        return error.returncode, str(error)
    return 0, out.getvalue()


def golden(*more: str) -> tuple[int, str]:
    return run("run", "--workspace", "acme", "--suite", "golden", *more)


@pytest.mark.django_db
def test_a_run_passes_fails_or_is_capped_by_its_exit_code(gateway, tmp_path):
    suite_of(case("a <b>", SAID), case("b", SAID | {"critical": True}))
    junit, report = tmp_path / "out/junit.xml", tmp_path / "out/report.json"
    code, said = golden("--junit", str(junit), "--json", str(report))
    assert code == 0, said
    assert "2 of 2 cases pass" in said
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "0", "0")
    told = json.loads(report.read_text())
    assert (told["verdict"], told["exit_code"], told["prompt"]) == ("passed", 0, "summary@2")

    gateway.say = lambda body: "nothing"
    code, said = golden("--junit", str(junit), "--baseline", told["run"][:20])
    assert code == 1, said
    assert "b: the critical contains fails." in said
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("failures"), suite[-1].get("name"), suite[-1][0].tag) == ("3", "gate", "failure")
    assert golden("--max-cost", "0.000001")[0] == 5
    assert golden("--max-cost", "0")[0] == 5


@pytest.mark.django_db
def test_what_is_asked_wrongly_is_2_and_asks_nobody(gateway):
    suite_of(case("a", SAID))
    for wrong in (
        ("run", "--workspace", "other", "--suite", "golden"),
        ("run", "--workspace", "acme", "--suite", "other"),
        ("run", "--workspace", "acme", "--suite", "golden", "--prompt", "summary@9"),
        ("run", "--workspace", "acme", "--suite", "golden", "--max-cost", "much"),
        ("run", "--workspace", "acme", "--suite", "golden", "--baseline", "approved"),
        ("run", "--workspace", "acme", "--suite", "golden", "--repeat", "0"),
        ("score", "nothing"),
        ("compare", "nothing", "nothing"),
    ):
        assert run(*wrong)[0] == 2, wrong
    assert gateway.asked == []


@pytest.mark.django_db
def test_a_gateway_that_answers_nothing_is_3_and_a_hole_is_4(gateway):
    suite_of(case("a", SAID), case("b", SAID))
    gateway.say = lambda body: Completion("1", code="all_targets_failed", error="down")
    assert golden()[0] == 3
    gateway.say = lambda body: (
        "said" if body["inputs"]["text"] == "a" else Completion("1", code="timeout", error="late")
    )
    assert golden()[0] == 4


@pytest.mark.django_db
def test_scoring_again_comparing_and_approving(gateway):
    suite_of(case("a", SAID), case("b", SAID), gate={"min_pass_rate": 0.5})
    golden()
    gateway.say = lambda body: "said" if body["inputs"]["text"] == "a" else "nothing"
    golden()
    after, before = Run.objects.values_list("pk", flat=True)
    asked = len(gateway.asked)
    assert run("score", after)[0] == 0
    assert run("score", after, "--baseline", before)[0] == 1
    code, said = run("compare", before, after)
    assert (code, len(gateway.asked)) == (0, asked)
    assert "-50.0% against summary@2" in said
    assert "  - b" in said
    assert run("approve", before, "--reason", "first")[0] == 0
    assert golden("--baseline", "approved")[0] == 1


@pytest.mark.timeout(300)
def test_a_suite_runs_through_the_real_gateway_and_leaves_its_records(installation: Installation):
    installation.apply(
        "version: 1\n"
        "providers: [{name: demo, kind: demo, credentials: []}]\n"
        "models: [{name: small, provider: demo, upstream: demo-small, price: {input: '1', output: '2'}}]\n"
        "workspaces:\n- name: acme\n  prompts:\n  - name: echo\n    versions:\n"
        "    - {message: first, route: small, messages: [{role: user, content: 'Say: {{text}}'}]}\n"
        "    channels: {production: 1}\n"
        "  suites:\n  - name: golden\n    prompt: echo\n    cases:\n"
        "    - {name: word, inputs: {text: hello there}, assertions: [{kind: contains, value: hello}]}\n"
        "    - {name: mail, inputs: {text: 'write to ann@example.com'}, assertions: [{kind: no_pii}]}\n"
    )
    done = installation.manage("eval", "run", "--workspace", "acme", "--suite", "golden", check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "no_pii fails: It holds email." in done.stdout
    calls = installation.manage("calls", "--workspace", "acme", "--jsonl").stdout.splitlines()
    records = [json.loads(line) for line in calls]
    assert [(each["key"], each["prompt"], each["outcome"]) for each in records] == [("evals", "echo@1", "answered")] * 2
