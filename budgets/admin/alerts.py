"""Where a workspace is told, and what it was told."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from budgets.models import AlertChannel, Delivery
from budgets.services.alerts import send_test
from gateway.core.egress import EgressRefused
from tenants.scoped.admin import ScopedAdmin, ScopedHistoryAdmin, access
from tenants.scoped.filters import ScopedRelatedFilter
from tenants.scoped.forms import LinesField, SecretField
from tenants.scoped.pages import confirm_page
from tenants.services.outbox import try_again
from tenants.services.posting import check_address


class ChannelForm(forms.ModelForm):
    to = LinesField(label="E-mail addresses", help_text="One a line; for e-mail only.")
    secret = SecretField(help_text="Signs each message. Never shown again; leave empty to keep it.")

    class Meta:
        model = AlertChannel
        fields = ["workspace", "kind", "url", "to", "secret", "is_enabled"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("kind") == AlertChannel.Kind.EMAIL:
            cleaned["url"] = ""
            if not cleaned.get("to"):
                self.add_error("to", "Write at least one address.")
        elif cleaned.get("url"):
            try:
                check_address(cleaned["url"])
            except EgressRefused as refused:
                self.add_error("url", str(refused))
        if self.instance.sealed and not cleaned.get("secret") and {"kind", "url"} & set(self.changed_data):
            raise ValidationError({"secret": "The secret belongs to the old address; write it again."})
        return cleaned

    def save(self, commit: bool = True) -> AlertChannel:
        if secret := self.cleaned_data.get("secret"):
            self.instance.sealed = settings.KEYRING.seal(secret.encode(), self.instance.seal_context)
        return super().save(commit)


@admin.register(AlertChannel)
class AlertChannelAdmin(ScopedHistoryAdmin):
    """Where a workspace is told that a budget fills up."""

    area = "money"
    form = ChannelForm
    list_display = ["address", "workspace", "kind_badge", "is_signed", "is_on"]
    list_filter = [("workspace", ScopedRelatedFilter), ("kind", ChoicesDropdownFilter)]
    list_select_related = ["workspace"]
    search_fields = ["url", "workspace__name"]
    autocomplete_fields = ["workspace"]
    next_step = "Nobody is told when a budget fills up. Add an address for the workspace."
    fieldsets = [(None, {"fields": ["workspace", "kind", "url", "to", "secret", "is_enabled"]})]
    actions_detail = ["send_a_test"]
    actions_row = ["send_a_test"]
    conditional_fields = {"url": "kind != 'email'", "secret": "kind != 'email'", "to": "kind == 'email'"}

    @display(description="Address", ordering="url")
    def address(self, channel: AlertChannel) -> str:
        return channel.url or ", ".join(channel.to)

    @display(description="Kind", label=True, ordering="kind")
    def kind_badge(self, channel: AlertChannel) -> str:
        return channel.get_kind_display()

    @display(description="Signed", boolean=True)
    def is_signed(self, channel: AlertChannel) -> bool:
        return bool(channel.sealed)

    @display(description="On", boolean=True, ordering="is_enabled")
    def is_on(self, channel: AlertChannel) -> bool:
        return channel.is_enabled

    @action(description="Send a test", permissions=["change"], icon="send", url_path="test")
    def send_a_test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        channel = self.get_object(request, object_id)
        if channel is None:
            raise Http404
        if not self.has_change_permission(request, channel):
            raise PermissionDenied
        if request.method != "POST":
            lines = ["Sends a message that says it is a test, signed as an alert is."]
            return confirm_page(request, self, channel, title=f"Test {channel}", button="Send now", explanation=lines)
        delivery = send_test(channel)
        if delivery.state == Delivery.State.SENT:
            self.message_user(request, f"Taken: {delivery.last_answer}.", messages.SUCCESS)
        else:
            self.message_user(request, f"Not taken: {delivery.last_answer}. It is tried again.", messages.ERROR)
        return redirect("admin:budgets_alertchannel_change", channel.pk)


@admin.register(Delivery)
class DeliveryAdmin(ScopedAdmin):
    """What was sent, to whom, and what came of it."""

    area = "money"
    list_display = ["subject", "address", "state_badge", "attempts", "last_answer", "created_at", "sent_at"]
    list_filter = [("workspace", ScopedRelatedFilter), ("state", ChoicesDropdownFilter)]
    list_select_related = ["workspace"]
    search_fields = ["subject", "address", "body"]
    date_hierarchy = "created_at"
    next_step = "Nothing was sent yet: an alert is, when a budget passes one of its thresholds."
    actions = ["send_again"]
    fields = [
        ("subject", "workspace"),
        ("address", "state"),
        "body",
        ("attempts", "last_answer"),
        ("created_at", "next_at", "sent_at"),
        "event_id",
    ]
    readonly_fields = [
        *("subject", "workspace", "address", "state", "body", "attempts", "last_answer", "created_at", "next_at"),
        *("sent_at", "event_id"),
    ]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="State", label={"sent": "success", "pending": "info", "given_up": "danger"}, ordering="state")
    def state_badge(self, delivery: Delivery) -> tuple[str, str]:
        return delivery.state, delivery.get_state_display()

    @admin.action(description="Send again what was given up", permissions=["change"])
    def send_again(self, request: HttpRequest, rows: Any) -> None:
        ids = access(request).workspace_ids("change", self.area)
        count = try_again(self.limited(rows, ids))
        self.message_user(request, f"{count} will be sent again within seconds.", messages.SUCCESS)
