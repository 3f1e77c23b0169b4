"""Telling a workspace's webhooks what happens to its prompts, from an outbox.

The messages are written in the transaction of the deed, so none is lost and none tells what did not happen. They are sent
by the background work (tasks.py), again and again until they are taken; a receiver knows a repetition by its id.
"""

import json
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.utils import timezone

from gateway.core.crypto import Undecryptable
from prompts.models import Deployment, Prompt, PromptVersion, Webhook, WebhookMessage
from tenants.services import outbox
from tenants.services.posting import NotDelivered, post

AT_ONCE = 100
EVENT_OF = {
    "promote": "prompt.published",
    "rollback": "prompt.rolled_back",
    "withdraw": "prompt.withdrawn",
    "experiment": "prompt.experiment_started",
}


def tell(prompt: Prompt, event: str, **told: Any) -> None:
    """Write a message for each webhook that wants this event. Call it in the transaction of the deed."""
    wanted = [
        hook
        for hook in Webhook.objects.filter(workspace_id=prompt.workspace_id, is_enabled=True)
        if not hook.events or event in hook.events
    ]
    if not wanted:
        return
    event_id = uuid4()
    message = {
        "event": event,
        "id": str(event_id),
        "at": f"{timezone.now():%Y-%m-%dT%H:%M:%SZ}",
        "workspace": prompt.workspace.name,
        "prompt": prompt.name,
        **told,
    }
    for hook in wanted:
        WebhookMessage.objects.create(
            workspace_id=prompt.workspace_id,
            webhook=hook,
            event_id=event_id,
            subject=f"{event} {prompt.name}"[:300],
            address=hook.url,
            body=json.dumps(message),
        )


def tell_deployed(deployment: Deployment, before: PromptVersion | None) -> None:
    tell(
        deployment.prompt,
        EVENT_OF[deployment.action],
        channel=deployment.channel,
        seq=deployment.seq,
        before=shown(before),
        after=shown(deployment.version),
        experiment=deployment.experiment.name if deployment.experiment else None,
        actor=deployment.actor,
        reason=deployment.reason,
    )


def shown(version: PromptVersion | None) -> dict[str, Any] | None:
    return None if version is None else {"version": version.number, "digest": version.digest}


def send_test(webhook: Webhook) -> WebhookMessage:
    """Send a message that says it is a test, now; what came of it stands in the message, which is retried too."""
    event_id = uuid4()
    body = {"event": "prompt.test", "id": str(event_id), "workspace": webhook.workspace.name}
    message = WebhookMessage.objects.create(
        workspace_id=webhook.workspace_id,
        webhook=webhook,
        event_id=event_id,
        subject="a test",
        address=webhook.url,
        body=json.dumps(body),
    )
    outbox.attempt(message, send)
    message.refresh_from_db()
    return message


def deliver() -> int:
    """Try what is due; returns how many messages were taken."""
    waiting = outbox.due(WebhookMessage.objects.select_related("webhook"))
    return sum(outbox.attempt(message, send) for message in waiting[:AT_ONCE])


def send(message: WebhookMessage) -> str:
    """Bring the message to its webhook as the webhook is now. Raises NotDelivered."""
    hook = message.webhook
    if hook is None:
        raise NotDelivered("the webhook was deleted")
    if not hook.is_enabled:
        raise NotDelivered("the webhook is switched off")
    try:
        secret = settings.KEYRING.open(bytes(hook.sealed), hook.seal_context) if hook.sealed else b""
    except Undecryptable as error:
        raise NotDelivered(f"the webhook's secret can't be read: {error}") from error
    return post(hook.url, message.body.encode(), secret)
