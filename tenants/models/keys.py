"""API keys: what an application shows to be let in."""

import ipaddress
import uuid

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from simple_history.models import HistoricalRecords

from gateway.core.crypto import key_digest
from tenants.history import ConfigManager
from tenants.models.workspaces import NAME_HELP, Team, Workspace


def key_digest_of(secret: str) -> bytes:
    """The 32 bytes under which this secret is stored today."""
    return key_digest(settings.SECRET_KEY.encode(), secret)


def check_networks(networks: list[str]) -> None:
    """Raises ValidationError unless each entry is an IP address or a network like 10.0.0.0/8."""
    if not isinstance(networks, list):
        raise ValidationError("Write a list of addresses or networks.")
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise ValidationError(f"{network!r} is not an address or network: {error}.") from None


def check_names(names: list[str] | None) -> None:
    """Raises ValidationError unless it is a list of names, or nothing."""
    if names is not None and (not isinstance(names, list) or not all(isinstance(name, str) and name for name in names)):
        raise ValidationError("Write a list of names of routes and models, or leave it empty for all.")


class ApiKey(models.Model):
    """A secret that lets one application act for a workspace.

    The secret itself is shown once and never stored: `digest` is its keyed hash under the installation's secret, by
    which it is found, and `hint` its last four characters, enough for a person to tell keys apart. While a key is
    being rotated `previous_digest` still opens until `previous_until`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="keys")
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="keys", null=True, blank=True)
    name = models.CharField(max_length=80, help_text=NAME_HELP)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    hint = models.CharField(max_length=4, editable=False)
    previous_digest = models.BinaryField(max_length=32, null=True, unique=True, editable=False)
    previous_until = models.DateTimeField(null=True, editable=False)
    allowed_models = models.JSONField(
        null=True,
        blank=True,
        default=None,
        validators=[check_names],
        help_text="Routes and models it may call. Empty: all.",
    )
    allowed_ips = models.JSONField(
        default=list, blank=True, validators=[check_networks], help_text="Addresses or networks. Empty: any."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ConfigManager()
    history = HistoricalRecords(excluded_fields=["digest", "previous_digest"])

    class Meta:
        verbose_name = "API key"
        ordering = ["workspace__name", "name"]
        constraints = [
            models.UniqueConstraint(
                "workspace",
                "name",
                name="tenants_key_name_once",
                violation_error_message="The workspace has a key of this name already.",
            ),
            models.CheckConstraint(condition=~models.Q(name=""), name="tenants_key_has_name"),
            models.CheckConstraint(
                condition=models.Q(previous_digest=None, previous_until=None)
                | models.Q(previous_digest__isnull=False, previous_until__isnull=False),
                name="tenants_key_overlap_ends",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} …{self.hint}"

    @property
    def is_usable(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())
