"""What was spent: the ledger's lines, their daily sums, and what is held now."""

from django.db import models
from django.utils import timezone
from simple_history.models import HistoricalRecords

from tenants.history import ConfigManager
from tenants.models import Workspace


class Entry(models.Model):
    """One line of the ledger: what one attempt cost, or how an earlier line is corrected. Never changed, never deleted.

    The lines are the truth: every counter is their sum and is made again from them. `at` is the instant of the
    reservation, which decides the period. Ids and names are kept as they were, so that a line outlives what it is
    about. A correction's `attempt` is that of the line it corrects with an ordinal ("+1"; "~7" for the repricing of that
    number), its amounts are differences.
    """

    class Status(models.TextChoices):
        EXACT = "exact", "As reported"
        ESTIMATED = "estimated", "Counted here"
        FLAGGED = "flagged", "Reported, but not credible: counted here"
        ASSUMED_ZERO = "assumed_zero", "Refused by the provider: taken as free"
        IN_DOUBT = "in_doubt", "In doubt: charged in full"
        CORRECTION = "correction", "Correction of an earlier line"
        REPRICED = "repriced", "Priced anew"

    attempt = models.CharField(max_length=80, unique=True)
    at = models.DateTimeField()
    workspace_id = models.CharField(max_length=20)
    team_id = models.CharField(max_length=20, blank=True, default="")
    key_id = models.CharField(max_length=40, blank=True, default="")
    user = models.CharField(max_length=200, blank=True, default="")
    model = models.CharField(max_length=200, blank=True, default="")
    provider = models.CharField(max_length=80, blank=True, default="")
    nanos = models.BigIntegerField()
    tokens = models.BigIntegerField()
    status = models.CharField(max_length=12, choices=Status.choices)
    price = models.CharField(max_length=120, blank=True, default="", help_text="The version of the price.")
    classes = models.JSONField(default=dict, blank=True, help_text="Tokens by class.")
    booked_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "ledger entry"
        verbose_name_plural = "ledger entries"
        ordering = ["-at"]
        indexes = [models.Index(fields=["workspace_id", "at"], name="budgets_entry_when")]

    def __str__(self) -> str:
        return self.attempt


class Total(models.Model):
    """What one subject spent in one local day: the sum of its ledger lines, kept in the transaction that writes them."""

    workspace_id = models.CharField(max_length=20)
    of = models.CharField(max_length=10)
    subject = models.CharField(max_length=200)
    day = models.DateField(help_text="In the workspace's time zone.")
    nanos = models.BigIntegerField(default=0)
    tokens = models.BigIntegerField(default=0)
    doubt_nanos = models.BigIntegerField(default=0)
    doubt_tokens = models.BigIntegerField(default=0)
    attempts = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["-day", "of", "subject"]
        constraints = [
            models.UniqueConstraint("workspace_id", "of", "day", "subject", name="budgets_total_once"),
        ]
        indexes = [  # one subject's days: what the thresholds look at with every batch of records
            models.Index(fields=["workspace_id", "of", "subject", "day"], name="budgets_total_of_subject")
        ]

    def __str__(self) -> str:
        return f"{self.of} {self.subject} on {self.day}"


class Repricing(models.Model):
    """Calls of a time were priced anew: what was asked for, and what came of it. The lines say the rest.

    model   only calls of this model; empty: of every model that has a price
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="repricings")
    model = models.CharField(max_length=200, blank=True, default="")
    since = models.DateTimeField()
    until = models.DateTimeField()
    reason = models.CharField(max_length=300)
    by = models.CharField(max_length=200)
    made_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    lines = models.PositiveBigIntegerField(default=0)
    nanos = models.BigIntegerField("difference in nano-dollars", default=0)

    objects = ConfigManager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["-made_at"]
        constraints = [
            models.CheckConstraint(condition=models.Q(since__lt=models.F("until")), name="budgets_repricing_has_span")
        ]

    def __str__(self) -> str:
        return f"{self.model or 'every model'} from {self.since:%Y-%m-%d}"


class Exposure(models.Model):
    """What one worker holds of one bucket just now, told once a second. Older than the lease it is void."""

    worker = models.CharField(max_length=80)
    bucket = models.CharField(max_length=400)
    held = models.BigIntegerField()
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint("worker", "bucket", name="budgets_exposure_once")]

    def __str__(self) -> str:
        return f"{self.bucket} of {self.worker}"
