"""Sums over calls, so that a picture of a month need not read every call of it. Made from the records, any time again."""

from django.db import models


class Traffic(models.Model):
    """What calls alike in all these names did in one hour or one day, UTC.

    `first_model` is the model that was asked first where another one answered. `times` and `first_tokens` are of
    answered calls: msgpack of {microseconds, rounded to 1 %: calls}.
    """

    span = models.CharField(max_length=1)  # h or d
    at = models.DateTimeField()
    workspace_id = models.CharField(max_length=40, blank=True)
    workspace = models.CharField(max_length=80, blank=True)
    key = models.CharField(max_length=80, blank=True)
    model = models.CharField(max_length=200, blank=True)
    provider = models.CharField(max_length=80, blank=True)
    route = models.CharField(max_length=200, blank=True)
    outcome = models.CharField(max_length=12)
    code = models.CharField(max_length=80, blank=True)
    cache = models.CharField(max_length=12, blank=True)
    first_model = models.CharField(max_length=200, blank=True)
    calls = models.BigIntegerField()
    cost_nanos = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    redacted = models.BigIntegerField()
    times = models.BinaryField(null=True)
    first_tokens = models.BinaryField(null=True)

    class Meta:
        indexes = [
            models.Index("span", "at", name="audit_traffic_at"),
            models.Index("workspace_id", "span", "at", name="audit_traffic_workspace"),
        ]

    def __str__(self) -> str:
        return f"{self.workspace} {self.model} {self.at}: {self.calls}"


class TrafficOfUser(models.Model):
    """What one end user's calls came to on one day, UTC; by pseudonym, as in the records."""

    at = models.DateTimeField()
    workspace_id = models.CharField(max_length=40)
    workspace = models.CharField(max_length=80)
    subject = models.CharField(max_length=32)
    calls = models.BigIntegerField()
    cost_nanos = models.BigIntegerField()

    class Meta:
        indexes = [
            models.Index("at", name="audit_traffic_user_at"),
            models.Index("workspace_id", "at", name="audit_traffic_user_workspace"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} {self.at}: {self.calls}"


class RolledUp(models.Model):
    """Up to when calls are summed up; one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    hours = models.DateTimeField()
    days = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.hours}"


class LateHour(models.Model):
    """An hour whose records changed after it was summed up, or may have: it is summed up once more."""

    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.at}"
