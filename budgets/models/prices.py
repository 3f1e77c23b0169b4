"""What models cost."""

from django.db import models
from django.utils import timezone
from simple_history.models import HistoricalRecords

from tenants.history import ConfigManager


class Price(models.Model):
    """What a model costs from a day on, in nano-dollars per million tokens.

    `model` is the public name, not a foreign key: a price must outlive the row it is about, because settled calls
    refer to it. `details` holds the token classes beyond these three (cache writes, reasoning, audio, images, fees by
    the use of a hosted tool) and the tiers by context length and service tier; see budgets/pricing.py for its shape.
    """

    class Source(models.TextChoices):
        CONFIGURATION = "configuration", "Configuration"
        CATALOGUE = "catalogue", "Price catalogue"

    model = models.CharField(max_length=120, help_text="The model's public name.")
    source = models.CharField(max_length=14, choices=Source.choices, default=Source.CONFIGURATION)
    valid_from = models.DateTimeField(default=timezone.now)
    input_nanos = models.PositiveBigIntegerField("input", help_text="Nano-dollars per million tokens.")
    output_nanos = models.PositiveBigIntegerField("output", default=0, help_text="Nano-dollars per million tokens.")
    cached_input_nanos = models.PositiveBigIntegerField(
        "cached input", null=True, blank=True, help_text="Nano-dollars per million tokens. Empty: as input."
    )
    details = models.JSONField(default=dict, blank=True)
    note = models.CharField(max_length=200, blank=True, default="", help_text="Where it was read.")

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["model", "source", "-valid_from"]
        constraints = [
            models.UniqueConstraint(
                "model",
                "source",
                "valid_from",
                name="budgets_price_once",
                violation_error_message="The model has a price of this source from this moment on already.",
            ),
            models.CheckConstraint(condition=~models.Q(model=""), name="budgets_price_has_model"),
        ]

    def __str__(self) -> str:
        return f"{self.model} from {self.valid_from:%Y-%m-%d}"
