"""What suites say of an experiment's arms: the newest run of each suite for each arm's version."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Q

from evals.gate import difference, wilson
from evals.models import Scoring
from evals.services.scoring import passed_cases
from prompts.models import Experiment


@dataclass(frozen=True, slots=True)
class ArmScore:
    """One arm in one suite. Shares of cases with intervals of 95 %; `change`: against the control, of the same cases."""

    arm: str
    version: int
    run: str
    verdict: str
    cases: int
    passed: int
    low: float
    high: float
    change: dict[str, Any] | None = None

    @property
    def share(self) -> float:
        return self.passed / self.cases if self.cases else 0.0


@dataclass(frozen=True, slots=True)
class SuiteScores:
    """One suite: its arms that it was run for, the control first where it is one of them."""

    suite: str
    arms: Sequence[ArmScore]


def suite_scores(experiment: Experiment) -> list[SuiteScores]:
    """Every suite that was run for the version of an arm as that is served, by name."""
    numbers = [arm["version"] for arm in experiment.arms]
    own = Q(run__route="") | Q(run__version__route="") | Q(run__route=F("run__version__route"))
    rows = Scoring.objects.filter(own, run__version__prompt=experiment.prompt_id, run__version__number__in=numbers)
    newest: dict[tuple[str, int], Scoring] = {}
    for row in rows.select_related("run__version").order_by("at", "pk"):
        if row.run.version is not None:
            newest[row.run.suite, row.run.version.number] = row
    found = []
    for suite in sorted({name for name, _ in newest}):
        arms: list[ArmScore] = []
        control: dict[str, bool] | None = None
        for at, arm in enumerate(experiment.arms):
            scoring = newest.get((suite, arm["version"]))
            if scoring is None:
                continue
            cases = passed_cases(scoring)
            arms.append(arm_score(arm, scoring, cases, control))
            if at == 0:
                control = cases
        found.append(SuiteScores(suite, arms))
    return found


def arm_score(
    arm: dict[str, Any], scoring: Scoring, cases: dict[str, bool], control: dict[str, bool] | None
) -> ArmScore:
    both = sorted(cases.keys() & control.keys()) if control is not None else []
    low, high = wilson(sum(cases.values()), len(cases))
    return ArmScore(
        arm=arm["name"],
        version=arm["version"],
        run=scoring.run_id,
        verdict=scoring.verdict,
        cases=len(cases),
        passed=sum(cases.values()),
        low=low,
        high=high,
        change=difference([(control[name], cases[name]) for name in both]) if control is not None and both else None,
    )
