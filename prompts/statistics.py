"""What an experiment's figures say: were units shared out as meant, and is one arm really better?

    sample_ratio   Pearson's chi-squared test of the units per arm against the weights
    compare        the difference of two arms' means per unit, with an interval that stays valid however often one looks
    interval       the same for the mean of one arm

The interval is the mixture sequential probability ratio test's for a difference of means with a normal mixture of
variance tau^2 (Johari, Pekelis & Walsh, "Always valid inference", 2015): reading the figures every day and stopping at
the first one that looks good does not raise the share of false winners above alpha.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

ALPHA = 0.05
SAMPLE_RATIO_ALPHA = 0.001
MIXTURE = 0.1  # tau in standard deviations of a unit: effects of about this size are found soonest


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that is measured of each arm. is_less_better: of two means the smaller one is the better one."""

    title: str
    unit: str
    is_less_better: bool = True


METRICS = {
    "errors": Metric("Failed calls", "share"),
    "refusals": Metric("Refused or blocked answers", "share"),
    "feedback": Metric("Feedback", "score", is_less_better=False),
    "cost": Metric("Cost of a call", "nano-dollars"),
    "latency": Metric("Time to the whole answer", "ms"),
    "tokens": Metric("Tokens of a call", "tokens"),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One arm's figures of one metric. n units, the mean over units, and the variance between units."""

    n: int
    mean: float
    variance: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Treatment minus control. The interval is always valid; `is_sure` says that it does not hold 0."""

    difference: float
    low: float
    high: float
    is_sure: bool


def compare(control: Sample, treatment: Sample, *, alpha: float = ALPHA) -> Comparison | None:
    """The difference with its interval; None before both arms have two units and anything varies.

    The variance is that of all units together, the difference between the arms included: where no arm varies in itself
    (one never fails, the other always does) they are still told apart, and where the arms are alike it is the same.
    """
    if control.n < 2 or treatment.n < 2:
        return None
    n, difference = control.n + treatment.n, treatment.mean - control.mean
    within = control.variance * (control.n - 1) + treatment.variance * (treatment.n - 1)
    spread = (within + difference**2 * control.n * treatment.n / n) / (n - 1)
    if spread <= 0:
        return None
    half = half_width(spread / control.n + spread / treatment.n, spread, alpha)
    low, high = difference - half, difference + half
    return Comparison(difference, low, high, low > 0 or high < 0)


def interval(sample: Sample, *, is_share: bool = False, alpha: float = ALPHA) -> tuple[float, float] | None:
    """Where the mean of one arm lies, however often one looks; None before it has two units.

    A share that was the same for all units (none failed yet) is not known exactly by that: it is taken to vary as if one
    more unit had been otherwise, and stays within 0 and 1.
    """
    if sample.n < 2:
        return None
    variance = sample.variance
    if variance <= 0 and is_share:
        odd = 1 / (sample.n + 2)
        variance = odd * (1 - odd)
    half = half_width(variance / sample.n, variance, alpha) if variance > 0 else 0.0
    low, high = sample.mean - half, sample.mean + half
    return (max(0.0, low), min(1.0, high)) if is_share else (low, high)


def half_width(error: float, spread: float, alpha: float) -> float:
    """Half of the interval. error: the squared standard error; spread: the variance between units."""
    tau = MIXTURE**2 * spread
    return math.sqrt(error * (error + tau) / tau * (math.log((error + tau) / error) - 2 * math.log(alpha)))


def sample_ratio(units: Sequence[int], weights: Sequence[float]) -> float:
    """The probability of units so far from the weights by chance alone. Below 0.001 something is wrong with the split."""
    total, weight = sum(units), sum(weights)
    if total == 0 or weight == 0:
        return 1.0
    expected = [total * each / weight for each in weights]
    if any(want == 0 and got > 0 for want, got in zip(expected, units, strict=True)):
        return 0.0
    used = [(got, want) for got, want in zip(units, expected, strict=True) if want > 0]
    statistic = sum((got - want) ** 2 / want for got, want in used)
    return chi_squared_tail(statistic, len(used) - 1)


def chi_squared_tail(statistic: float, freedom: int) -> float:
    """P(X >= statistic) of the chi-squared distribution: the regularised upper incomplete gamma function.

    Source: the recurrence Q(a + 1, x) = Q(a, x) + x^a e^-x / Gamma(a + 1), begun at a = 1/2 (erfc) or a = 1 (exp);
    Abramowitz & Stegun, "Handbook of Mathematical Functions" (1964), 26.4.4 and 26.4.5.
    """
    if freedom < 1 or statistic <= 0:
        return 1.0
    x = statistic / 2
    if freedom % 2:
        a, tail = 0.5, math.erfc(math.sqrt(x))
    else:
        a, tail = 1.0, math.exp(-x)
    while a < freedom / 2:
        tail += math.exp(a * math.log(x) - x - math.lgamma(a + 1))
        a += 1
    return min(1.0, tail)
