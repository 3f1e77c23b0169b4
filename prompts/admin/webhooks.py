"""Where prompts tell what happens to them, and what was told."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from gateway.core.egress import EgressRefused
from prompts.models import Webhook, WebhookMessage
from prompts.services.telling import send_test
from tenants.scoped.admin import ScopedAdmin, ScopedHistoryAdmin, access
from tenants.scoped.filters import ScopedRelatedFilter
from tenants.scoped.forms import PickField, SecretField
from tenants.scoped.pages import confirm_page
from tenants.services.outbox import try_again
from tenants.services.posting import check_address


class WebhookForm(forms.ModelForm):
    events = PickField(choices=Webhook.EVENTS, required=False, help_text="None: all of them.")
    secret = SecretField(help_text="Signs each message. Never shown again; leave empty to keep it.")

    class Meta:
        model = Webhook
        fields = ["workspace", "url", "events", "secret", "is_enabled"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("url"):
            try:
                check_address(cleaned["url"])
            except EgressRefused as refused:
                self.add_error("url", str(refused))
        if self.instance.sealed and not cleaned.get("secret") and "url" in self.changed_data:
            raise ValidationError({"secret": "The secret belongs to the old address; write it again."})
        return cleaned

    def save(self, commit: bool = True) -> Webhook:
        if secret := self.cleaned_data.get("secret"):
            self.instance.sealed = settings.KEYRING.seal(secret.encode(), self.instance.seal_context)
        return super().save(commit)


@admin.register(Webhook)
class WebhookAdmin(ScopedHistoryAdmin):
    """Told when a version is published, rolled back or withdrawn, and of reviews."""

    area = "workspace"
    form = WebhookForm
    list_display = ["url", "workspace", "wants", "is_signed", "is_enabled"]
    list_filter = [("workspace", ScopedRelatedFilter)]
    list_select_related = ["workspace"]
    search_fields = ["url", "workspace__name"]
    autocomplete_fields = ["workspace"]
    next_step = "Nobody is told when a prompt changes. Add an address, and each publishing and review is posted there."
    fieldsets = [(None, {"fields": ["workspace", "url", "events", "secret", "is_enabled"]})]
    actions_detail = ["send_a_test"]
    actions_row = ["send_a_test"]

    @display(description="Tells of")
    def wants(self, webhook: Webhook) -> str:
        names = dict(Webhook.EVENTS)
        return ", ".join(names.get(each, each) for each in webhook.events) or "everything"

    @display(description="Signed", boolean=True)
    def is_signed(self, webhook: Webhook) -> bool:
        return bool(webhook.sealed)

    @action(description="Send a test", permissions=["change"], icon="send", url_path="test")
    def send_a_test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        webhook = self.get_object(request, object_id)
        if webhook is None:
            raise Http404
        if not self.has_change_permission(request, webhook):
            raise PermissionDenied
        if request.method != "POST":
            lines = ["Sends a message that says it is a test, signed as the others are."]
            return confirm_page(request, self, webhook, title=f"Test {webhook}", button="Send now", explanation=lines)
        told = send_test(webhook)
        if told.state == WebhookMessage.State.SENT:
            self.message_user(request, f"Taken: {told.last_answer}.", messages.SUCCESS)
        else:
            self.message_user(request, f"Not taken: {told.last_answer}. It is tried again.", messages.ERROR)
        return redirect("admin:prompts_webhook_change", webhook.pk)


@admin.register(WebhookMessage)
class WebhookMessageAdmin(ScopedAdmin):
    """What prompts told, to whom, and what came of it."""

    area = "workspace"
    list_display = ["subject", "address", "state_badge", "attempts", "last_answer", "created_at", "sent_at"]
    list_filter = [("workspace", ScopedRelatedFilter), ("state", ChoicesDropdownFilter)]
    list_select_related = ["workspace"]
    search_fields = ["subject", "address", "body"]
    date_hierarchy = "created_at"
    next_step = "Nothing was told yet: a message is written when a prompt is published or reviewed."
    actions = ["send_again"]
    fields = readonly_fields = [
        *("subject", "workspace", "address", "state", "body", "attempts", "last_answer", "created_at", "next_at"),
        *("sent_at", "event_id"),
    ]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="State", label={"sent": "success", "pending": "info", "given_up": "danger"}, ordering="state")
    def state_badge(self, message: WebhookMessage) -> tuple[str, str]:
        return message.state, message.get_state_display()

    @admin.action(description="Send again what was given up", permissions=["change"])
    def send_again(self, request: HttpRequest, rows: Any) -> None:
        count = try_again(self.limited(rows, access(request).workspace_ids("change", self.area)))
        self.message_user(request, f"{count} will be sent again within seconds.", messages.SUCCESS)
