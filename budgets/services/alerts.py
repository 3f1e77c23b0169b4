"""Telling a workspace's channels that a budget fills up: every alert to every channel, through failures and crashes.

A crossing is an Alert row, written in the transaction of the ledger lines that crossed it (thresholds.py). Here it is
spread into one Delivery for each channel, with its message fixed, and each is tried until it is taken. Any number of
workers may do this at once, and any may die anywhere: what was not noted as sent is sent again, under the same id.
"""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from budgets.forecast import runs_out_at
from budgets.models import Alert, AlertChannel, Delivery
from budgets.services.news import tell_after_commit
from budgets.states import subject_names
from gateway.core.crypto import Undecryptable
from gateway.core.money import dollars
from tenants.models import Workspace
from tenants.services import outbox
from tenants.services.posting import NotDelivered, mail, post

AT_ONCE = 100


def deliver_alerts() -> int:
    """Spread what is new and try what is due; returns how many messages were taken."""
    for alert in Alert.objects.filter(spread_at=None).order_by("crossed_at")[:AT_ONCE]:
        spread(alert)
    waiting = outbox.due(Delivery.objects.select_related("channel"))
    return sum(outbox.attempt(delivery, send) for delivery in waiting[:AT_ONCE])


def spread(alert: Alert) -> None:
    """Write one delivery for each of the workspace's channels. Of two who do so at once, one does."""
    with transaction.atomic():
        if not Alert.objects.filter(pk=alert.pk, spread_at=None).update(spread_at=timezone.now()):
            return
        budget = alert.budget
        message = message_of(alert)
        subject = f"{budget.workspace.name}: the budget {budget.name} is at {alert.threshold} %"
        for channel in AlertChannel.objects.filter(workspace=budget.workspace, is_enabled=True):
            Delivery.objects.create(
                workspace=budget.workspace,
                channel=channel,
                alert=alert,
                event_id=alert.pk,
                subject=subject[:300],
                address=address_of(channel),
                body=body_for(channel, message, told_in_words(message)),
            )


def tell(workspace: Workspace, message: dict[str, Any], subject: str, words: str) -> None:
    """Tell all of a workspace's channels something else, in the transaction that is open; it is sent like an alert."""
    event_id = uuid4()
    tell_after_commit()
    for channel in AlertChannel.objects.filter(workspace=workspace, is_enabled=True):
        Delivery.objects.create(
            workspace=workspace,
            channel=channel,
            event_id=event_id,
            subject=subject[:300],
            address=address_of(channel),
            body=body_for(channel, message | {"id": str(event_id)}, words),
        )


def send_test(channel: AlertChannel) -> Delivery:
    """Send a message that says it is a test, now; what came of it stands in the delivery, which is retried too."""
    event_id = uuid4()
    message = {"event": "alert.test", "workspace": channel.workspace.name, "id": str(event_id)}
    words = f"A test of the alerts of {channel.workspace.name}. Nothing is wrong."
    delivery = Delivery.objects.create(
        workspace=channel.workspace,
        channel=channel,
        event_id=event_id,
        subject=f"{channel.workspace.name}: a test of its alerts",
        address=address_of(channel),
        body=body_for(channel, message, words),
    )
    outbox.attempt(delivery, send)
    delivery.refresh_from_db()
    return delivery


def send(delivery: Delivery) -> str:
    """Bring the message to its channel as the channel is now. Raises NotDelivered."""
    channel = delivery.channel
    if channel is None:
        raise NotDelivered("the channel was deleted")
    if not channel.is_enabled and delivery.alert_id is not None:
        raise NotDelivered("the channel is switched off")
    if channel.kind == AlertChannel.Kind.EMAIL:
        return mail(channel.to, delivery.subject, delivery.body, str(delivery.event_id))
    try:
        secret = settings.KEYRING.open(bytes(channel.sealed), channel.seal_context) if channel.sealed else b""
    except Undecryptable as error:
        raise NotDelivered(f"the channel's secret can't be read: {error}") from error
    return post(channel.url, delivery.body.encode(), secret)


def address_of(channel: AlertChannel) -> str:
    return (channel.url or ", ".join(channel.to))[:1000]


def message_of(alert: Alert) -> dict[str, Any]:
    """What a webhook is told. Amounts of a budget of tokens stand in `spent_tokens` and `limit_tokens`."""
    budget = alert.budget
    in_dollars = budget.limit_nanos is not None
    end = runs_out_at(budget, alert.subject, alert.spent, at=alert.crossed_at.timestamp())
    names = subject_names(budget.workspace)
    subject = names.get((budget.of, alert.subject), alert.subject)
    message: dict[str, Any] = {
        "event": "budget.threshold",
        "workspace": budget.workspace.name,
        "budget": budget.name,
        "scope": budget.of if budget.of == "workspace" else f"{budget.of}:{subject}",
        "threshold": alert.threshold,
        "period_start": instant(alert.period_start) if budget.per != "total" else None,
        "spent_usd": dollars(alert.spent) if in_dollars else None,
        "limit_usd": dollars(alert.limit) if in_dollars else None,
        "runs_out_at": instant(end) if end is not None else None,
        "id": str(alert.pk),
    }
    if not in_dollars:
        message |= {"spent_tokens": alert.spent, "limit_tokens": alert.limit}
    return message


def instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def told_in_words(message: dict[str, Any]) -> str:
    """The same for people."""
    if message["spent_usd"] is not None:
        amounts = f"${message['spent_usd']} of ${message['limit_usd']}"
    else:
        amounts = f"{message['spent_tokens']:,} of {message['limit_tokens']:,} tokens"
    lines = [
        f"The budget {message['budget']} of {message['workspace']} ({message['scope']}) passed "
        f"{message['threshold']} %: {amounts} spent."
    ]
    if message["runs_out_at"]:
        lines.append(f"At today's rate it runs out at {message['runs_out_at']}.")
    return "\n".join(lines)


def body_for(channel: AlertChannel, message: dict[str, Any], words: str) -> str:
    """The bytes that this kind of channel gets, as text."""
    match channel.kind:
        case AlertChannel.Kind.EMAIL:
            return words
        case AlertChannel.Kind.SLACK:
            escaped = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            return json.dumps({"text": escaped})
        case _:
            return json.dumps(message)
