"""What is to be told to somebody outside: a row that stays until it was taken. Apps that tell make their own table of it."""

import uuid

from django.db import models
from django.utils import timezone


class OutboxMessage(models.Model):
    """One message to one address, from being due until it was taken or given up.

    `event_id` and `body` are fixed before the first attempt: a receiver that gets a message twice, because whoever
    sent it died before noting so, knows it by its id. `next_at` is also the claim: whoever moves it forward sends.
    """

    class State(models.TextChoices):
        PENDING = "pending", "To be sent"
        SENT = "sent", "Sent"
        GIVEN_UP = "given_up", "Given up"

    event_id = models.UUIDField("id in the message", default=uuid.uuid4, editable=False)
    subject = models.CharField(max_length=300)
    address = models.CharField(max_length=1000)
    body = models.TextField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField("next attempt at", default=timezone.now)
    last_answer = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.subject} to {self.address}"
