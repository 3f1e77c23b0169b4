"""What calls say of an experiment's arms: means over units, so that one busy user counts as one.

Two aggregations by the database, whatever the number of calls; times' percentiles are read from each arm's newest calls.
A call failed where no answer came for a reason that may lie in the arm: a provider's error, an input that is missing, a
parameter that is refused. A caller's own limits, budget or key say nothing about an arm and are not counted as failures.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connection

from audit.models import CallRecord
from prompts.models import Experiment
from prompts.statistics import Sample
from prompts.verdicts import ArmFigures

TIMED_MOST = 5_000
BLOCKED = "guardrail_blocked"
UNITS = {"user": "subject", "session": "session_id", "key": "key_id"}
FAILED = f"""CASE WHEN outcome IN ('failed', 'in_doubt', 'timeout')
    OR (outcome = 'refused' AND status IN (400, 404, 413, 422) AND code <> '{BLOCKED}') THEN 1.0 ELSE 0.0 END"""
REFUSED = f"""CASE WHEN code = '{BLOCKED}' OR rest LIKE '%%"finish":"content_filter"%%' THEN 1.0 ELSE 0.0 END"""
ANSWERED_MS = "CASE WHEN outcome = 'answered' THEN total_us / 1000.0 END"
# The expressions below are constants of this module; what comes from rows is passed as parameters.
MEANS = {
    "errors": f"AVG({FAILED})",
    "refusals": f"AVG({REFUSED})",
    "cost": "AVG(cost_nanos * 1.0)",
    "latency": f"AVG({ANSWERED_MS})",
    "tokens": "AVG((input_tokens + output_tokens) * 1.0)",
}


def arm_figures(experiment: Experiment) -> list[ArmFigures]:
    """Each arm, the control first, since the shares are as they are."""
    where, values = calls_of(experiment)
    samples = {**units_of(experiment, where, values)}
    for arm, sample in feedback_of(experiment, where, values).items():
        samples.setdefault(arm, (0, 0, {}))[2]["feedback"] = sample
    found = []
    for arm in experiment.arms:
        units, calls, measured = samples.get(arm["name"], (0, 0, {}))
        times = times_of(experiment, arm["name"]) if calls else []
        found.append(
            ArmFigures(
                name=arm["name"],
                version=arm["version"],
                weight=arm["weight"],
                units=units,
                calls=calls,
                samples=measured,
                p50_ms=percentile(times, 50),
                p95_ms=percentile(times, 95),
            )
        )
    return found


def calls_of(experiment: Experiment) -> tuple[str, list[Any]]:
    """The SQL condition for the experiment's calls, and its parameters."""
    prompts = sorted({f"{experiment.prompt.name}@{arm['version']}" for arm in experiment.arms})
    arms = [f"{experiment.name}/{arm['name']}" for arm in experiment.arms]
    marks = [", ".join(["%s"] * len(names)) for names in (prompts, arms)]
    unit = UNITS[experiment.unit]
    condition = (
        f"c.workspace_id = %s AND c.prompt IN ({marks[0]}) AND c.experiment IN ({marks[1]}) AND c.at >= %s "
        f"AND c.{unit} <> ''"
    )
    since = adapted(experiment.shared_at)
    return condition, [str(experiment.prompt.workspace_id), *prompts, *arms, since]


def adapted(moment: Any) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


def units_of(experiment: Experiment, where: str, values: list[Any]) -> dict[str, tuple[int, int, dict[str, Sample]]]:
    """By arm: units, calls, and each metric's sample over units."""
    inner = ", ".join(f"{mean} AS {name}" for name, mean in MEANS.items())
    outer = ", ".join(f"COUNT({name}), SUM({name}), SUM({name} * {name})" for name in MEANS)
    per_unit = ("SELECT c.experiment AS arm, COUNT(*) AS calls,", inner, "FROM audit_callrecord c WHERE", where)
    query = per_arm(f"COUNT(*), SUM(calls), {outer}", grouped(experiment, *per_unit))
    found = {}
    for arm, units, calls, *sums in rows(query, values):
        samples = {
            name: sample
            for at, name in enumerate(MEANS)
            if (sample := sample_of(*sums[3 * at : 3 * at + 3])) is not None
        }
        found[arm_name(arm)] = (int(units), int(calls), samples)
    return found


def feedback_of(experiment: Experiment, where: str, values: list[Any]) -> dict[str, Sample]:
    """By arm: the mean score of each unit that gave feedback."""
    opinions = "audit_feedback f JOIN audit_callrecord c ON c.id = f.call_id WHERE f.score IS NOT NULL AND"
    per_unit = grouped(experiment, "SELECT c.experiment AS arm, AVG(f.score) AS score FROM", opinions, where)
    query = per_arm("COUNT(score), SUM(score), SUM(score * score)", per_unit)
    found = {arm_name(arm): sample_of(*sums) for arm, *sums in rows(query, values)}
    return {arm: sample for arm, sample in found.items() if sample is not None}


def grouped(experiment: Experiment, *parts: str) -> str:
    """The parts of a query, one row for each arm and unit."""
    return " ".join((*parts, "GROUP BY c.experiment, c." + UNITS[experiment.unit]))


def per_arm(figures: str, units: str) -> str:
    return " ".join(("SELECT arm,", figures, "FROM (", units, ") AS units GROUP BY arm"))


def sample_of(count: int, total: Any, squares: Any) -> Sample | None:
    """The sample of so many units with this sum and this sum of squares; None of none."""
    if not count:
        return None
    mean = float(total) / count
    variance = max(0.0, float(squares) - count * mean * mean) / (count - 1) if count > 1 else 0.0
    return Sample(int(count), mean, variance if variance > 1e-12 * mean * mean else 0.0)


def rows(query: str, values: list[Any]) -> Sequence[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        found: Sequence[Any] = cursor.fetchall()
        return found


def arm_name(told: str) -> str:
    """The arm of what a record says: EXPERIMENT/ARM."""
    return told.rpartition("/")[2]


def times_of(experiment: Experiment, arm: str) -> list[int]:
    """How long the arm's newest answers took, in microseconds, sorted."""
    versions = sorted({f"{experiment.prompt.name}@{each['version']}" for each in experiment.arms})
    newest = CallRecord.objects.filter(
        workspace_id=str(experiment.prompt.workspace_id),
        prompt__in=versions,
        experiment=f"{experiment.name}/{arm}",
        outcome="answered",
        at__gte=experiment.shared_at,
    )
    return sorted(newest.order_by("-at").values_list("total_us", flat=True)[:TIMED_MOST])


def percentile(ordered: Sequence[int], percent: int) -> float | None:
    """The nearest-rank percentile of sorted microseconds, in milliseconds."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] / 1000 if ordered else None
