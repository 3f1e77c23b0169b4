"""Providers, their credentials, and the models that they serve."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from simple_history.models import HistoricalRecords

from tenants.history import ConfigManager

NAME_HELP = "The name in routes, records and headers."


class Provider(models.Model):
    """A place that serves models. One that speaks OpenAI's format is a row of kind `openai_compatible`, not code."""

    class Kind(models.TextChoices):
        OPENAI = "openai", "OpenAI"
        ANTHROPIC = "anthropic", "Anthropic"
        GEMINI = "gemini", "Google Gemini"
        VERTEX = "vertex", "Google Vertex AI"
        BEDROCK = "bedrock", "Amazon Bedrock"
        AZURE_OPENAI = "azure_openai", "Azure OpenAI"
        MISTRAL = "mistral", "Mistral"
        COHERE = "cohere", "Cohere"
        OPENAI_COMPATIBLE = "openai_compatible", "OpenAI-compatible"
        DEMO = "demo", "Demo (answers here, without an account)"

    name = models.CharField(max_length=80, unique=True, help_text=NAME_HELP)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    base_url = models.CharField(
        "base URL", max_length=500, blank=True, default="", help_text="Empty: the provider's public address."
    )
    region = models.CharField(max_length=40, blank=True, default="", help_text="For Bedrock and Vertex.")
    api_version = models.CharField("API version", max_length=40, blank=True, default="", help_text="For Azure OpenAI.")
    quirks = models.JSONField(
        default=dict, blank=True, help_text='What this server does differently, e.g. {"no_done": true}.'
    )
    is_enabled = models.BooleanField(default=True, help_text="Off: its models are left out of every route.")

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["name"]
        constraints = [models.CheckConstraint(condition=~models.Q(name=""), name="gateway_provider_has_name")]

    def __str__(self) -> str:
        return self.name


class Credential(models.Model):
    """One of a provider's secrets. It is encrypted at rest and never shown again; `hint` is its last four characters."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="credentials")
    name = models.CharField(max_length=80, default="main", help_text="To tell several apart, e.g. main and spare.")
    sealed = models.BinaryField(editable=False)
    hint = models.CharField(max_length=4, blank=True, default="", editable=False)
    is_enabled = models.BooleanField(default=True)
    position = models.PositiveSmallIntegerField(default=0, help_text="Credentials are taken in this order.")
    set_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ConfigManager()
    history = HistoricalRecords(excluded_fields=["sealed"])

    class Meta:
        ordering = ["provider__name", "position", "name"]
        constraints = [
            models.UniqueConstraint(
                "provider",
                "name",
                name="gateway_credential_name_once",
                violation_error_message="The provider has a credential of this name already.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.provider} / {self.name}"

    @property
    def seal_context(self) -> str:
        """What the ciphertext is bound to: moved to another provider's credential, it does not open."""
        return f"credential:{self.provider_id}:{self.name}"

    @property
    def secret(self) -> str:
        """The secret itself, for the compiler alone. Raises Undecryptable."""
        return settings.KEYRING.open(bytes(self.sealed), self.seal_context).decode()


class ServedModel(models.Model):
    """A model that may be called: its public name, where it lives, and what it can take. Prices are in budgets."""

    class Kind(models.TextChoices):
        CHAT = "chat", "Chat"
        EMBEDDING = "embedding", "Embedding"
        RERANK = "rerank", "Rerank"
        IMAGE = "image", "Image"
        AUDIO = "audio", "Audio"
        MODERATION = "moderation", "Moderation"
        COMPLETION = "completion", "Completion"

    name = models.CharField(max_length=120, unique=True, help_text='What callers put into "model".')
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="models")
    upstream = models.CharField(max_length=200, help_text="The provider's own name for it.")
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.CHAT)
    max_output_tokens = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    context_tokens = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    quality = models.DecimalField(
        max_digits=4,
        decimal_places=3,
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="0 to 1, for routing by quality. Empty: the newest eval result.",
    )
    capabilities = models.JSONField(
        null=True, blank=True, default=None, help_text='What it takes, e.g. ["image", "tools"]. Empty: not known.'
    )
    is_enabled = models.BooleanField(default=True)
    listed_context_tokens = models.PositiveIntegerField(
        "context by the catalogue", null=True, editable=False, help_text="Counts where context tokens are left empty."
    )
    listed_at = models.DateTimeField("catalogue read", null=True, editable=False)

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        verbose_name = "model"
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=~models.Q(name=""), name="gateway_model_has_name"),
            models.CheckConstraint(
                condition=models.Q(quality=None) | models.Q(quality__gte=0, quality__lte=1),
                name="gateway_model_quality_is_a_share",
            ),
        ]

    def __str__(self) -> str:
        return self.name
