"""Whether a run passes: pure, from what was scored. The same verdict stands on the page, in the API and in CI.

It fails closed, and looks in this order: was everything answered and decided; did every critical assertion hold each
time; does a case fail that passed in the baseline; do enough assertions hold; is it surely not worse than allowed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

EXITS = {"passed": 0, "failed": 1, "broken": 3, "incomplete": 4, "capped": 5, "inconclusive": 6}
Z = 1.959963984540054  # of 95 %
SHOWN = 5
CAPPED = "budget_exceeded"


@dataclass(frozen=True, slots=True)
class Scored:
    """One assertion of one output."""

    kind: str
    verdict: str
    weight: float = 1.0
    critical: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """One output of a run. `code`: why there is no answer."""

    case: str
    repeat: int
    scored: Sequence[Scored] = ()
    code: str = ""
    error: str = ""
    cost_nanos: int = 0
    ms: float = 0.0

    @property
    def is_passed(self) -> bool:
        return not self.code and all(each.verdict == "pass" for each in self.scored)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it ended, why in words, and the figures behind it."""

    verdict: str
    reasons: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        return EXITS[self.verdict]


def decide(
    wanted: Mapping[str, int],
    repeat: int,
    outputs: Sequence[Answered],
    gate: Mapping[str, Any],
    baseline: Mapping[str, bool] | None = None,
) -> Verdict:
    """The verdict on a run.

    wanted    each case's number of assertions        repeat    how often each case was asked
    baseline  whether each case passed in the run that it is compared with
    """
    figures = figures_of(outputs, baseline)
    if found := missing(wanted, repeat, outputs):
        return Verdict(found[0], found[1], figures)
    scored = [(each, one) for each in outputs for one in each.scored]
    broken = [(each, one) for each, one in scored if one.critical and one.verdict != "pass"]
    if broken:
        told = [f"{each.case}: the critical {one.kind} fails. {one.reason}".strip() for each, one in broken]
        return Verdict("failed", short(told), figures)
    cases = by_case(outputs)
    if baseline is not None and (newly := sorted(name for name, ok in cases.items() if not ok and baseline.get(name))):
        return Verdict("failed", [f"{', '.join(newly[:SHOWN])} passed in the baseline and fails now."], figures)
    least = gate.get("min_pass_rate")
    least = 1.0 if least is None else float(least)
    if figures["pass_rate"] < least - 1e-9:
        told = [f"{each.case}: {one.kind} fails. {one.reason}".strip() for each, one in scored if one.verdict != "pass"]
        rate = f"{figures['pass_rate']:.1%} of the assertions hold; the suite asks for {least:.1%}."
        return Verdict("failed", [rate, *short(told)], figures)
    return compared(figures, gate, baseline)


def compared(figures: dict[str, Any], gate: Mapping[str, Any], baseline: Mapping[str, bool] | None) -> Verdict:
    """Non-inferiority, where the suite says how much worse than its baseline it may be."""
    most = gate.get("max_drop")
    if most is None or baseline is None or "difference" not in figures:
        return Verdict("passed", [], figures)
    low, high = figures["difference"]["interval"]
    if high < -float(most):
        return Verdict("failed", [f"It is surely more than {float(most):.1%} worse than the baseline."], figures)
    if low < -float(most):
        told = f"It may be {-low:.1%} worse than the baseline, and {float(most):.1%} is allowed: ask more cases."
        return Verdict("inconclusive", [told], figures)
    return Verdict("passed", [], figures)


def missing(wanted: Mapping[str, int], repeat: int, outputs: Sequence[Answered]) -> tuple[str, list[str]] | None:
    """What keeps the run from being complete: the verdict, and why. None where nothing does."""
    if not wanted:
        return "incomplete", ["The suite has no cases."]
    if capped := [each for each in outputs if each.code == CAPPED]:
        return "capped", [f"{len(capped)} of {len(wanted) * repeat} calls were not made. {capped[0].error}".strip()]
    failed = [each for each in outputs if each.code]
    if failed and len(failed) == len(outputs):
        return "broken", short([f"{each.case}: {each.error}" for each in failed])
    there = [(each.case, each.repeat) for each in outputs if not each.code]
    expected = {(name, time) for name in wanted for time in range(1, repeat + 1)}
    wrong = [f"{each.case} has no answer: {each.error}" for each in failed]
    wrong += [f"{name} was not asked." for name, _ in sorted(expected - {(e.case, e.repeat) for e in outputs})]
    wrong += [
        f"{name} stands there twice." for name in sorted({name for name, _ in there if there.count((name, _)) > 1})
    ]
    wrong += [f"{name} is no case of the suite." for name in sorted({name for name, _ in there} - wanted.keys())]
    for each in outputs:
        if not each.code and len(each.scored) != wanted.get(each.case, 0):
            wrong.append(f"{each.case} has {len(each.scored)} of {wanted.get(each.case, 0)} scores.")
        wrong += [
            f"{each.case}: {one.kind} is undecided. {one.reason}" for one in each.scored if one.verdict == "error"
        ]
    wrong += [f"{name} has no assertions." for name, count in wanted.items() if not count]
    return ("incomplete", short(wrong)) if wrong else None


def short(told: list[str]) -> list[str]:
    """The first few, and how many more there are."""
    return told if len(told) <= SHOWN else [*told[:SHOWN], f"And {len(told) - SHOWN} more."]


def by_case(outputs: Sequence[Answered]) -> dict[str, bool]:
    """Whether each case passed more often than not."""
    found: dict[str, list[bool]] = {}
    for each in outputs:
        found.setdefault(each.case, []).append(each.is_passed)
    return {name: sum(passes) * 2 > len(passes) for name, passes in found.items()}


def figures_of(outputs: Sequence[Answered], baseline: Mapping[str, bool] | None) -> dict[str, Any]:
    """Counts, shares with intervals of 95 %, cost and time. `pass_rate` is the weighted share of assertions that hold."""
    scored = [one for each in outputs for one in each.scored]
    whole = sum(one.weight for one in scored)
    cases = by_case(outputs)
    passed = sum(cases.values())
    figures: dict[str, Any] = {
        "cases": len(cases),
        "cases_passed": passed,
        "case_interval": list(wilson(passed, len(cases))),
        "assertions": len(scored),
        "assertions_passed": sum(one.verdict == "pass" for one in scored),
        "pass_rate": sum(one.weight for one in scored if one.verdict == "pass") / whole if whole else 0.0,
        "cost_nanos": sum(each.cost_nanos for each in outputs),
        "mean_ms": sum(each.ms for each in outputs) / len(outputs) if outputs else 0.0,
    }
    if baseline is not None and (both := sorted(cases.keys() & baseline.keys())):
        figures["difference"] = difference([(baseline[name], cases[name]) for name in both])
    return figures


def wilson(passed: int, n: int) -> tuple[float, float]:
    """The interval of a share (Wilson, 1927); from 0 to 1 where nothing is known."""
    if not n:
        return 0.0, 1.0
    share, square = passed / n, Z * Z / n
    middle = (share + square / 2) / (1 + square)
    half = Z * math.sqrt(share * (1 - share) / n + square / (4 * n)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def difference(pairs: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    """After minus before, of the same cases, with Newcombe's interval for paired shares (1998, his method 10)."""
    n = len(pairs)
    both = sum(before and after for before, after in pairs)
    gained = sum(after and not before for before, after in pairs)
    lost = sum(before and not after for before, after in pairs)
    neither = n - both - gained - lost
    one, other = (both + gained) / n, (both + lost) / n
    (low1, high1), (low2, high2) = wilson(both + gained, n), wilson(both + lost, n)
    product = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    cross = float(both * neither - gained * lost)
    if cross > 0:
        cross = max(cross - n / 2, 0)
    phi = cross / math.sqrt(product) if product else 0.0
    down = (one - low1) ** 2 - 2 * phi * (one - low1) * (high2 - other) + (high2 - other) ** 2
    up = (high1 - one) ** 2 - 2 * phi * (high1 - one) * (other - low2) + (other - low2) ** 2
    delta = one - other
    interval = [max(-1.0, delta - math.sqrt(max(0.0, down))), min(1.0, delta + math.sqrt(max(0.0, up)))]
    return {"cases": n, "difference": delta, "interval": interval, "gained": gained, "lost": lost}
