"""Admin tokens: what a script shows to be let into /api/."""

from django.conf import settings
from django.db import models
from django.utils import timezone
from simple_history.models import HistoricalRecords

from tenants.history import ConfigManager


class AdminToken(models.Model):
    """A secret that lets a script use /api/ as one person, with that person's roles and no more.

    Like an API key it is shown once and kept as a digest. It does not open /v1, and keys of /v1 do not open /api/.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="admin_tokens")
    name = models.CharField(max_length=80, help_text="What uses it, e.g. terraform.")
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    hint = models.CharField(max_length=4, editable=False)
    is_read_only = models.BooleanField("reads only", default=False, help_text="It may look, and change nothing.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ConfigManager()
    history = HistoricalRecords(excluded_fields=["digest"])

    class Meta:
        verbose_name = "admin token"
        ordering = ["user__username", "name"]
        constraints = [
            models.UniqueConstraint(
                "user",
                "name",
                name="tenants_token_name_once",
                violation_error_message="You have a token of this name already.",
            ),
            models.CheckConstraint(condition=~models.Q(name=""), name="tenants_token_has_name"),
        ]

    def __str__(self) -> str:
        return f"{self.name} …{self.hint}"

    @property
    def is_usable(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())
