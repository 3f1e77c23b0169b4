"""What can be erased: bodies, the keys that open them, and the names behind pseudonyms."""

from django.db import models
from django.utils import timezone


class CallBody(models.Model):
    """A request or an answer as it stood after redaction, encrypted. Its commitment stands in the call's record."""

    class Kind(models.TextChoices):
        REQUEST = "request", "Request"
        ANSWER = "answer", "Answer"

    call_id = models.CharField(max_length=64)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    at = models.DateTimeField()
    workspace_id = models.CharField(max_length=40)
    key_id = models.CharField(max_length=32, db_index=True)
    nonce = models.BinaryField()
    ciphertext = models.BinaryField()
    size_bytes = models.BigIntegerField()
    keep_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "call bodies"
        constraints = [models.UniqueConstraint("call_id", "kind", name="audit_body_once")]
        indexes = [
            models.Index("workspace_id", "at", name="audit_body_workspace"),
            models.Index("keep_until", name="audit_body_keep_until"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.call_id}"


class BodyKey(models.Model):
    """The key of one person's bodies on one day, wrapped by ENCRYPTION_KEYS. Destroyed, it opens nothing any more.

    A destroyed key keeps its row, empty, so that a copy of it that is still under way can't come back.
    """

    id = models.CharField(primary_key=True, max_length=32)
    workspace_id = models.CharField(max_length=40)
    subject = models.CharField(max_length=32, blank=True)
    day = models.CharField(max_length=10)
    wrapped = models.BinaryField()
    destroyed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index("workspace_id", "subject", name="audit_body_key_subject")]

    def __str__(self) -> str:
        return self.id


class Subject(models.Model):
    """The end user behind a pseudonym. Deleting the row makes the pseudonym say nothing.

    `erased_at` stays behind when the person was erased, without the name, so that what was under way is erased too.
    """

    workspace_id = models.CharField(max_length=40)
    token = models.CharField(max_length=32)
    name = models.CharField(max_length=500, blank=True)
    first_seen = models.DateTimeField(default=timezone.now)
    erased_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint("workspace_id", "token", name="audit_subject_once")]
        indexes = [models.Index("workspace_id", "name", name="audit_subject_name")]

    def __str__(self) -> str:
        return self.name or self.token
