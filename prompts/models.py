"""The words: prompts, drafts, versions that never change, who approved them, and what each channel serves."""

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from simple_history.models import HistoricalRecords

from gateway.core.conditions import METADATA, TEXTS, problems
from prompts.statistics import METRICS
from tenants.history import ConfigManager
from tenants.models import Workspace
from tenants.models.outbox import OutboxMessage


def check_eligible(conditions: Any) -> None:
    """Raises ValidationError where these are no conditions, or ask what is not known when a prompt is rendered."""
    wrong = [f"eligible{problem}" for problem in problems(conditions)]
    if not wrong:
        asked = [condition["field"] for condition in conditions]
        wrong = [
            f"{field} can't decide who takes part: there are {', '.join(TEXTS)} and metadata.NAME"
            for field in asked
            if field not in TEXTS and not field.startswith(METADATA)
        ]
    if wrong:
        raise ValidationError(wrong)


class Prompt(models.Model):
    """A named prompt of a workspace. What it says stands in its versions."""

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="prompts")
    name = models.CharField(max_length=120, help_text="What callers put into `prompt`, e.g. summary.")
    description = models.CharField(max_length=500, blank=True, default="")
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["workspace__name", "name"]
        constraints = [
            models.UniqueConstraint(
                "workspace",
                "name",
                name="prompts_prompt_name_once",
                violation_error_message="The workspace has a prompt of this name already.",
            ),
            models.CheckConstraint(condition=~models.Q(name=""), name="prompts_prompt_has_name"),
        ]

    def __str__(self) -> str:
        return self.name


class PromptVersion(models.Model):
    """What a prompt said at one moment. Never changes; `digest` is the SHA-256 of all that shapes an answer."""

    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    digest = models.CharField(max_length=64, editable=False)
    messages = models.JSONField()
    route = models.CharField(max_length=120, blank=True, default="", help_text="Empty: the caller's `model`.")
    parameters = models.JSONField(default=dict, blank=True)
    response_format = models.JSONField(null=True, blank=True)
    tools = models.JSONField(null=True, blank=True)
    input_schema = models.JSONField(
        default=dict, blank=True, help_text="A JSON Schema of the inputs: their types, lengths, defaults."
    )
    resolved = models.JSONField(
        null=True, blank=True, editable=False, help_text="The messages with their partials put in, where there are any."
    )
    pins = models.JSONField(
        default=dict, blank=True, editable=False, help_text="Each partial as written, and the version that it was then."
    )
    message = models.CharField(max_length=300, blank=True, default="", help_text="What changed, and why.")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["prompt__name", "-number"]
        constraints = [
            models.UniqueConstraint("prompt", "number", name="prompts_version_number_once"),
            models.CheckConstraint(condition=models.Q(number__gte=1), name="prompts_version_from_one"),
        ]

    def __str__(self) -> str:
        return f"{self.prompt}@{self.number}"


class PromptDraft(models.Model):
    """What one person is writing. `rev` rises with each save, so that two windows can't overwrite each other unseen."""

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="drafts")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    base = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    rev = models.PositiveIntegerField(default=1)
    words = models.JSONField(default=dict)
    sample = models.JSONField(default=dict, blank=True, help_text="Inputs to try it with.")
    saved_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-saved_at"]
        constraints = [models.UniqueConstraint("prompt", "user", name="prompts_draft_once")]

    def __str__(self) -> str:
        return f"draft of {self.prompt}"


class Channel(models.Model):
    """The rules of a channel in a workspace. A channel without a row has none: whoever may publish publishes."""

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="channels")
    name = models.CharField(max_length=40, help_text="production, staging, or one of your own.")
    is_protected = models.BooleanField("protected", default=False, help_text="Only approved versions are served here.")
    required_approvals = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(5)], help_text="By how many people."
    )
    allow_self_approval = models.BooleanField(default=False, help_text="May a version's author approve it?")
    required_suites = models.JSONField(
        default=list, blank=True, help_text="Names of suites that must have passed for the version."
    )
    publishers = models.JSONField(
        default=list, blank=True, help_text="User names. Empty: everybody whose role lets them publish."
    )
    reviewers = models.JSONField(
        default=list, blank=True, help_text="User names. Empty: everybody whose role lets them review."
    )

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["workspace__name", "name"]
        constraints = [
            models.UniqueConstraint(
                "workspace",
                "name",
                name="prompts_channel_name_once",
                violation_error_message="The workspace has rules for this channel already.",
            ),
            models.CheckConstraint(condition=~models.Q(name=""), name="prompts_channel_has_name"),
        ]

    def __str__(self) -> str:
        return self.name


class ReviewRequest(models.Model):
    """Somebody asks for a version to be let onto a channel."""

    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="reviews")
    channel = models.CharField(max_length=40)
    asked_by = models.CharField(max_length=150)
    note = models.CharField(max_length=500, blank=True, default="")
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-at"]
        constraints = [models.UniqueConstraint("version", "channel", name="prompts_review_once")]

    def __str__(self) -> str:
        return f"{self.version} for {self.channel}"


class Approval(models.Model):
    """What a reviewer said about a version on a channel. Appended, never changed; each one's newest word counts."""

    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="approvals")
    channel = models.CharField(max_length=40)
    digest = models.CharField(max_length=64)
    reviewer = models.CharField(max_length=150)
    author = models.CharField(max_length=150, blank=True, default="")
    is_own_allowed = models.BooleanField(default=False, help_text="The channel let authors approve, at that time.")
    decision = models.CharField(max_length=8, choices=[("approve", "Approved"), ("change", "Changes requested")])
    comment = models.CharField(max_length=1000, blank=True, default="")
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(decision="approve")
                | models.Q(is_own_allowed=True)
                | ~models.Q(reviewer=models.F("author")),
                name="prompts_approval_by_another",
                violation_error_message="A version's author can't approve it on this channel.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_decision_display()} by {self.reviewer}"


class SuiteResult(models.Model):
    """How a run of a suite ended for a version, said by the app that runs suites. Appended; the newest one counts."""

    VERDICTS = [("passed", "Passed"), ("failed", "Failed"), ("outdated", "The suite was changed since")]

    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="suite_results")
    suite = models.CharField(max_length=120)
    digest = models.CharField(max_length=64)
    verdict = models.CharField(max_length=8, choices=VERDICTS)
    run = models.CharField(max_length=40, blank=True, default="", help_text="The run's id.")
    told = models.CharField(max_length=300, blank=True, default="", help_text="Why, in words.")
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["version", "suite", "-id"], name="prompts_suiteresult_newest")]

    def __str__(self) -> str:
        return f"{self.suite}: {self.get_verdict_display()}"


class Experiment(models.Model):
    """Several versions on one channel, each for a share of the users, sessions or keys."""

    STATES = [("running", "Running"), ("paused", "Paused"), ("concluded", "Concluded"), ("aborted", "Stopped")]
    UNITS = [("user", "End user"), ("session", "Session"), ("key", "API key")]
    METRICS = [(name, metric.title) for name, metric in METRICS.items()]

    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="experiments")
    channel = models.CharField(max_length=40, default="production")
    name = models.CharField(max_length=60, help_text="Stands in the header x-tollgate-experiment.")
    unit = models.CharField(max_length=8, choices=UNITS, default="user", help_text="What keeps its version throughout.")
    salt = models.CharField(max_length=32, editable=False)
    arms = models.JSONField(help_text="The first is the control: name, version, ranges of the 10,000 places.")
    guard_error_rate = models.DecimalField(
        max_digits=5,
        decimal_places=4,
        default=Decimal("0.05"),
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal(1))],
        help_text="Stop when an arm surely fails by more than this much more often than the control.",
    )
    guard_refusal_rate = models.DecimalField(
        max_digits=5,
        decimal_places=4,
        null=True,
        blank=True,
        default=None,
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal(1))],
        help_text="The same for answers that were refused or blocked. Empty: not watched.",
    )
    guard_cost = models.DecimalField(
        max_digits=6,
        decimal_places=4,
        null=True,
        blank=True,
        default=None,
        validators=[MinValueValidator(Decimal(0))],
        help_text="Stop when an arm's calls surely cost more by this share of the control's: 0.5 is half as much again.",
    )
    guard_latency = models.DecimalField(
        max_digits=6,
        decimal_places=4,
        null=True,
        blank=True,
        default=None,
        validators=[MinValueValidator(Decimal(0))],
        help_text="The same for how long its answers take.",
    )
    metric = models.CharField(
        max_length=10, choices=METRICS, default="errors", help_text="What decides which arm is better."
    )
    min_sample = models.PositiveIntegerField(default=100, help_text="No verdict before every arm has so many units.")
    eligible = models.JSONField(
        default=list,
        blank=True,
        validators=[check_eligible],
        help_text='Who takes part, e.g. [{"field": "metadata.plan", "is": "pro"}]; all must hold. Others get the control.',
    )
    shared_at = models.DateTimeField(
        default=timezone.now, editable=False, help_text="Since when the shares are as they are: figures begin here."
    )
    state = models.CharField(max_length=10, choices=STATES, default="running")
    started_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)
    outcome = models.CharField(max_length=300, blank=True, default="")

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint("prompt", "name", name="prompts_experiment_name_once"),
            models.UniqueConstraint(
                "prompt",
                "channel",
                condition=models.Q(state__in=["running", "paused"]),
                name="prompts_experiment_one_on_a_channel",
                violation_error_message="An experiment is open on this channel already.",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Deployment(models.Model):
    """That a channel of a prompt serves a version from now on. Appended, never changed; the highest `seq` is current."""

    ACTIONS = [
        ("promote", "Published"),
        ("rollback", "Rolled back"),
        ("withdraw", "Withdrawn"),
        ("experiment", "Experiment started"),
    ]

    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="deployments")
    channel = models.CharField(max_length=40)
    seq = models.PositiveIntegerField()
    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, null=True, related_name="deployments")
    action = models.CharField(max_length=10, choices=ACTIONS, default="promote")
    experiment = models.ForeignKey(
        Experiment, on_delete=models.PROTECT, null=True, blank=True, related_name="deployments"
    )
    approvals = models.JSONField(default=list, blank=True, help_text="Who had approved the version then.")
    actor = models.CharField(max_length=150, blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="")
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["prompt__name", "channel", "-seq"]
        constraints = [models.UniqueConstraint("prompt", "channel", "seq", name="prompts_deployment_seq_once")]

    def __str__(self) -> str:
        return f"{self.prompt}@{self.channel} is {self.version.number if self.version else 'withdrawn'}"


class Webhook(models.Model):
    """Where a workspace's prompts tell what happens to them: by POST, signed where there is a secret."""

    EVENTS = [
        ("prompt.published", "Published"),
        ("prompt.rolled_back", "Rolled back"),
        ("prompt.withdrawn", "Withdrawn"),
        ("prompt.experiment_started", "Experiment started"),
        ("prompt.review_asked", "Review asked for"),
        ("prompt.reviewed", "Reviewed"),
    ]

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="prompt_webhooks")
    url = models.CharField("URL", max_length=500)
    events = models.JSONField(default=list, blank=True, help_text="Empty: all of them.")
    sealed = models.BinaryField(null=True, editable=False)
    is_enabled = models.BooleanField(default=True)

    objects = ConfigManager()
    history = HistoricalRecords(excluded_fields=["sealed"])

    class Meta:
        verbose_name = "prompt webhook"
        ordering = ["workspace__name", "url"]
        constraints = [
            models.UniqueConstraint(
                "workspace",
                "url",
                name="prompts_webhook_once",
                violation_error_message="The workspace's prompts tell this address already.",
            ),
            models.CheckConstraint(condition=~models.Q(url=""), name="prompts_webhook_has_url"),
        ]

    def __str__(self) -> str:
        return self.url

    @property
    def seal_context(self) -> str:
        """What the secret is bound to."""
        return f"prompts:{self.workspace_id}:{self.url}"


class WebhookMessage(OutboxMessage):
    """One event for one webhook, written in the transaction of what it tells."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    webhook = models.ForeignKey(Webhook, null=True, on_delete=models.SET_NULL, related_name="messages")

    class Meta:
        verbose_name = "sent prompt event"
        ordering = ["-created_at", "-pk"]
        constraints = [models.UniqueConstraint("event_id", "webhook", name="prompts_message_once")]
        indexes = [models.Index(fields=["next_at"], condition=models.Q(state="pending"), name="prompts_message_due")]
