"""What happens to a workspace's traffic on its way."""

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from gateway.admin.redaction import report_page, try_page
from gateway.models import RedactionPolicy
from gateway.models.policy import DETECTABLE
from tenants.scoped.admin import ScopedHistoryAdmin, access
from tenants.scoped.filters import ScopedRelatedFilter
from tenants.scoped.forms import PickField

KINDS = {"id_number": "national ID", "ip_address": "IP address", "iban": "IBAN", "email": "e-mail"}


class RedactionForm(forms.ModelForm):
    detect = PickField(
        choices=[(kind, KINDS.get(kind, kind.replace("_", " "))) for kind in DETECTABLE],
        required=False,
        help_text="What is looked for in every text, before anything leaves or is stored.",
    )

    class Meta:
        model = RedactionPolicy
        fields = "__all__"


@admin.register(RedactionPolicy)
class RedactionPolicyAdmin(ScopedHistoryAdmin):
    """What a workspace masks before anything leaves or is stored."""

    area = "workspace"
    form = RedactionForm
    list_display = ["workspace", "detected", "action_badge", "on_error"]
    list_filter = [("workspace", ScopedRelatedFilter), ("action", ChoicesDropdownFilter)]
    list_select_related = ["workspace"]
    search_fields = ["workspace__name"]
    autocomplete_fields = ["workspace"]
    next_step = "Texts go to providers as they are. Add a policy to mask personal data of a workspace."
    actions_detail = ["try_text"]
    actions_list = ["report"]
    fieldsets = [
        (None, {"fields": ["workspace", "detect"]}),
        ("What is done", {"fields": [("action", "on_error")]}),
        ("More", {"fields": ["options"], "classes": ["tab"]}),
    ]

    @display(description="Looks for")
    def detected(self, policy: RedactionPolicy) -> str:
        return ", ".join(KINDS.get(kind, kind.replace("_", " ")) for kind in policy.detect) or "nothing"

    @display(description="Action", label={"restore": "success", "mask": "info", "block": "warning"}, ordering="action")
    def action_badge(self, policy: RedactionPolicy) -> tuple[str, str]:
        return policy.action, policy.action

    @action(description="Try a text", icon="experiment", url_path="try")
    def try_text(self, request: HttpRequest, object_id: str) -> HttpResponse:
        policy = self.get_object(request, object_id)
        if policy is None:
            raise Http404
        if not self.has_view_permission(request, policy):
            raise PermissionDenied
        return try_page(request, self, policy)

    @action(description="What was found", permissions=["view"], icon="bar_chart", url_path="report")
    def report(self, request: HttpRequest) -> HttpResponse:
        return report_page(request, self, access(request).workspace_ids("view", self.area))
