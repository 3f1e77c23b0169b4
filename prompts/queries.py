"""What is asked of prompts."""

from django.db.models import Exists, OuterRef, QuerySet

from prompts.models import Deployment, Prompt


def current_deployment(prompt: Prompt, channel: str) -> Deployment | None:
    """The newest deployment of a channel, which says what it serves; None where nothing was ever deployed there."""
    found = prompt.deployments.filter(channel=channel).select_related("version__prompt")
    return found.order_by("-seq").first()


def current_deployments() -> "QuerySet[Deployment]":
    """The newest deployment of each channel of each prompt, also those that withdrew it."""
    newer = Deployment.objects.filter(prompt=OuterRef("prompt"), channel=OuterRef("channel"), seq__gt=OuterRef("seq"))
    return Deployment.objects.filter(~Exists(newer)).select_related("version__prompt", "experiment")
