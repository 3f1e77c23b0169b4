"""The pages and the API of runs: what was answered, what was found, and nothing of another tenant."""

import pytest
from django.test import Client

from evals.models import Run
from evals.services.running import Wanted, begin_run, generate
from evals.services.scoring import score_run
from tenants.models import Member
from tests import rows
from tests.evals.world import Gateway, case, suite_of

pytestmark = pytest.mark.django_db
EVIL = "<script>alert(1)</script>{{secret}}"


@pytest.fixture
def run() -> Run:
    suite = suite_of(
        case("good", {"kind": "contains", "value": "script"}), case("bad", {"kind": "contains", "value": "cat"})
    )
    made = begin_run(suite=suite, wanted=Wanted(prompt="summary@1"), actor="ann")
    generate(run=made, complete=Gateway(say=lambda body: EVIL).complete)
    score_run(run=made, actor="ann")
    return made


@pytest.fixture
def insider(client: Client, run) -> Client:
    user = rows.superuser("ivy")
    user.is_superuser = False
    user.save()
    Member.objects.create(workspace=run.workspace, user=user, role="viewer")
    client.force_login(user)
    return client


def test_a_run_shows_its_verdict_and_each_answer_as_text(insider, run):
    shown = insider.get(f"/admin/evals/run/{run.pk}/change/").content.decode()
    assert "50.0% of the assertions hold; the suite asks for 100.0%." in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{secret}}" in shown
    assert "<script>alert(1)" not in shown
    listed = insider.get("/admin/evals/run/").content.decode()
    assert "1 of 2" in listed
    assert "summary@1" in listed


def test_the_api_tells_the_same_verdict_as_the_command(insider, run):
    [listed] = insider.get("/api/eval-runs/").json()["results"]
    assert (listed["id"], listed["verdict"], listed["prompt"]) == (run.pk, "failed", "summary@1")
    told = insider.get(f"/api/eval-runs/{run.pk}/result/").json()
    assert (told["run"], told["exit_code"], len(told["outputs"])) == (run.pk, 1, 2)
    assert insider.delete(f"/api/eval-runs/{run.pk}/").status_code == 403


def test_a_run_that_was_broken_off_says_so(insider, run):
    begun = begin_run(suite=run.workspace.suites.get(), wanted=Wanted(), actor="ann")
    assert "broken off" in insider.get(f"/admin/evals/run/{begun.pk}/change/").content.decode()
    assert insider.get(f"/api/eval-runs/{begun.pk}/result/").status_code == 404


def test_another_tenants_runs_are_not_there(client: Client, run):
    client.force_login(rows.tenant("umbra").person("owner"))
    assert client.get("/api/eval-runs/").json()["results"] == []
    assert client.get(f"/api/eval-runs/{run.pk}/").status_code == 404
    assert client.get(f"/api/eval-runs/{run.pk}/result/").status_code == 404
    assert run.pk not in client.get(f"/admin/evals/run/{run.pk}/change/", follow=True).content.decode()
    assert "summary@1" not in client.get("/admin/evals/run/").content.decode()


def test_the_list_takes_as_many_queries_for_three_runs_as_for_one(insider, run, django_assert_max_num_queries):
    with django_assert_max_num_queries(30) as first:
        insider.get("/admin/evals/run/")
    for _ in range(2):
        made = begin_run(suite=run.workspace.suites.get(), wanted=Wanted(), actor="ann")
        score_run(run=made, actor="ann")
    with django_assert_max_num_queries(30) as then:
        insider.get("/admin/evals/run/")
    assert len(then.captured_queries) == len(first.captured_queries)
