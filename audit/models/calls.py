"""The record of each call, and what people thought of its answer."""

import json
import uuid
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from gateway.core.money import dollars


class CallRecord(models.Model):
    """One call, however it ended. Written once by the journal's writer, refused ever after by the database.

    Money in nano-dollars, durations in microseconds. `subject` is the pseudonym of the caller's end user; the
    name behind it stands in Subject, which can be erased. `rest` is JSON text: attempts, rarer token classes,
    metadata, the routing decision, guardrails' findings, commitments to the bodies. `worker` and `seq` count what
    each worker wrote in this workspace, so that a removal leaves a hole. What most calls do not have (end user,
    prompt, session, run, tags) is NULL there, so that its index holds only the calls that do.
    """

    id = models.CharField("call id", primary_key=True, max_length=64)
    at = models.DateTimeField("time")
    workspace_id = models.CharField(max_length=40, blank=True)
    workspace = models.CharField(max_length=80, blank=True)
    team_id = models.CharField(max_length=40, blank=True)
    team = models.CharField(max_length=80, blank=True)
    key_id = models.CharField(max_length=40, blank=True)
    key = models.CharField(max_length=80, blank=True)
    subject = models.CharField(max_length=32, null=True)
    form = models.CharField(max_length=20, blank=True)
    route = models.CharField(max_length=200, blank=True)
    asked = models.CharField(max_length=200, blank=True)
    model = models.CharField(max_length=200, blank=True)
    provider = models.CharField(max_length=80, blank=True)
    prompt = models.CharField(max_length=200, null=True)
    experiment = models.CharField(max_length=200, blank=True)
    status = models.PositiveSmallIntegerField()
    outcome = models.CharField(max_length=12)
    code = models.CharField(max_length=80, blank=True)
    streamed = models.BooleanField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    cost_nanos = models.BigIntegerField()
    cache = models.CharField(max_length=12, blank=True)
    ttft_us = models.BigIntegerField(null=True)
    total_us = models.BigIntegerField()
    redacted = models.PositiveIntegerField()
    session_id = models.CharField(max_length=200, null=True)
    run_id = models.CharField(max_length=200, null=True)
    tags = models.TextField(null=True)
    peer = models.CharField(max_length=64, blank=True)
    worker = models.CharField(max_length=120)
    seq = models.BigIntegerField()
    keep_until = models.DateTimeField(null=True)
    rest = models.TextField()

    class Meta:
        verbose_name = "call"
        ordering = ["-at", "-id"]
        indexes = [
            models.Index("at", name="audit_call_at"),
            models.Index("workspace_id", "at", name="audit_call_workspace"),
            models.Index("workspace_id", "key", "at", name="audit_call_key"),
            models.Index("workspace_id", "model", "at", name="audit_call_model"),
            models.Index("outcome", "at", name="audit_call_outcome"),
            *(
                models.Index(
                    column, "at", name=f"audit_call_{name}", condition=models.Q(**{f"{column}__isnull": False})
                )
                for column, name in (
                    ("subject", "subject"),
                    ("prompt", "prompt"),
                    ("session_id", "session"),
                    ("run_id", "run"),
                )
            ),
            models.Index("at", name="audit_call_tagged", condition=models.Q(tags__isnull=False)),
            models.Index("at", name="audit_call_redacted", condition=models.Q(redacted__gt=0)),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def details(self) -> dict[str, Any]:
        """What `rest` holds, as a dictionary."""
        found: dict[str, Any] = json.loads(self.rest)
        return found

    @property
    def tag_list(self) -> list[str]:
        found: list[str] = json.loads(self.tags) if self.tags else []
        return found

    @property
    def cost_usd(self) -> str:
        return dollars(self.cost_nanos)

    @property
    def total_ms(self) -> float:
        return self.total_us / 1000

    @property
    def ttft_ms(self) -> float | None:
        return None if self.ttft_us is None else self.ttft_us / 1000


class Feedback(models.Model):
    """What somebody thought of an answer: through /v1/feedback, or here."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    at = models.DateTimeField("time", default=timezone.now, editable=False)
    call_id = models.CharField(max_length=64, db_index=True)
    workspace_id = models.CharField(max_length=40)
    workspace = models.CharField(max_length=80)
    by = models.CharField(max_length=200, blank=True, help_text="The key or the person that gave it.")
    score = models.FloatField(null=True, blank=True, validators=[MinValueValidator(-1.0), MaxValueValidator(1.0)])
    label = models.CharField(max_length=80, blank=True)
    comment = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "feedback"
        ordering = ["-at"]
        indexes = [models.Index("workspace_id", "at", name="audit_feedback_workspace")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(score=None) | models.Q(score__gte=-1.0, score__lte=1.0),
                name="audit_feedback_score_in_range",
            )
        ]

    def __str__(self) -> str:
        return f"{self.label or self.score} on {self.call_id}"


class JournalPosition(models.Model):
    """How much of a journal's segment is in this database; changed in the same transaction as the records."""

    segment = models.CharField(primary_key=True, max_length=200)
    position = models.BigIntegerField()
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.segment}: {self.position}"
