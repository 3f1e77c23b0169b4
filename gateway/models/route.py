"""Routes: names that callers use, and the chain of targets behind each."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from gateway.core.conditions import problems
from gateway.core.route_options import route_problems, target_problems
from gateway.models.provider import ServedModel
from tenants.history import ConfigManager

FALL_BACK_ON = (
    "connect",
    "timeout",
    "rate_limit",
    "server_error",
    "bad_answer",
    "auth",
    "context_too_long",
    "content_refused",
)
FALL_BACK_ON_DEFAULT = ("connect", "timeout", "rate_limit", "server_error", "bad_answer", "auth")


def fall_back_on_default() -> list[str]:
    return list(FALL_BACK_ON_DEFAULT)


def check_fall_back_on(kinds: list[str]) -> None:
    """Raises ValidationError unless each entry is a kind of failure that a route can fall back on."""
    unknown = [kind for kind in kinds if kind not in FALL_BACK_ON] if isinstance(kinds, list) else [kinds]
    if unknown:
        raise ValidationError(f"{unknown[0]!r} is no kind of failure; choose from {', '.join(FALL_BACK_ON)}.")


def check_conditions(conditions: list[Any]) -> None:
    """Raises ValidationError, naming the place, unless each is a condition that routing understands."""
    if found := problems(conditions):
        raise ValidationError(found)


def check_route_options(options: dict[str, Any]) -> None:
    """Raises ValidationError, naming the setting, for one that routes don't have."""
    if found := route_problems(options):
        raise ValidationError(found)


def check_target_options(options: dict[str, Any]) -> None:
    """Raises ValidationError, naming the setting, for one that targets don't have."""
    if found := target_problems(options):
        raise ValidationError(found)


class Route(models.Model):
    """A name that an app puts into "model". A model's own name is a route of one target and needs no row."""

    class Strategy(models.TextChoices):
        PRIORITY = "priority", "Priority: the first that works"
        WEIGHTED = "weighted", "Weighted: a split of the traffic"
        COST = "cost", "Cost: the cheapest for this call"
        LATENCY = "latency", "Latency: the fastest of late"
        QUALITY = "quality", "Quality: the best"

    class StickyBy(models.TextChoices):
        USER = "user", "End user"
        SESSION = "session", "Session"
        KEY = "key", "API key"
        NONE = "none", "Nothing"

    class CacheMode(models.TextChoices):
        OFF = "off", "Off"
        EXACT = "exact", "Exact"
        SEMANTIC = "semantic", "Semantic"

    name = models.CharField(max_length=120, unique=True, help_text='What callers put into "model".')
    description = models.CharField(max_length=300, blank=True, default="")
    strategy = models.CharField(max_length=10, choices=Strategy.choices, default=Strategy.PRIORITY)
    sticky_by = models.CharField(
        max_length=8, choices=StickyBy.choices, default=StickyBy.NONE, help_text="Who stays with the same target."
    )
    retries = models.PositiveSmallIntegerField(
        default=1, validators=[MaxValueValidator(5)], help_text="For each target, before the next one."
    )
    fall_back_on = models.JSONField(default=fall_back_on_default, validators=[check_fall_back_on])
    cache_mode = models.CharField("cache", max_length=8, choices=CacheMode.choices, default=CacheMode.OFF)
    cache_ttl_s = models.PositiveIntegerField("cache for (seconds)", default=3600, validators=[MinValueValidator(1)])
    cache_threshold = models.DecimalField(
        "semantic threshold",
        max_digits=4,
        decimal_places=3,
        default="0.950",
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="How alike two questions must be, 0 to 1.",
    )
    options = models.JSONField(
        default=dict,
        blank=True,
        validators=[check_route_options],
        help_text="Further settings of the route: timeout_s.",
    )
    is_enabled = models.BooleanField(default=True)

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=~models.Q(name=""), name="gateway_route_has_name"),
            models.CheckConstraint(
                condition=models.Q(cache_threshold__gte=0, cache_threshold__lte=1),
                name="gateway_route_threshold_is_a_share",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class RouteTarget(models.Model):
    """One step of a route's chain."""

    route = models.ForeignKey(Route, on_delete=models.CASCADE, related_name="targets")
    model = models.ForeignKey(ServedModel, on_delete=models.PROTECT, related_name="route_targets")
    position = models.PositiveSmallIntegerField(default=0)
    weight = models.PositiveIntegerField(default=1, help_text="Share of the traffic, for a weighted route.")
    first_byte_timeout_s = models.DecimalField(
        max_digits=7, decimal_places=2, null=True, blank=True, validators=[MinValueValidator(0)]
    )
    timeout_s = models.DecimalField(
        max_digits=7, decimal_places=2, null=True, blank=True, validators=[MinValueValidator(0)]
    )
    conditions = models.JSONField(
        default=list,
        blank=True,
        validators=[check_conditions],
        help_text='When this target may be taken, e.g. {"field": "has_image", "is": true}. Empty: always.',
    )
    options = models.JSONField(
        default=dict,
        blank=True,
        validators=[check_target_options],
        help_text="Further settings: connect_timeout_s, first_token_timeout_s, idle_timeout_s.",
    )

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["route__name", "position", "id"]
        constraints = [
            models.UniqueConstraint(
                "route",
                "model",
                name="gateway_target_once",
                violation_error_message="A model stands in a chain once.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.route} → {self.model}"
