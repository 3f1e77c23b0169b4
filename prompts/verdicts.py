"""What an experiment's figures come to: the split, each arm against the control, a verdict, and guards that broke."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prompts.models import Experiment
from prompts.statistics import ALPHA, METRICS, SAMPLE_RATIO_ALPHA, Comparison, Sample, compare, sample_ratio

GUARD_UNITS_LEAST = 30  # of an arm and the control, before a guard may stop it


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """One arm, measured. `samples`: each metric's figures over the arm's units. Times in ms, money in nano-dollars."""

    name: str
    version: int
    weight: int
    units: int = 0
    calls: int = 0
    samples: Mapping[str, Sample] = field(default_factory=dict)
    p50_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What can be said now.

    split         the probability of so uneven a split by chance; is_split_right says that it is no alarm
    comparisons   by arm and metric, treatment minus control
    verdict       in words; `winner` is the name of the arm that won, empty where none has
    broken        a sentence for each guard that an arm surely breaks
    """

    arms: Sequence[ArmFigures]
    split: float
    comparisons: Mapping[str, Mapping[str, Comparison]]
    verdict: str
    winner: str = ""
    broken: Sequence[str] = ()

    @property
    def is_split_right(self) -> bool:
        return self.split >= SAMPLE_RATIO_ALPHA


def judge(experiment: Experiment, arms: Sequence[ArmFigures]) -> Judgement:
    """The arms in the experiment's order, the control first."""
    control, treatments = arms[0], arms[1:]
    alpha = ALPHA / max(1, len(treatments))  # several treatments, one chance of a false winner
    comparisons = {
        arm.name: {
            name: found
            for name in METRICS
            if name in arm.samples and name in control.samples
            if (found := compare(control.samples[name], arm.samples[name], alpha=alpha)) is not None
        }
        for arm in treatments
    }
    split = sample_ratio([arm.units for arm in arms], [arm.weight for arm in arms])
    verdict, winner = verdict_of(experiment, arms, comparisons, split)
    broken = [said for arm in treatments for said in broken_guards(experiment, control, arm, alpha)]
    return Judgement(arms, split, comparisons, verdict, winner, broken)


def verdict_of(
    experiment: Experiment,
    arms: Sequence[ArmFigures],
    comparisons: Mapping[str, Mapping[str, Comparison]],
    split: float,
) -> tuple[str, str]:
    """In words, and the winner's name or nothing."""
    lacking = [arm for arm in arms if arm.weight and arm.units < experiment.min_sample]
    if lacking:
        told = ", ".join(f"{arm.name} has {arm.units}" for arm in lacking)
        return f"No verdict yet: every arm needs {experiment.min_sample} units; {told}.", ""
    if split < SAMPLE_RATIO_ALPHA:
        return "No verdict: the units are not shared out as the weights say, so something is wrong with the split.", ""
    metric, title = METRICS[experiment.metric], METRICS[experiment.metric].title.lower()
    found = {name: each[experiment.metric] for name, each in comparisons.items() if experiment.metric in each}
    if not found:
        return f"No verdict: nothing is known of {title}, or nothing varies.", ""
    sign = -1 if metric.is_less_better else 1
    better = {name: abs(each.difference) for name, each in found.items() if each.is_sure and sign * each.difference > 0}
    if better:
        winner = max(better, key=lambda name: better[name])
        return f"{winner} is better than {arms[0].name}: {title}.", winner
    if len(found) == len(arms) - 1 and all(each.is_sure for each in found.values()):
        return f"{arms[0].name}, the control, is better than every other arm: {title}.", arms[0].name
    return f"No difference in {title} is sure yet.", ""


def broken_guards(experiment: Experiment, control: ArmFigures, arm: ArmFigures, alpha: float) -> list[str]:
    """A sentence for each guard that this arm surely breaks."""
    if min(control.units, arm.units) < GUARD_UNITS_LEAST:
        return []
    limits = {
        "errors": experiment.guard_error_rate,
        "refusals": experiment.guard_refusal_rate,
        "cost": experiment.guard_cost,
        "latency": experiment.guard_latency,
    }
    watched = {name: float(limit) for name, limit in limits.items() if limit is not None}
    broken = []
    for name, limit in watched.items():
        before, after = control.samples.get(name), arm.samples.get(name)
        found = compare(before, after, alpha=alpha / len(watched)) if before and after else None
        if found is None or before is None or after is None:
            continue
        is_rate = name in ("errors", "refusals")
        margin = limit if is_rate else limit * before.mean
        if found.low > margin:
            told = f"{100 * before.mean:.1f} % → {100 * after.mean:.1f} %" if is_rate else more(before.mean, after.mean)
            broken.append(
                f"{arm.name} (version {arm.version}) breaks the guard of {METRICS[name].title.lower()}: {told}"
            )
    return broken


def more(before: float, after: float) -> str:
    return f"{100 * (after / before - 1):.0f} % more" if before > 0 else f"{after:g} after 0"
