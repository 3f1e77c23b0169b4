"""Suites with their cases, and the guardrails of a workspace."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from evals.models import Case, Guardrail, Suite
from tenants.scoped.admin import ScopedHistoryAdmin, ScopedTabularInline
from tenants.scoped.filters import ScopedRelatedFilter
from tenants.scoped.forms import LinesField


class CaseForm(forms.ModelForm):
    tags = LinesField(help_text="One a line.")

    class Meta:
        model = Case
        fields = "__all__"


class CaseInline(ScopedTabularInline):
    model = Case
    form = CaseForm
    fields = ["position", "name", "inputs", "assertions", "tags"]
    ordering_field = "position"
    hide_ordering_field = True
    tab = True


@admin.register(Suite)
class SuiteAdmin(ScopedHistoryAdmin):
    """Sets of cases that a prompt or a route must pass."""

    area = "evals"
    ordering = ["workspace__name", "name"]  # a list with counts does not take the model's
    list_display = ["name", "workspace", "about", "case_count", "gate_in_words"]
    list_filter = [("workspace", ScopedRelatedFilter)]
    list_select_related = ["workspace"]
    search_fields = ["name", "prompt", "route", "workspace__name"]
    autocomplete_fields = ["workspace"]
    inlines = [CaseInline]
    next_step = "A suite asks a prompt or a route its cases and says whether the answers are good enough."
    fieldsets = [(None, {"fields": ["workspace", "name", ("prompt", "route"), "gate"]})]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).annotate(_cases=Count("cases"))

    @display(description="About")
    def about(self, suite: Suite) -> str:
        return f"prompt {suite.prompt}" if suite.prompt else f"route {suite.route}" if suite.route else "–"

    @display(description="Cases", ordering="_cases")
    def case_count(self, suite: Suite) -> int:
        return suite._cases

    @display(description="Passes when")
    def gate_in_words(self, suite: Suite) -> str:
        share = suite.gate.get("min_pass_rate") if isinstance(suite.gate, dict) else None
        return f"{float(share):.0%} of the assertions hold" if share is not None else "every assertion holds"


class GuardrailForm(forms.ModelForm):
    words = LinesField(label="Words", help_text="For blocked words and topics, one a line.")

    class Meta:
        model = Guardrail
        fields = "__all__"

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("kind") == Guardrail.Kind.BLOCKED_WORDS and not cleaned.get("words"):
            self.add_error("words", "Write at least one word.")
        return cleaned


@admin.register(Guardrail)
class GuardrailAdmin(ScopedHistoryAdmin):
    """Checks on what goes in and what comes out."""

    area = "workspace"
    form = GuardrailForm
    list_display = ["kind_name", "workspace", "action_badge", "threshold", "words_in_short", "position"]
    list_filter = [
        ("workspace", ScopedRelatedFilter),
        ("kind", ChoicesDropdownFilter),
        ("action", ChoicesDropdownFilter),
    ]
    list_select_related = ["workspace"]
    search_fields = ["kind", "workspace__name"]
    autocomplete_fields = ["workspace"]
    next_step = "Nothing is checked. Begin with secrets, which keeps API keys out of prompts."
    fieldsets = [
        (None, {"fields": ["workspace", ("kind", "action"), ("threshold", "position"), "words"]}),
        ("More", {"fields": ["options"], "classes": ["tab"]}),
    ]
    conditional_fields = {
        "threshold": "kind == 'prompt_injection' || kind == 'topics'",
        "words": "kind == 'blocked_words' || kind == 'topics'",
    }

    @display(description="Guardrail", ordering="kind")
    def kind_name(self, guardrail: Guardrail) -> str:
        return guardrail.get_kind_display()

    @display(description="Action", label={"flag": "info", "block": "warning"}, ordering="action")
    def action_badge(self, guardrail: Guardrail) -> tuple[str, str]:
        return guardrail.action, guardrail.action

    @display(description="Words")
    def words_in_short(self, guardrail: Guardrail) -> str:
        return ", ".join(str(word) for word in guardrail.words[:5]) or "–"
