"""Caps on what is spent."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from gateway.core.money import dollars
from tenants.history import ConfigManager
from tenants.models import Workspace

THRESHOLDS_MOST = 10


EXACT_IN_REDIS = 2**53 - 1  # its scripts count in doubles
EXACT_HERE = 2**63 - 1


def most_countable() -> int:
    """The largest limit, in nano-dollars or tokens, that the counters of this installation compare exactly."""
    return EXACT_IN_REDIS if settings.REDIS_URL else EXACT_HERE


def thresholds_default() -> list[int]:
    return [80, 90, 100]


def check_thresholds(thresholds: list[int]) -> None:
    """Raises ValidationError unless they are whole per cents from 1 to 100, each once."""
    if not isinstance(thresholds, list) or not all(type(t) is int and 1 <= t <= 100 for t in thresholds):
        raise ValidationError("Write whole per cents from 1 to 100, e.g. [80, 90, 100].")
    if len(set(thresholds)) != len(thresholds) or len(thresholds) > THRESHOLDS_MOST:
        raise ValidationError(f"Write each threshold once, {THRESHOLDS_MOST} at the most.")


class Budget(models.Model):
    """A cap on what is spent, in nano-dollars or in tokens, for one subject or for each of a kind.

    `match` names the subject (a team, key, user, model or provider); empty means that each one of that kind has this
    budget to itself. All budgets that match a call must allow it. A budget of a call has no period.
    """

    class Of(models.TextChoices):
        CALL = "call", "Call"
        WORKSPACE = "workspace", "Workspace"
        TEAM = "team", "Team"
        KEY = "key", "API key"
        USER = "user", "End user"
        MODEL = "model", "Model"
        PROVIDER = "provider", "Provider"

    class Per(models.TextChoices):
        DAY = "day", "Day"
        WEEK = "week", "Week"
        MONTH = "month", "Month"
        TOTAL = "total", "In total"

    class Mode(models.TextChoices):
        HARD = "hard", "Hard: calls over it are refused"
        SOFT = "soft", "Soft: only told"

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="budgets")
    name = models.CharField(max_length=80)
    of = models.CharField(max_length=10, choices=Of.choices)
    match = models.CharField(
        max_length=200, blank=True, default="", help_text="Empty: each one of that kind by itself."
    )
    per = models.CharField(max_length=6, choices=Per.choices, default=Per.MONTH)
    limit_nanos = models.PositiveBigIntegerField(
        "limit in nano-dollars", null=True, blank=True, help_text="1000000000 is one US dollar."
    )
    limit_tokens = models.PositiveBigIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    mode = models.CharField(max_length=5, choices=Mode.choices, default=Mode.HARD)
    alert_at = models.JSONField("alert at (%)", default=thresholds_default, blank=True, validators=[check_thresholds])
    afford = models.BooleanField(
        default=False, help_text="Shorten an answer to what is left instead of refusing the call."
    )

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["workspace__name", "name"]
        constraints = [
            models.UniqueConstraint(
                "workspace",
                "name",
                name="budgets_budget_name_once",
                violation_error_message="The workspace has a budget of this name already.",
            ),
            models.CheckConstraint(condition=~models.Q(name=""), name="budgets_budget_has_name"),
            models.CheckConstraint(
                condition=models.Q(limit_nanos__isnull=False, limit_tokens=None)
                | models.Q(limit_nanos=None, limit_tokens__isnull=False),
                name="budgets_budget_has_one_limit",
                violation_error_message="A budget has a limit in dollars or in tokens: one of the two.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def limit(self) -> int:
        """In the budget's unit: nano-dollars or tokens."""
        return (self.limit_nanos if self.limit_nanos is not None else self.limit_tokens) or 0

    def clean(self) -> None:
        """Raises ValidationError for a limit that the counters can't compare exactly."""
        most = most_countable()
        if (self.limit_nanos or 0) > most:
            raise ValidationError(
                {
                    "limit_nanos": f"With Redis a budget is exact up to ${dollars(most)}. Write less, or cut it in several."
                }
            )
        if (self.limit_tokens or 0) > most:
            raise ValidationError({"limit_tokens": f"With Redis a budget is exact up to {most:,} tokens. Write less."})
