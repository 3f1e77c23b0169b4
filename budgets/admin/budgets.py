"""Budgets' pages."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from budgets.admin.statements import statements_page
from budgets.admin.usage import budget_page, fullness_page, spenders_page
from budgets.models import Budget
from gateway.core.money import dollars
from tenants.queries import workspaces_for
from tenants.scoped.admin import ScopedHistoryAdmin
from tenants.scoped.filters import ScopedRelatedFilter
from tenants.scoped.forms import DollarsField, PercentsField


class BudgetForm(forms.ModelForm):
    limit_nanos = DollarsField(
        label="Limit in dollars", required=False, help_text="Or a limit in tokens: one of the two."
    )
    alert_at = PercentsField(
        label="Alert at (%)", help_text="When the workspace's alert channels are told. Empty: never."
    )

    class Meta:
        model = Budget
        fields = "__all__"

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("of") in (Budget.Of.CALL, Budget.Of.WORKSPACE):
            cleaned["match"] = ""
        return cleaned


@admin.register(Budget)
class BudgetAdmin(ScopedHistoryAdmin):
    """Caps on spend. All budgets that match a call must allow it."""

    area = "money"
    form = BudgetForm
    list_display = ["name", "workspace", "subject", "limit", "mode_badge", "alerts"]
    list_filter = [("workspace", ScopedRelatedFilter), ("of", ChoicesDropdownFilter), ("mode", ChoicesDropdownFilter)]
    list_select_related = ["workspace"]
    search_fields = ["name", "match", "workspace__name"]
    autocomplete_fields = ["workspace"]
    next_step = "Spending is not limited. A monthly budget of the workspace is the one to begin with."
    fieldsets = [
        (None, {"fields": ["workspace", "name", ("of", "match")]}),
        ("How much", {"fields": [("limit_nanos", "limit_tokens"), "per"]}),
        ("When it is reached", {"fields": [("mode", "afford"), "alert_at"]}),
    ]
    actions_list = ["fullness", "spenders", "statements"]
    actions_detail = ["usage"]
    actions_row = ["usage"]
    conditional_fields = {"match": "of != 'workspace' && of != 'call'", "per": "of != 'call'"}

    @display(description="For", ordering="of")
    def subject(self, budget: Budget) -> str:
        kind = budget.get_of_display()
        kind = kind if kind.startswith("API") else kind.lower()
        if budget.of == Budget.Of.WORKSPACE:
            return "the workspace"
        return f"{kind} {budget.match}" if budget.match else f"each {kind}"

    @display(description="Limit", header=True, ordering="limit_nanos")
    def limit(self, budget: Budget) -> list[str]:
        amount = f"{budget.limit_tokens:,} tokens" if budget.limit_nanos is None else f"${dollars(budget.limit_nanos)}"
        if budget.of == Budget.Of.CALL:
            return [amount, "a call"]
        return [amount, "in total" if budget.per == Budget.Per.TOTAL else f"a {budget.per}"]

    @display(description="Mode", label={"hard": "primary", "soft": "info"}, ordering="mode")
    def mode_badge(self, budget: Budget) -> tuple[str, str]:
        return budget.mode, budget.mode

    @display(description="Alerts at")
    def alerts(self, budget: Budget) -> str:
        return ", ".join(f"{part} %" for part in budget.alert_at) or "never"

    @action(description="How full they are", permissions=["view"], icon="donut_large", url_path="fullness")
    def fullness(self, request: HttpRequest) -> HttpResponse:
        return fullness_page(request, self, workspaces_for(request.user, "view", self.area))

    @action(description="Who spends", permissions=["view"], icon="leaderboard", url_path="spenders")
    def spenders(self, request: HttpRequest) -> HttpResponse:
        return spenders_page(request, self, workspaces_for(request.user, "view", self.area))

    @action(description="Statements", permissions=["view"], icon="receipt", url_path="statements")
    def statements(self, request: HttpRequest) -> HttpResponse:
        return statements_page(request, self, workspaces_for(request.user, "view", self.area))

    @action(description="Usage", icon="donut_large", url_path="usage")
    def usage(self, request: HttpRequest, object_id: str) -> HttpResponse:
        budget = self.get_object(request, object_id)
        if budget is None:
            raise Http404
        if not self.has_view_permission(request, budget):
            raise PermissionDenied
        return budget_page(request, self, budget)
