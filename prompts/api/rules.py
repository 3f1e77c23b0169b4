"""The rules of channels, and where prompts tell what happens to them, over /api/."""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers

from gateway.core.egress import EgressRefused
from prompts.models import Channel, Webhook, WebhookMessage
from tenants.models import Workspace
from tenants.scoped.api import CheckedSerializer, ScopedReadViewSet, ScopedViewSet, WorkspaceField
from tenants.services.posting import check_address


class NamesField(serializers.ListField):
    """Names, each once. Left out: none."""

    def __init__(self, **more: Any) -> None:
        super().__init__(child=serializers.CharField(max_length=150), required=False, max_length=100, **more)


class ChannelSerializer(CheckedSerializer):
    workspace = WorkspaceField()
    required_suites = NamesField(help_text="Suites whose newest run must have passed for the version.")
    publishers = NamesField(help_text="User names. None: everybody whose role lets them publish.")
    reviewers = NamesField(help_text="User names. None: everybody whose role lets them review.")

    class Meta:
        model = Channel
        fields = [
            *("id", "workspace", "name", "is_protected", "required_approvals", "allow_self_approval"),
            *("required_suites", "publishers", "reviewers"),
        ]


@extend_schema(tags=["Prompts"])
class ChannelViewSet(ScopedViewSet):
    """What a version needs before a channel serves it, and who may see to that. A channel without rules needs nothing."""

    area = "workspace"
    queryset = Channel.objects.select_related("workspace")
    serializer_class = ChannelSerializer
    filterset_fields = ["workspace__name", "name", "is_protected"]


class WebhookSerializer(CheckedSerializer):
    workspace = WorkspaceField()
    events = serializers.ListField(
        child=serializers.ChoiceField(choices=Webhook.EVENTS), required=False, help_text="None: all of them."
    )
    secret = serializers.CharField(write_only=True, required=False, max_length=500, help_text="Signs each message.")
    is_signed = serializers.SerializerMethodField()

    class Meta:
        model = Webhook
        fields = ["id", "workspace", "url", "events", "secret", "is_signed", "is_enabled"]

    def get_is_signed(self, webhook: Webhook) -> bool:
        return bool(webhook.sealed)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        self.given_secret = attrs.pop("secret", "")
        if attrs.get("url"):
            try:
                check_address(attrs["url"])
            except EgressRefused as refused:
                raise serializers.ValidationError({"url": str(refused)}) from None
        moved = self.instance is not None and attrs.get("url") not in (None, getattr(self.instance, "url", None))
        if moved and getattr(self.instance, "sealed", None) and not self.given_secret:
            raise serializers.ValidationError({"secret": "The secret belongs to the old address; write it again."})
        return super().validate(attrs)

    def create(self, validated_data: dict[str, Any]) -> Webhook:
        return self._saved(Webhook(), validated_data)

    def update(self, instance: Webhook, validated_data: dict[str, Any]) -> Webhook:
        return self._saved(instance, validated_data)

    def _saved(self, webhook: Webhook, values: dict[str, Any]) -> Webhook:
        for name, value in values.items():
            setattr(webhook, name, value)
        if self.given_secret:
            webhook.sealed = settings.KEYRING.seal(self.given_secret.encode(), webhook.seal_context)
        webhook.save()
        return webhook


@extend_schema(tags=["Prompts"])
class WebhookViewSet(ScopedViewSet):
    """Addresses that are told when a version is published, rolled back or withdrawn, and of reviews."""

    area = "workspace"
    queryset = Webhook.objects.select_related("workspace")
    serializer_class = WebhookSerializer
    filterset_fields = ["workspace__name", "url", "is_enabled"]


class WebhookMessageSerializer(serializers.ModelSerializer[WebhookMessage]):
    workspace: serializers.SlugRelatedField[Workspace] = serializers.SlugRelatedField(slug_field="name", read_only=True)

    class Meta:
        model = WebhookMessage
        fields = [
            *("id", "workspace", "webhook", "event_id", "subject", "address", "body", "state", "attempts"),
            *("next_at", "last_answer", "created_at", "sent_at"),
        ]


@extend_schema(tags=["Prompts"])
class WebhookMessageViewSet(ScopedReadViewSet):
    """What prompts told, to whom, and what came of it."""

    area = "workspace"
    queryset = WebhookMessage.objects.select_related("workspace")
    serializer_class = WebhookMessageSerializer
    filterset_fields = ["workspace__name", "state", "webhook"]
    search_fields = ["subject", "address"]


ROUTES = (
    ("channels", ChannelViewSet),
    ("prompt-webhooks", WebhookViewSet),
    ("sent-prompt-events", WebhookMessageViewSet),
)
