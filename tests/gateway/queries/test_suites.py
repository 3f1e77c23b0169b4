"""What suites say of an experiment's arms."""

import pytest

from evals.services.running import Wanted, begin_run, generate
from evals.services.scoring import score_run
from gateway.queries.suites import suite_scores
from prompts.models import Experiment, Prompt
from prompts.services.publishing import start_experiment
from tests.evals.world import Gateway, case, suite_of

pytestmark = pytest.mark.django_db
SAID = {"kind": "contains", "value": "said"}


def run(suite, gateway, **wanted):
    made = begin_run(suite=suite, wanted=Wanted(**wanted), actor="test")
    generate(run=made, complete=gateway.complete)
    return score_run(run=made, actor="test")


def test_each_arm_has_its_versions_newest_run_and_its_change_against_the_control():
    suite = suite_of(*(case(str(at), SAID) for at in range(10)), gate={"min_pass_rate": 0.0})
    experiment = Experiment(
        prompt=Prompt.objects.get(),
        name="warmth",
        arms=[{"name": "control", "version": 1, "weight": 5000}, {"name": "warm", "version": 2, "weight": 5000}],
    )
    start_experiment(experiment=experiment, actor="pam")
    assert suite_scores(experiment) == []
    worse = Gateway(say=lambda body: "said" if int(body["inputs"]["text"]) < 7 else "nothing")
    run(suite, worse, prompt="summary@1")
    run(suite, worse, prompt="summary@2")
    better = run(suite, Gateway(), prompt="summary@2")
    run(suite, worse, prompt="summary@2", route="another")  # says nothing of the version as it is served

    [found] = suite_scores(experiment)
    control, warm = found.arms
    assert (found.suite, control.arm, control.passed, control.cases, control.change) == (
        "golden",
        "control",
        7,
        10,
        None,
    )
    assert (warm.arm, warm.version, warm.passed, warm.run, warm.verdict) == ("warm", 2, 10, better.run_id, "passed")
    assert (warm.change["difference"], warm.change["gained"], warm.change["lost"]) == (pytest.approx(0.3), 3, 0)
    low, high = warm.change["interval"]
    assert low < 0.3 < high
    assert (round(control.low, 3), round(control.high, 3)) == (0.397, 0.892)
