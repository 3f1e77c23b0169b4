"""More for a budget, for a time: asked for, granted or refused."""

from datetime import datetime

from django.db import models
from django.utils import timezone
from simple_history.models import HistoricalRecords

from budgets.models.budgets import Budget
from gateway.core.money import dollars
from tenants.history import ConfigManager
from tenants.models import Workspace

OF_PEOPLE = ("subject", "subject_name", "asked_by", "reason")  # may name an end user, so only the row itself has them


class Raise(models.Model):
    """One wish that a budget pay more for one subject, and what became of it.

    Granted, the subject's cap is higher by `amount` from `starts_at` until before `ends_at`, then ends by itself.
    Amounts are in the budget's unit, nano-dollars or tokens. `subject` is as the ledger writes it: ids of teams and
    keys, names of all else; `subject_name` is for people. Whoever is erased is replaced by a pseudonym.
    """

    class State(models.TextChoices):
        ASKED = "asked", "Asked for"
        GRANTED = "granted", "Granted"
        REFUSED = "refused", "Refused"

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="raises")
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="raises")
    subject = models.CharField(max_length=200)
    subject_name = models.CharField("for", max_length=200)
    asked_by = models.CharField(max_length=200, help_text="The key and end user whose call was refused, or a member.")
    reason = models.TextField(max_length=1000, blank=True, default="")
    asked_amount = models.PositiveBigIntegerField(null=True, blank=True)
    asked_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=7, choices=State.choices, default=State.ASKED)
    amount = models.PositiveBigIntegerField(default=0)
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=200, blank=True, default="")
    decided_at = models.DateTimeField(null=True, blank=True)
    note = models.CharField(max_length=300, blank=True, default="")

    objects = ConfigManager()
    history = HistoricalRecords(excluded_fields=[*OF_PEOPLE])

    class Meta:
        ordering = ["-asked_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                "budget",
                "subject",
                condition=models.Q(state="asked"),
                name="budgets_raise_asked_once",
                violation_error_message="More is asked for here already; it waits for an answer.",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="granted")
                | models.Q(amount__gt=0, starts_at__isnull=False, ends_at__isnull=False),
                name="budgets_raise_granted_for_a_time",
                violation_error_message="A raise has an amount and an end.",
            ),
        ]

    def __str__(self) -> str:
        """Without the name of an end user: this goes into the trail, which forgets nothing."""
        return f"{self.budget} for {'an end user' if self.budget.of == Budget.Of.USER else self.subject_name}"

    def is_running(self, at: datetime) -> bool:
        """Whether it raises the cap at this instant."""
        return (
            self.state == self.State.GRANTED
            and self.starts_at is not None
            and self.ends_at is not None
            and self.starts_at <= at < self.ends_at
        )

    def in_words(self, amount: int) -> str:
        """An amount in the budget's unit."""
        return f"${dollars(amount)}" if self.budget.limit_nanos is not None else f"{amount:,} tokens"
