"""What calls came to, for the pages of prompts, which do not see calls themselves."""

from collections.abc import Sequence
from datetime import timedelta

from django import template
from django.utils import timezone

from gateway.queries.prompts import NOTHING, usage_of
from gateway.services.experiments import judged
from prompts.models import Experiment, PromptVersion
from prompts.pictures import Picture, pictured

register = template.Library()
USAGE_DAYS = 30


@register.simple_tag
def experiment_figures(experiment: Experiment) -> Picture:
    """The experiment's arms, measured and judged, ready to be drawn."""
    return pictured(judged(experiment))


@register.simple_tag
def with_usage(versions: Sequence[PromptVersion]) -> str:
    """Give each version its `usage` of the last 30 days."""
    found = usage_of(versions, since=timezone.now() - timedelta(days=USAGE_DAYS))
    for version in versions:
        version.usage = found.get(version.pk, NOTHING)  # type: ignore[attr-defined]
    return ""
