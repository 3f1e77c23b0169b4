"""Runs: each case asked once, each answer kept once, scored as often as you like, and never beyond the cost cap."""

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction

from evals.models import Case, Output, Run, Score, Scoring
from evals.services.running import Wanted, begin_run, generate
from evals.services.scoring import Judge, approve_baseline, score_run
from gateway.client import Completion
from prompts.services.publishing import point_channel
from prompts.services.reviewing import newest_results
from tests.evals.world import Gateway, case, suite_of

pytestmark = pytest.mark.django_db
SAID = {"kind": "contains", "value": "said"}


def ran(suite, gateway, **wanted) -> Run:
    run = begin_run(suite=suite, wanted=Wanted(**wanted), actor="test")
    generate(run=run, complete=gateway.complete)
    return run


def test_each_case_is_asked_as_an_application_would_and_its_answer_kept():
    gateway = Gateway()
    run = ran(suite_of(case("a", SAID), case("b", SAID)), gateway, prompt="summary@2", repeat=2)
    assert sorted((body["prompt"], body["inputs"]["text"], body["cache"]) for body in gateway.asked) == [
        ("summary@2", "a", "off"),
        ("summary@2", "a", "off"),
        ("summary@2", "b", "off"),
        ("summary@2", "b", "off"),
    ]
    assert {body["metadata"]["run_id"] for body in gateway.asked} == {run.pk}
    assert sorted(run.outputs.values_list("case", "repeat", "text", "cost_nanos")) == [
        ("a", 1, "said a", 1000),
        ("a", 2, "said a", 1000),
        ("b", 1, "said b", 1000),
        ("b", 2, "said b", 1000),
    ]
    assert gateway.most_at_once > 1
    generate(run=run, complete=gateway.complete)
    assert len(gateway.asked) == 4  # what is there is not asked again


def test_scoring_again_asks_nobody_and_changes_nothing_that_stands():
    gateway = Gateway(say=lambda body: '{"pass": true, "reason": "ok"}')
    judged = {"kind": "judge", "value": "be kind"}
    run = ran(suite_of(case("a", SAID | {"value": "pass"}, judged)), gateway)
    first = score_run(run=run, actor="test", judge=Judge(run, gateway.complete))
    asked, before = len(gateway.asked), list(Score.objects.values())
    second = score_run(run=run, actor="test")
    assert (len(gateway.asked), list(Score.objects.filter(scoring=first).values())) == (asked, before)
    keys = ("number", "kind", "verdict", "score", "reason", "raw")
    assert list(first.scores.values(*keys)) == list(second.scores.values(*keys))
    assert (first.verdict, second.verdict) == ("passed", "passed")


def test_a_judge_that_was_never_asked_decides_nothing():
    run = ran(suite_of(case("a", {"kind": "judge", "value": "be kind"})), Gateway())
    assert score_run(run=run, actor="test").verdict == "incomplete"


@pytest.mark.parametrize("cap", [0, 999, 1000, 3500, 10_000_000])
def test_no_more_than_the_cap_is_spent_however_many_are_asked_at_once(cap):
    gateway = Gateway()
    run = ran(suite_of(*(case(str(at), SAID) for at in range(12))), gateway, max_cost_nanos=cap)
    spent = 1000 * len(gateway.asked)
    assert spent <= cap
    assert spent == min(12_000, cap // 1000 * 1000)  # and what can be paid is asked
    scoring = score_run(run=run, actor="test", judge=Judge(run, gateway.complete))
    assert scoring.verdict == ("passed" if cap > 12_000 else "capped")


def test_a_judge_is_paid_from_the_cap_too():
    gateway = Gateway()
    run = ran(suite_of(case("a", {"kind": "judge", "value": "be kind"})), gateway, max_cost_nanos=1500)
    scoring = score_run(run=run, actor="test", judge=Judge(run, gateway.complete))
    assert (len(gateway.asked), scoring.verdict) == (1, "incomplete")


def test_a_rate_limit_is_waited_out(monkeypatch):
    answers = iter([Completion("1", code="rate_limit_exceeded", retry_after=0.01), "said a"])
    run = ran(suite_of(case("a", SAID)), Gateway(say=lambda body: next(answers)))
    assert run.outputs.get().text == "said a"


def test_a_run_tells_what_it_found_of_the_version():
    suite = suite_of(case("a", SAID, SAID | {"value": "b"}))
    run = ran(suite, Gateway(), prompt="summary@1")
    score_run(run=run, actor="test")
    found = newest_results(run.version)["golden"]
    assert (found.verdict, found.run) == ("failed", run.pk)
    assert "50.0% of the assertions hold" in found.told
    assert newest_results(run.version.prompt.versions.get(number=2)) == {}


def test_another_route_than_the_versions_own_says_nothing_of_the_version():
    run = ran(suite_of(case("a", SAID)), Gateway(), prompt="summary@1", route="dearer")
    assert score_run(run=run, actor="test").verdict == "passed"
    assert newest_results(run.version) == {}


def test_a_suite_that_changes_outdates_what_it_has_passed():
    suite = suite_of(case("a", SAID))
    run = ran(suite, Gateway())
    score_run(run=run, actor="test")
    suite.save()
    assert newest_results(run.version)["golden"].verdict == "passed"  # nothing that is asked or decided has changed
    Case.objects.create(suite=suite, name="b", assertions=[SAID], position=1)
    assert newest_results(run.version)["golden"].verdict == "outdated"
    score_run(run=run, actor="test")  # an old run is not about the suite as it is
    assert newest_results(run.version)["golden"].verdict == "outdated"


def test_what_is_meant_by_a_prompt():
    suite = suite_of(case("a", SAID))

    def chosen(text):
        return begin_run(suite=suite, wanted=Wanted(prompt=text), actor="test").version.number

    assert [chosen(each) for each in ("", "summary", "summary@1", "summary@v1")] == [2, 2, 1, 1]
    prompt = Run.objects.first().version.prompt
    point_channel(prompt=prompt, channel="production", version=prompt.versions.get(number=1))
    assert [chosen(each) for each in ("", "summary@production")] == [1, 1]
    for wrong in ("other", "summary@7", "summary@staging"):
        with pytest.raises(ValidationError):
            chosen(wrong)


def test_a_baseline_is_a_run_that_passed():
    good, bad = Gateway(), Gateway(say=lambda body: "nothing")
    suite = suite_of(case("a", SAID), gate={"min_pass_rate": 0.0})
    before = score_run(run=ran(suite, good), actor="test")
    approve_baseline(scoring=before, actor="ann", reason="first")
    after = score_run(run=ran(suite, bad), actor="test", baseline=before)
    assert (after.verdict, after.reasons) == ("failed", ["a passed in the baseline and fails now."])
    with pytest.raises(ValidationError, match="passed"):
        approve_baseline(scoring=after, actor="ann", reason="no")


@pytest.mark.parametrize("table", ["run", "output", "scoring", "score", "approved"])
@pytest.mark.parametrize("deed", ["UPDATE evals_{0} SET id = id", "DELETE FROM evals_{0}"])
def test_the_database_refuses_to_change_what_was_answered_or_scored(table, deed):
    scoring = score_run(run=ran(suite_of(case("a", SAID)), Gateway()), actor="test")
    approve_baseline(scoring=scoring, actor="ann", reason="first")
    with pytest.raises(Exception, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(deed.format(table))
    assert [model.objects.count() for model in (Run, Output, Scoring, Score)] == [1, 1, 1, 1]
