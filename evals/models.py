"""Is it any good, is it safe: suites with their cases, and the guardrails of a workspace."""

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from evals.guardrails.build import BadGuardrail, guard
from tenants.history import ConfigManager
from tenants.models import Workspace


class Guardrail(models.Model):
    """A check on what goes in and what comes out."""

    class Kind(models.TextChoices):
        PROMPT_INJECTION = "prompt_injection", "Prompt injection"
        SECRETS = "secrets", "Secrets"
        BLOCKED_WORDS = "blocked_words", "Blocked words"
        INVISIBLE_TEXT = "invisible_text", "Invisible text and spoofed roles"
        TOPICS = "topics", "Topics"
        MAX_SIZE = "max_size", "Maximum size"
        JSON_SCHEMA = "json_schema", "JSON schema of the answer"

    class Action(models.TextChoices):
        FLAG = "flag", "Flag"
        BLOCK = "block", "Block"

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="guardrails")
    kind = models.CharField(max_length=20, choices=Kind.choices)
    action = models.CharField(max_length=5, choices=Action.choices, default=Action.FLAG)
    threshold = models.DecimalField(
        max_digits=4,
        decimal_places=3,
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="For kinds that give a score, 0 to 1.",
    )
    words = models.JSONField(default=list, blank=True, help_text="For blocked words and topics.")
    options = models.JSONField(
        default=dict,
        blank=True,
        help_text='{"on": ["input", "output"], "forms": ["chat"], "on_error": "block"}, each optional; max_input_characters '
        "and max_output_characters for the maximum size; schema for the JSON schema.",
    )
    position = models.PositiveSmallIntegerField(default=0)

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["workspace__name", "position", "id"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.get_action_display()}"

    def clean(self) -> None:
        """Raises ValidationError, naming the field, when calls could not be run with it."""
        try:
            threshold = None if self.threshold is None else float(self.threshold)
            guard(self.kind, self.action, threshold, self.words, self.options)
        except BadGuardrail as error:
            raise ValidationError({error.field: str(error)}) from None


class Suite(models.Model):
    """A set of cases that a prompt or a route must pass, and the gate that says how well."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="suites")
    name = models.CharField(max_length=120)
    prompt = models.CharField(max_length=120, blank=True, default="", help_text="The prompt it is about, by name.")
    route = models.CharField(max_length=120, blank=True, default="", help_text="Or the route, without a prompt.")
    gate = models.JSONField(default=dict, blank=True, help_text='When it passes, e.g. {"min_pass_rate": 0.9}.')

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["workspace__name", "name"]
        constraints = [
            models.UniqueConstraint(
                "workspace",
                "name",
                name="evals_suite_name_once",
                violation_error_message="The workspace has a suite of this name already.",
            )
        ]

    def __str__(self) -> str:
        return self.name


class Case(models.Model):
    """One question of a suite, and what must hold of the answer."""

    suite = models.ForeignKey(Suite, on_delete=models.CASCADE, related_name="cases")
    name = models.CharField(max_length=120)
    inputs = models.JSONField(default=dict, blank=True)
    messages = models.JSONField(null=True, blank=True)
    expected = models.TextField(blank=True, default="")
    assertions = models.JSONField(default=list)
    tags = models.JSONField(default=list, blank=True)
    position = models.PositiveSmallIntegerField(default=0)

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["suite__name", "position", "id"]
        constraints = [
            models.UniqueConstraint(
                "suite",
                "name",
                name="evals_case_name_once",
                violation_error_message="The suite has a case of this name already.",
            )
        ]

    def __str__(self) -> str:
        return self.name
