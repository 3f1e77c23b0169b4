"""An experiment's figures are what its calls say, by unit; an arm that surely breaks a guard is stopped, others run on."""

import json
import random
from collections import defaultdict
from datetime import timedelta
from statistics import fmean, variance

import pytest
from django.utils import timezone

from audit.models import CallRecord, Feedback
from gateway.queries.experiments import arm_figures
from gateway.queries.prompts import usage_of
from gateway.services.experiments import judged, watch_experiments
from prompts.models import Experiment, Prompt
from prompts.queries import current_deployment
from prompts.services.publishing import Words, change_weights, point_channel, save_version, start_experiment
from prompts.statistics import Sample
from tenants.models import Workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def prompt() -> Prompt:
    made = Prompt.objects.create(workspace=Workspace.objects.create(name="acme"), name="summary")
    for text in ("one", "two"):
        save_version(prompt=made, words=Words(messages=[{"role": "user", "content": text}]))
    return made


def begun(prompt: Prompt, **more) -> Experiment:
    arms = [{"name": "control", "version": 1, "weight": 5_000}, {"name": "short", "version": 2, "weight": 5_000}]
    experiment = Experiment(prompt=prompt, name="e", arms=arms, **more)
    start_experiment(experiment=experiment, actor="ada")
    return experiment


class Calls:
    """Writes calls of an experiment as the journal's writer does."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.rows: list[CallRecord] = []

    def add(self, arm: str, unit: str | None, *, finish: str = "stop", workspace_id: str = "", **fields) -> CallRecord:
        number = {"control": 1, "short": 2}[arm]
        values = {
            "id": f"c{CallRecord.objects.count() + len(self.rows)}",
            "at": timezone.now(),
            "workspace_id": workspace_id or str(self.prompt.workspace_id),
            "subject": unit,
            "prompt": f"{self.prompt.name}@{number}",
            "experiment": f"e/{arm}",
            "status": 200,
            "outcome": "answered",
            "streamed": False,
            "input_tokens": 10,
            "output_tokens": 5,
            "cached_tokens": 0,
            "cost_nanos": 1_000,
            "total_us": 1_000,
            "redacted": 0,
            "worker": "w",
            "seq": 1,
            "rest": json.dumps({"finish": finish}, separators=(",", ":")),
        }
        self.rows.append(CallRecord(**{**values, **fields}))
        return self.rows[-1]

    def keep(self) -> None:
        CallRecord.objects.bulk_create(self.rows)
        self.rows = []


def test_figures_are_means_over_units_as_counted_by_hand(prompt):
    experiment, calls, chance = begun(prompt), Calls(prompt), random.Random(1)
    expected = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    opinions = defaultdict(lambda: defaultdict(list))
    for at in range(300):
        arm, unit = ("control", "short")[at % 2], f"u{chance.randrange(20)}"
        outcome, status, code = chance.choice(
            [
                *[("answered", 200, "")] * 3,
                ("failed", 502, "upstream_error"),
                ("refused", 400, "missing_inputs"),
                ("refused", 429, "budget_exceeded"),
                ("refused", 403, "guardrail_blocked"),
                ("client_left", 499, "client_left"),
            ]
        )
        finish, cost, took = chance.choice(["stop", "content_filter"]), chance.randrange(9_000), chance.randrange(9_000)
        row = calls.add(
            arm, unit, finish=finish, outcome=outcome, status=status, code=code, cost_nanos=cost, total_us=took
        )
        told = expected[arm][unit]
        told["errors"].append(float(outcome == "failed" or code == "missing_inputs"))
        told["refusals"].append(float(code == "guardrail_blocked" or finish == "content_filter"))
        told["cost"].append(cost)
        told["tokens"].append(15)
        if outcome == "answered":
            told["latency"].append(took / 1000)
        if at % 5 == 0:
            score = chance.choice([-1.0, 0.5, 1.0])
            Feedback.objects.create(call_id=row.id, workspace_id=row.workspace_id, workspace="acme", score=score)
            opinions[arm][unit].append(score)
    calls.add("short", None, cost_nanos=10**12)  # a call without its unit
    calls.add("short", "u1", cost_nanos=10**12, workspace_id="999")  # another workspace's
    calls.add("short", "u1", cost_nanos=10**12, at=timezone.now() - timedelta(days=1))  # before it began
    calls.keep()

    for figures in arm_figures(experiment):
        told = expected[figures.name]
        assert (figures.units, figures.calls) == (len(told), 150)
        for unit, scores in opinions[figures.name].items():
            told[unit]["feedback"] = scores
        for metric, sample in figures.samples.items():
            means = [fmean(each[metric]) for each in told.values() if each[metric]]
            assert sample == Sample(
                len(means), pytest.approx(fmean(means)), pytest.approx(variance(means), rel=1e-6, abs=1e-9)
            )
        assert set(figures.samples) == {"errors", "refusals", "cost", "latency", "tokens", "feedback"}


def fill(prompt: Prompt, *, fails: dict[str, float], units: int = 200, seed: int = 5) -> None:
    calls, chance = Calls(prompt), random.Random(seed)
    for arm, share in fails.items():
        for unit in range(units):
            failed = chance.random() < share
            calls.add(arm, f"{arm}{unit}", outcome="failed" if failed else "answered", status=502 if failed else 200)
    calls.keep()


def test_an_arm_that_fails_a_fifth_more_is_stopped_and_the_control_is_served(prompt):
    experiment = begun(prompt)
    fill(prompt, fails={"control": 0.02, "short": 0.22})
    assert watch_experiments() == 1
    experiment.refresh_from_db()
    now = current_deployment(prompt, "production")
    assert (experiment.state, now.version.number, now.action, now.actor) == (
        "aborted",
        1,
        "rollback",
        "experiment guard",
    )
    assert "short (version 2) breaks the guard of failed calls" in experiment.outcome
    assert watch_experiments() == 0


def test_an_arm_that_always_fails_is_stopped_after_thirty_units(prompt):
    begun(prompt)
    fill(prompt, fails={"control": 0.0, "short": 1.0}, units=29)
    assert watch_experiments() == 0
    fill(prompt, fails={"control": 0.0}, units=31, seed=6)
    Calls(prompt).add("short", "one-more", outcome="failed", status=502)
    calls = Calls(prompt)
    for unit in range(31):
        calls.add("short", f"more{unit}", outcome="failed", status=502)
    calls.keep()
    assert watch_experiments() == 1


@pytest.mark.parametrize("fails", [{"control": 0.0, "short": 0.0}, {"control": 0.3, "short": 0.0}])
def test_an_arm_that_fails_no_more_runs_on(prompt, fails):
    begun(prompt)
    fill(prompt, fails=fails)
    assert watch_experiments() == 0


def test_a_dearer_arm_is_stopped_where_that_is_guarded(prompt):
    experiment = begun(prompt, guard_cost="0.5")
    calls, chance = Calls(prompt), random.Random(2)
    for unit in range(200):
        calls.add("control", f"c{unit}", cost_nanos=chance.randrange(900, 1_100))
        calls.add("short", f"s{unit}", cost_nanos=chance.randrange(2_700, 3_300))
    calls.keep()
    assert watch_experiments() == 1
    experiment.refresh_from_db()
    assert "breaks the guard of cost of a call: 199 % more" in experiment.outcome


def test_the_winner_is_named_when_it_is_sure_and_the_split_is_right(prompt):
    experiment = begun(prompt, guard_error_rate="1")
    assert "control has 0" in judged(experiment).verdict
    fill(prompt, fails={"control": 0.3, "short": 0.02})
    told = judged(experiment)
    assert (told.winner, told.verdict, told.is_split_right) == (
        "short",
        "short is better than control: failed calls.",
        True,
    )
    calls = Calls(prompt)
    for unit in range(300):
        calls.add("short", f"many{unit}")
    calls.keep()
    told = judged(experiment)
    assert (told.winner, told.is_split_right, "not shared out" in told.verdict) == ("", False, True)
    experiment.metric = "feedback"
    change_weights(experiment=Experiment.objects.get(), weights={"control": 9_000, "short": 1_000})
    assert [arm.units for arm in judged(Experiment.objects.get()).arms] == [0, 0]


def test_each_version_is_told_what_its_calls_came_to_in_one_query(prompt, django_assert_num_queries):
    point_channel(prompt=prompt, channel="production", version=prompt.versions.get(number=1))
    calls = Calls(prompt)
    for at in range(4):
        calls.add("short", None, cost_nanos=250, outcome="failed" if at == 0 else "answered", total_us=2_000)
    calls.add("short", None, workspace_id="999")
    calls.keep()
    versions = list(prompt.versions.select_related("prompt"))
    with django_assert_num_queries(1):
        found = usage_of(versions, since=timezone.now() - timedelta(days=1))
    second = found[prompt.versions.get(number=2).pk]
    assert (second.calls, second.failed, second.cost_nanos, second.mean_ms) == (4, 1, 1_000, 2.0)
    assert (second.cost_usd, second.failed_percent, len(found)) == ("0.000001", 25.0, 1)
