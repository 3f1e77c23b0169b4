"""Rate limits: how much, how fast."""

from django.db import models
from simple_history.models import HistoricalRecords

from tenants.history import ConfigManager
from tenants.models.workspaces import Workspace


class RateLimit(models.Model):
    """At most `amount` of `unit` in any window of one `per`, for one subject or for each of a kind.

    `match` names the subject (a team, key or user); empty means each one of that kind has this limit to itself.
    A limit of concurrency has no window: `amount` calls at once.
    """

    class Of(models.TextChoices):
        WORKSPACE = "workspace", "Workspace"
        TEAM = "team", "Team"
        KEY = "key", "API key"
        USER = "user", "End user"
        IP = "ip", "IP address"

    class Unit(models.TextChoices):
        REQUESTS = "requests", "Requests"
        TOKENS = "tokens", "Tokens"
        CONCURRENCY = "concurrency", "Calls at once"

    class Per(models.TextChoices):
        SECOND = "second", "Second"
        MINUTE = "minute", "Minute"
        HOUR = "hour", "Hour"
        DAY = "day", "Day"
        NONE = "", "—"

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="limits")
    of = models.CharField(max_length=10, choices=Of.choices)
    match = models.CharField(
        "name", max_length=200, blank=True, default="", help_text="Empty: each one of that kind by itself."
    )
    unit = models.CharField(max_length=12, choices=Unit.choices, default=Unit.REQUESTS)
    amount = models.PositiveBigIntegerField()
    per = models.CharField(max_length=8, choices=Per.choices, default=Per.MINUTE, blank=True)
    burst = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="At most so many at once within the window. Empty: the whole amount."
    )

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["workspace__name", "of", "match", "unit", "per"]
        constraints = [
            models.UniqueConstraint(
                "workspace",
                "of",
                "match",
                "unit",
                "per",
                name="tenants_limit_once",
                violation_error_message="The workspace has this limit already; change that one.",
            ),
            models.CheckConstraint(condition=models.Q(amount__gte=1), name="tenants_limit_lets_one_in"),
            models.CheckConstraint(
                condition=models.Q(unit="concurrency", per="") | (~models.Q(unit="concurrency") & ~models.Q(per="")),
                name="tenants_limit_has_window",
                violation_error_message="Calls at once have no window; requests and tokens need one.",
            ),
            models.CheckConstraint(
                condition=models.Q(burst=None) | models.Q(burst__gte=1, burst__lte=models.F("amount")),
                name="tenants_limit_burst_within",
                violation_error_message="The burst must lie between 1 and the amount.",
            ),
        ]

    def __str__(self) -> str:
        subject = f"{self.get_of_display()} {self.match}" if self.match else f"each {self.get_of_display()}"
        return f"{subject}: {self.amount} {self.unit}" + (f" a {self.per}" if self.per else " at once")
