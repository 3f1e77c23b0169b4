"""Is it any good, is it safe: suites with their cases, their runs, and the guardrails of a workspace."""

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from simple_history.models import HistoricalRecords

from evals.guardrails.build import BadGuardrail, guard
from gateway.core.ids import new_id
from prompts.models import PromptVersion
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


class Run(models.Model):
    """A suite asked of one version or route, once. Never changed: how it ended stands in its scorings."""

    id = models.CharField(primary_key=True, max_length=36, default=new_id, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="runs")
    suite = models.CharField(max_length=120)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the cases and the gate, as they were.")
    cases = models.JSONField()
    gate = models.JSONField(default=dict)
    version = models.ForeignKey(PromptVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="runs")
    route = models.CharField(max_length=200, blank=True, default="", help_text="Empty: the version's own.")
    repeat = models.PositiveSmallIntegerField(default=1)
    max_cost_nanos = models.BigIntegerField(null=True, blank=True)
    actor = models.CharField(max_length=150, blank=True, default="")
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["workspace", "suite", "-at"], name="evals_run_newest")]

    def __str__(self) -> str:
        return f"{self.suite} of {self.about}"

    @property
    def about(self) -> str:
        """What was asked: a prompt's version, a route, or a version on another route."""
        told = [str(self.version)] if self.version is not None else []
        return " on ".join([*told, *([self.route] if self.route else [])])


class Output(models.Model):
    """One answer, kept once: it can be scored again without asking anybody."""

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="outputs")
    case = models.CharField(max_length=120)
    repeat = models.PositiveSmallIntegerField(default=1)
    call_id = models.CharField(max_length=64, blank=True, default="")
    text = models.TextField(blank=True, default="")
    tool_calls = models.JSONField(default=list)
    finish = models.CharField(max_length=40, blank=True, default="")
    model = models.CharField(max_length=200, blank=True, default="")
    provider = models.CharField(max_length=80, blank=True, default="")
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cost_nanos = models.BigIntegerField(default=0)
    ms = models.FloatField(default=0)
    personal = models.JSONField(default=list, help_text="Kinds of personal data in the answer.")
    code = models.CharField(max_length=80, blank=True, default="", help_text="Why there is no answer.")
    error = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint("run", "case", "repeat", name="evals_output_once")]

    def __str__(self) -> str:
        return f"{self.case} #{self.repeat}"


class Scoring(models.Model):
    """A run's outputs scored, and what the gate says of it. Scoring a run again makes another one."""

    VERDICTS = [
        ("passed", "Passed"),
        ("failed", "Failed"),
        ("incomplete", "Incomplete"),
        ("capped", "Stopped by its cost cap"),
        ("inconclusive", "Inconclusive"),
        ("broken", "Could not be run"),
    ]

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="scorings")
    baseline = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="+", help_text="What it was compared with."
    )
    verdict = models.CharField(max_length=12, choices=VERDICTS)
    reasons = models.JSONField(default=list)
    figures = models.JSONField(default=dict)
    actor = models.CharField(max_length=150, blank=True, default="")
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-at", "-id"]

    def __str__(self) -> str:
        return f"{self.run}: {self.get_verdict_display()}"


class Score(models.Model):
    """What one assertion came to for one output. `raw` is what a judge said."""

    VERDICTS = [("pass", "Pass"), ("fail", "Fail"), ("error", "Undecided")]

    scoring = models.ForeignKey(Scoring, on_delete=models.PROTECT, related_name="scores")
    output = models.ForeignKey(Output, on_delete=models.PROTECT, related_name="scores")
    number = models.PositiveSmallIntegerField(help_text="Which of its case's assertions, from 0.")
    kind = models.CharField(max_length=20)
    verdict = models.CharField(max_length=5, choices=VERDICTS)
    score = models.FloatField(null=True)
    reason = models.CharField(max_length=500, blank=True, default="")
    raw = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint("scoring", "output", "number", name="evals_score_once")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.verdict}"


class Approved(models.Model):
    """That a scoring is what later runs of its suite are compared with. Appended; the newest counts."""

    scoring = models.ForeignKey(Scoring, on_delete=models.PROTECT, related_name="approvals")
    actor = models.CharField(max_length=150)
    reason = models.CharField(max_length=300)
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "approved baseline"
        ordering = ["-at", "-id"]

    def __str__(self) -> str:
        return str(self.scoring)
