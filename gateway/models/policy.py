"""What happens to a workspace's traffic on its way."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from simple_history.models import HistoricalRecords

from evals.guardrails.patterns import BadPattern, compiled
from tenants.history import ConfigManager
from tenants.models import Workspace

OPTIONS = ("patterns", "words", "names", "allow", "engine")
DETECTABLE = ("email", "phone", "id_number", "credit_card", "iban", "ip_address", "person", "secret", "custom")


def check_detect(kinds: list[str]) -> None:
    """Raises ValidationError unless each entry is a kind of data that we can detect."""
    unknown = [kind for kind in kinds if kind not in DETECTABLE] if isinstance(kinds, list) else [kinds]
    if unknown:
        raise ValidationError(f"{unknown[0]!r} can't be detected; choose from {', '.join(DETECTABLE)}.")


def check_options(options: Any) -> None:
    """Raises ValidationError, naming the option, unless calls can be run with them."""
    if not isinstance(options, dict):
        raise ValidationError("The options must be an object.")
    for name in options:
        if name not in OPTIONS:
            raise ValidationError(f"There is no option {name!r}; choose from {', '.join(OPTIONS)}.")
    for name in ("words", "names", "allow"):
        if not _is_texts(options.get(name, [])):
            raise ValidationError(f"{name} must be a list of texts, none of them empty.")
    if not isinstance(options.get("engine", ""), str):
        raise ValidationError('engine must be a text such as "presidio:en_core_web_lg".')
    patterns = options.get("patterns", {})
    if not isinstance(patterns, dict) or not _is_texts(list(patterns.values())):
        raise ValidationError('patterns must be an object of names and patterns, e.g. {"claim": "CLM-[0-9]{6}"}.')
    for name, pattern in patterns.items():
        try:
            compiled(pattern)
        except BadPattern as error:
            raise ValidationError(f"patterns.{name}: {error}") from None


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and each.strip() for each in value)


class RedactionPolicy(models.Model):
    """What a workspace masks before anything leaves or is stored."""

    class Action(models.TextChoices):
        RESTORE = "restore", "Mask, and give the originals back to the caller"
        MASK = "mask", "Mask for good"
        BLOCK = "block", "Refuse the call"

    class OnError(models.TextChoices):
        BLOCK = "block", "Refuse the call"
        MASK = "mask", "Mask the whole field"
        ALLOW = "allow", "Let it through"

    workspace = models.OneToOneField(Workspace, on_delete=models.CASCADE, related_name="redaction")
    detect = models.JSONField(default=list, validators=[check_detect])
    action = models.CharField(max_length=8, choices=Action.choices, default=Action.RESTORE)
    on_error = models.CharField("if a detector fails", max_length=8, choices=OnError.choices, default=OnError.BLOCK)
    options = models.JSONField(
        default=dict,
        blank=True,
        validators=[check_options],
        help_text='{"patterns": {"claim": "CLM-[0-9]{6}"}, "words": [], "names": [], "allow": [], "engine": ""}. '
        "Patterns run in linear time (RE2); words and names are masked wherever they stand; allow is never masked.",
    )

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        verbose_name = "redaction policy"
        verbose_name_plural = "redaction policies"

    def __str__(self) -> str:
        return f"redaction of {self.workspace}"
