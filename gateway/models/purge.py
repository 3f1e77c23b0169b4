"""What was thrown out of the cache, when, so that no worker gives it out again."""

from django.db import models
from django.utils import timezone
from simple_history.models import HistoricalRecords

from tenants.history import ConfigManager
from tenants.models import Workspace


class CachePurge(models.Model):
    """One order to forget kept answers of a workspace. Answers whose calls began later are not meant."""

    class What(models.TextChoices):
        ALL = "all", "Everything"
        ROUTE = "route", "A route's answers"
        PROMPT = "prompt", "A prompt's answers"
        USER = "user", "Answers to an end user's calls"

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="cache_purges")
    what = models.CharField(max_length=8, choices=What.choices, default=What.ALL)
    name = models.CharField(
        max_length=512, blank=True, default="", help_text="Of the route, prompt or end user. Empty for everything."
    )
    at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        verbose_name = "cache purge"
        ordering = ["-at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(what="all", name="") | (~models.Q(what="all") & ~models.Q(name="")),
                name="gateway_cachepurge_names_what_it_purges",
                violation_error_message="Name the route, prompt or end user; leave the name empty for everything.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_what_display()} {self.name}".strip()
