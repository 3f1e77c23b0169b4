"""Who is told that a budget fills up, and what was told."""

import uuid

from django.db import models
from django.utils import timezone
from simple_history.models import HistoricalRecords

from budgets.models.budgets import Budget
from tenants.history import ConfigManager
from tenants.models import Workspace
from tenants.models.outbox import OutboxMessage


class AlertChannel(models.Model):
    """Where a workspace is told that a budget fills up."""

    class Kind(models.TextChoices):
        WEBHOOK = "webhook", "Webhook"
        SLACK = "slack", "Slack-form webhook"
        EMAIL = "email", "E-mail"

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="alert_channels")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    url = models.CharField("URL", max_length=500, blank=True, default="")
    to = models.JSONField("addresses", default=list, blank=True)
    sealed = models.BinaryField(null=True, editable=False)
    is_enabled = models.BooleanField(default=True)

    objects = ConfigManager()
    history = HistoricalRecords(excluded_fields=["sealed"])

    class Meta:
        ordering = ["workspace__name", "kind", "url"]
        constraints = [
            models.UniqueConstraint(
                "workspace",
                "kind",
                "url",
                name="budgets_channel_once",
                violation_error_message="The workspace is told there already.",
            ),
            models.CheckConstraint(
                condition=models.Q(kind="email", url="") | (~models.Q(kind="email") & ~models.Q(url="")),
                name="budgets_channel_has_address",
                violation_error_message="A webhook needs a URL; an e-mail channel needs addresses instead.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.workspace}"

    @property
    def seal_context(self) -> str:
        """What the webhook's secret is bound to."""
        return f"alert:{self.workspace_id}:{self.kind}:{self.url}"


class Alert(models.Model):
    """A threshold that a budget crossed: one row for each budget, subject, period and threshold, so it is told once.

    Written in the transaction of the ledger lines that crossed it; whoever delivers reads these rows.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="alerts")
    subject = models.CharField(max_length=200)
    period_start = models.DateTimeField()
    threshold = models.PositiveSmallIntegerField(help_text="Per cent.")
    spent = models.BigIntegerField(help_text="Nano-dollars or tokens, as the budget's limit.")
    limit = models.BigIntegerField()
    crossed_at = models.DateTimeField(default=timezone.now)
    spread_at = models.DateTimeField(null=True, help_text="When its deliveries were written; empty: not yet.")

    class Meta:
        ordering = ["-crossed_at"]
        constraints = [
            models.UniqueConstraint("budget", "subject", "period_start", "threshold", name="budgets_alert_once"),
        ]
        indexes = [
            models.Index(fields=["crossed_at"], condition=models.Q(spread_at=None), name="budgets_alert_to_spread")
        ]

    def __str__(self) -> str:
        return f"{self.budget} at {self.threshold} %"


class Delivery(OutboxMessage):
    """One message to one channel, from being due until it was taken or given up."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(AlertChannel, null=True, on_delete=models.SET_NULL, related_name="deliveries")
    alert = models.ForeignKey(Alert, null=True, on_delete=models.SET_NULL, related_name="deliveries")

    class Meta:
        verbose_name = "sent alert"
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint("alert", "channel", name="budgets_delivery_once"),
        ]
        indexes = [models.Index(fields=["next_at"], condition=models.Q(state="pending"), name="budgets_delivery_due")]
