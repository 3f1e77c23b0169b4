"""Everything that is recorded besides calls: changes, exports, deletions; and what people keep of their searches."""

import json
import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone


class AuditEvent(models.Model):
    """Something that somebody did. Appended in the transaction of the deed, refused ever after by the database.

    `before`, `after` and `data` are JSON text. The kinds: `create`, `change`, `delete` of configuration;
    `export`, `reveal` of a body, `feedback` of a person,
    `erasure`, `retention.drop`, `hold.place`, `hold.release`, `call.denied` (many
    calls without a valid key, counted), `record.unreadable` (a record that the database refused).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    at = models.DateTimeField("time", default=timezone.now)
    kind = models.CharField(max_length=40)
    workspace_id = models.CharField(max_length=40, blank=True)
    workspace = models.CharField(max_length=80, blank=True)
    actor_id = models.CharField(max_length=40, blank=True)
    actor = models.CharField("who", max_length=200, blank=True)
    origin = models.CharField("from where", max_length=200, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    object_type = models.CharField("what", max_length=80, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    object_name = models.CharField("name", max_length=300, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    before = models.TextField(blank=True)
    after = models.TextField(blank=True)
    data = models.TextField(blank=True)
    keep_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "change"
        ordering = ["-at", "-id"]
        indexes = [
            models.Index("at", name="audit_event_at"),
            models.Index("workspace_id", "at", name="audit_event_workspace"),
            models.Index("object_type", "object_id", "at", name="audit_event_object"),
            models.Index("kind", "at", name="audit_event_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_type} {self.object_name}".strip()

    @property
    def changes(self) -> list[tuple[str, Any, Any]]:
        """(field, before, after) of every field that differs."""
        before = json.loads(self.before) if self.before else {}
        after = json.loads(self.after) if self.after else {}
        names = [*before, *(name for name in after if name not in before)]
        return [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


class LegalHold(models.Model):
    """While it stands, nothing of this workspace is deleted or erased."""

    workspace_id = models.CharField(max_length=40)
    workspace = models.CharField(max_length=80)
    reason = models.CharField(max_length=300)
    placed_by = models.CharField(max_length=200)
    placed_at = models.DateTimeField(default=timezone.now)
    released_by = models.CharField(max_length=200, blank=True)
    released_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-placed_at"]
        constraints = [
            models.UniqueConstraint(
                "workspace_id", condition=models.Q(released_at=None), name="audit_hold_one_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return f"hold on {self.workspace}"


class SavedFilter(models.Model):
    """A search that somebody wants to find again."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_filters")
    name = models.CharField(max_length=80)
    page = models.CharField(max_length=20, default="calls")
    query = models.CharField(max_length=2000)
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint("owner", "page", "name", name="audit_filter_name_once")]

    def __str__(self) -> str:
        return self.name
