"""What suites found, for pages: shares, money, and the scores of an experiment's arms."""

from django import template

from gateway.core.money import dollars
from gateway.queries.suites import SuiteScores
from gateway.queries.suites import suite_scores as scores_of
from prompts.models import Experiment

register = template.Library()
PERCENT = 100


@register.filter
def percent(share: float | None) -> str:
    """A share from 0 to 1 as people read it."""
    return "–" if share is None else f"{PERCENT * share:.0f} %"


@register.filter
def points(share: float | None) -> str:
    """A difference of shares, with its sign, in percentage points."""
    return (
        "–" if share is None else f"{'+' if share > 0 else '−' if share < 0 else ''}{PERCENT * abs(share):.0f} points"
    )


@register.filter
def usd(nanos: int | None) -> str:
    """Nano-dollars as an exact decimal string."""
    return dollars(nanos or 0)


@register.simple_tag
def suite_scores(experiment: Experiment) -> list[SuiteScores]:
    """What suites say of the experiment's arms."""
    return scores_of(experiment)
