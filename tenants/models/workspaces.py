"""Workspaces, their teams and their members."""

import zoneinfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.utils.timezone import now
from simple_history.models import HistoricalRecords

from tenants.history import ConfigManager

NAME_HELP = "Letters, digits and . _ - or spaces; it stands in the configuration file and in every record."

USER_MOST = 512  # characters of an end user's name


def check_timezone(name: str) -> None:
    """Raises ValidationError unless the name is in the time zone database."""
    if name not in zoneinfo.available_timezones():
        raise ValidationError(f"{name!r} is not a time zone; write one like Africa/Johannesburg or UTC.")


def check_users(names: object) -> None:
    """Raises ValidationError unless the value is a list of end users' names, as calls give them."""
    if not isinstance(names, list) or not all(isinstance(name, str) and 0 < len(name) <= USER_MOST for name in names):
        raise ValidationError(f"Give a list of end users' names of up to {USER_MOST} characters.")


class Workspace(models.Model):
    """A tenant: the border that no data, key, budget or cached answer crosses."""

    class OnUnpriced(models.TextChoices):
        REJECT = "reject", "Reject the call"
        CEILING = "ceiling", "Charge the dearest known price"
        ALLOW = "allow", "Allow and flag it"

    class OnBudgetsUnavailable(models.TextChoices):
        CLOSED = "closed", "Refuse calls"
        OPEN = "open", "Let calls through"

    class OnLimitsUnavailable(models.TextChoices):
        OPEN = "open", "Let calls through"
        LOCAL = "local", "Count in each worker by itself"
        CLOSED = "closed", "Refuse calls"

    class OnAuditUnavailable(models.TextChoices):
        SPOOL = "spool", "Keep records in the journal until the database is back"
        STRICT = "strict", "Refuse calls"

    name = models.CharField(max_length=80, unique=True, help_text=NAME_HELP)
    timezone = models.CharField(
        max_length=64, default="UTC", validators=[check_timezone], help_text="Days and months of budgets begin here."
    )
    is_active = models.BooleanField(default=True, help_text="Off: every key of this workspace is refused.")
    on_unpriced = models.CharField(
        "model without a price", max_length=10, choices=OnUnpriced.choices, default=OnUnpriced.REJECT
    )
    on_budgets_unavailable = models.CharField(
        "budgets' store down", max_length=10, choices=OnBudgetsUnavailable.choices, default=OnBudgetsUnavailable.CLOSED
    )
    on_limits_unavailable = models.CharField(
        "limits' store down", max_length=10, choices=OnLimitsUnavailable.choices, default=OnLimitsUnavailable.OPEN
    )
    on_audit_unavailable = models.CharField(
        "records' store down", max_length=10, choices=OnAuditUnavailable.choices, default=OnAuditUnavailable.SPOOL
    )
    records_days = models.PositiveIntegerField(
        "keep records (days)", default=365, validators=[MinValueValidator(1)], help_text="Call records and changes."
    )
    bodies_days = models.PositiveIntegerField(
        "keep bodies (days)", default=30, validators=[MinValueValidator(1)], help_text="Requests and answers."
    )
    store_bodies = models.BooleanField(
        default=False, help_text="Keep what was asked and answered, encrypted, after redaction."
    )
    blocked_users = models.JSONField(
        default=list,
        blank=True,
        validators=[check_users],
        help_text="End users whose calls are refused, by the name that calls give in `user`.",
    )
    created_at = models.DateTimeField(default=now, editable=False)

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=~models.Q(name=""), name="tenants_workspace_has_name"),
            models.CheckConstraint(
                condition=models.Q(records_days__gte=1, bodies_days__gte=1), name="tenants_workspace_keeps_a_day"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Team(models.Model):
    """A group within a workspace that keys and budgets belong to."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="teams")
    name = models.CharField(max_length=80, help_text=NAME_HELP)

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["workspace__name", "name"]
        constraints = [
            models.UniqueConstraint(
                "workspace",
                "name",
                name="tenants_team_name_once",
                violation_error_message="The workspace has a team of this name already.",
            ),
            models.CheckConstraint(condition=~models.Q(name=""), name="tenants_team_has_name"),
        ]

    def __str__(self) -> str:
        return self.name


class Member(models.Model):
    """A person's role in a workspace. Superusers need none: they may do everything everywhere."""

    class Role(models.TextChoices):
        OWNER = "owner", "Owner"
        ADMIN = "admin", "Admin"
        FINANCE = "finance", "Finance"
        PUBLISHER = "publisher", "Prompt publisher"
        REVIEWER = "reviewer", "Prompt reviewer"
        EDITOR = "editor", "Prompt editor"
        VIEWER = "viewer", "Viewer"

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.VIEWER)

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["workspace__name", "user__username"]
        constraints = [
            models.UniqueConstraint(
                "workspace",
                "user",
                name="tenants_member_once",
                violation_error_message="This person is a member already; change their role in the list.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.get_role_display()})"
