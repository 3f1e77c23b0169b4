"""Seals: what makes any later change of a record visible."""

from django.db import models
from django.utils import timezone


class PendingLeaves(models.Model):
    """Leaves that wait for the next seal; written in the transaction of their records, deleted by the sealer."""

    workspace_id = models.CharField(max_length=40)
    at = models.DateTimeField(default=timezone.now)
    leaves = models.BinaryField()

    class Meta:
        indexes = [models.Index("workspace_id", "id", name="audit_pending_workspace")]

    def __str__(self) -> str:
        return f"{self.workspace_id}: {self.pk}"


class Seal(models.Model):
    """A signed Merkle root over some records of one workspace, chained to the seal before it.

    `leaves` holds (kind, id, digest) of each record in order and stays when the records go, so that older and newer
    parts of the chain verify.
    """

    workspace_id = models.CharField(max_length=40)
    n = models.BigIntegerField()
    first_seq = models.BigIntegerField()
    count = models.PositiveIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    sealed_at = models.DateTimeField()
    root = models.CharField(max_length=64)
    previous = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)
    key_id = models.CharField(max_length=32)
    signature = models.CharField(max_length=128)
    leaves = models.BinaryField()

    class Meta:
        ordering = ["workspace_id", "n"]
        constraints = [models.UniqueConstraint("workspace_id", "n", name="audit_seal_once")]
        indexes = [models.Index("workspace_id", "last_at", name="audit_seal_last_at")]

    def __str__(self) -> str:
        return f"seal {self.n} of {self.workspace_id or 'the installation'}"


class SealKey(models.Model):
    """An Ed25519 key that signs seals; its private half is wrapped by ENCRYPTION_KEYS."""

    id = models.CharField(primary_key=True, max_length=32)
    public = models.CharField(max_length=64)
    wrapped = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.id
