"""An experiment's figures as they are drawn: for each metric the arms' means with their intervals on one scale."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.money import dollars
from prompts.statistics import METRICS, Comparison, Sample, interval
from prompts.verdicts import ArmFigures, Judgement

ROW_HEIGHT = 26  # pixels
PERCENT = 100


@dataclass(frozen=True, slots=True)
class Bar:
    """One arm in one metric. Places are per cents of the picture's width; y is in pixels."""

    name: str
    mean: str
    span: str
    n: int
    change: str
    tone: str  # good, bad or empty
    x: float
    x1: float
    x2: float
    y: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """One metric: its bars, and what the ends of the scale stand for."""

    title: str
    bars: Sequence[Bar]
    low: str
    high: str
    height: int


@dataclass(frozen=True, slots=True)
class Picture:
    judgement: Judgement
    drawn: Sequence[Drawn]
    split_percent: str


def pictured(judgement: Judgement) -> Picture:
    drawn = [found for name in METRICS if (found := draw(judgement, name)) is not None]
    return Picture(judgement, drawn, likelihood(judgement.split))


def likelihood(share: float) -> str:
    """A probability as people read it: more digits the nearer it is to none."""
    return (
        f"{PERCENT * share:.0f} %" if share >= 0.1 else f"{PERCENT * share:.2g} %"
    )  # from 10 % on two digits are whole


def draw(judgement: Judgement, metric: str) -> Drawn | None:
    """The metric's picture; None where no arm has figures of it."""
    measured = [(arm, arm.samples[metric]) for arm in judgement.arms if metric in arm.samples]
    if not measured:
        return None
    spans = [span_of(metric, sample) or (sample.mean, sample.mean) for _, sample in measured]
    least = 0.0 if metric == "feedback" else max(0.0, min(low for low, _ in spans))
    low = min(low for low, _ in spans) if metric == "feedback" else least
    high = max(high for _, high in spans)
    width = (high - low) or 1.0

    def place(value: float) -> float:
        return round(2 + 96 * (min(max(value, low), high) - low) / width, 2)

    bars = []
    for at, ((arm, sample), span) in enumerate(zip(measured, spans, strict=True)):
        bars.append(bar(judgement, metric, arm, sample, (place(sample.mean), place(span[0]), place(span[1])), at))
    return Drawn(METRICS[metric].title, bars, said(metric, low), said(metric, high), ROW_HEIGHT * len(bars))


def bar(
    judgement: Judgement, metric: str, arm: ArmFigures, sample: Sample, places: tuple[float, float, float], at: int
) -> Bar:
    found = judgement.comparisons.get(arm.name, {}).get(metric)
    change, tone = changed(metric, found)
    span = span_of(metric, sample)
    told = f"{said(metric, floor(metric, span[0]))} to {said(metric, span[1])}" if span is not None else ""
    x, x1, x2 = places
    return Bar(arm.name, said(metric, sample.mean), told, sample.n, change, tone, x, x1, x2, at * ROW_HEIGHT + 13)


def span_of(metric: str, sample: Sample) -> tuple[float, float] | None:
    return interval(sample, is_share=METRICS[metric].unit == "share")


def floor(metric: str, value: float) -> float:
    return value if metric == "feedback" else max(0.0, value)


def changed(metric: str, found: Comparison | None) -> tuple[str, str]:
    """How an arm differs from the control, and whether that is surely good or bad."""
    if found is None:
        return "", ""
    told = f"{said(metric, found.difference, sign=True)} ({said(metric, found.low, sign=True)} to "
    told += f"{said(metric, found.high, sign=True)})"
    if not found.is_sure:
        return told, ""
    return told, "good" if (found.difference < 0) == METRICS[metric].is_less_better else "bad"


def said(metric: str, value: float, *, sign: bool = False) -> str:
    """A figure as people read it."""
    mark = ("+" if value > 0 else "−" if value < 0 else "") if sign else ("−" if value < 0 else "")
    size = abs(value)
    unit = METRICS[metric].unit
    if unit == "share":
        return f"{mark}{PERCENT * size:.1f} %"
    if unit == "nano-dollars":
        return f"{mark}${dollars(three_digits(round(size)))}"
    if unit == "ms":
        return f"{mark}{size:,.0f} ms"
    return f"{mark}{size:.2f}" if unit == "score" else f"{mark}{size:,.0f}"


def three_digits(nanos: int) -> int:
    """The amount with three digits that say something: a mean's further ones don't."""
    lost = max(0, len(str(nanos)) - 3)
    return round(nanos, -lost)
