"""What calls are compiled from rows: here the quality of models, set or found out by suites."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from evals.models import Output, Run, Score, Scoring
from gateway.compiler import routes, served_models
from gateway.models import Provider, Revision, Route, RouteTarget, ServedModel
from tenants.models import Workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def route() -> Route:
    """A route by quality over three models, of which only the first has one."""
    provider = Provider.objects.create(name="p", kind="openai_compatible", base_url="http://127.0.0.1:9/v1")
    route = Route.objects.create(name="best", strategy="quality")
    for position, (name, quality) in enumerate([("set", "0.5"), ("judged", None), ("new", None)]):
        model = ServedModel.objects.create(name=name, provider=provider, upstream=name, quality=quality)
        RouteTarget.objects.create(route=route, model=model, position=position)
    return route


def judge(workspace: str, model: str, *verdicts: str, scoring: str = "failed") -> None:
    """A run in which this model answered, and what was said of its answers."""
    owner, _ = Workspace.objects.get_or_create(name=workspace)
    run = Run.objects.create(workspace=owner, suite="golden", digest="0" * 64, cases=[], route="best")
    made = Scoring.objects.create(run=run, verdict=scoring)
    for number, verdict in enumerate(verdicts):
        output = Output.objects.create(run=run, case=f"case {number}", model=model)
        Score.objects.create(scoring=made, output=output, number=0, kind="contains", verdict=verdict)


def qualities() -> dict[str, float | None]:
    return {step.model.name: step.model.quality for step in routes(served_models())["best"].targets}


def test_a_model_without_a_quality_has_that_of_its_newest_result(route):
    judge("acme", "judged", "fail", "fail")
    judge("acme", "judged", "pass", "pass", "pass", "fail", "error")
    judge("acme", "set", "pass")
    assert qualities() == {"set": 0.5, "judged": 0.75, "new": None}


def test_of_several_workspaces_none_decides_alone(route):
    judge("acme", "judged", "pass", "fail")
    judge("umbra", "judged", "fail")
    judge("third", "judged", "pass", "pass", "pass", "fail")
    assert qualities()["judged"] == 0.5


def test_what_could_not_be_run_says_nothing(route):
    judge("acme", "judged", "pass")
    judge("acme", "judged", "fail", scoring="broken")
    assert qualities()["judged"] == 1.0


@pytest.mark.parametrize("strategy", ["quality", "priority"])
def test_it_is_one_query_and_only_where_it_is_needed(route, strategy):
    route.strategy = strategy
    route.save()
    judge("acme", "judged", "pass")
    models = served_models()
    with CaptureQueriesContext(
        connection,
    ) as asked:
        routes(models)
    assert len(asked) == (3 if strategy == "quality" else 2)
    for model in ServedModel.objects.filter(quality=None):
        model.quality = "0.1"
        model.save()
    models = served_models()
    with CaptureQueriesContext(connection) as asked:
        routes(models)
    assert len(asked) == 2


def test_a_new_result_reaches_the_calls(route):
    judge("acme", "judged", "fail")
    before = Revision.objects.get(pk=1).number
    connection.run_on_commit = []  # a transaction raises it once; this stands for another one
    judge("acme", "judged", "pass")
    assert Revision.objects.get(pk=1).number > before
