"""Suites with their cases, their runs, and the guardrails of a workspace."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from evals.models import Case, Guardrail, Run, Scoring, Suite
from evals.queries import newest_scoring
from evals.reports import scored
from gateway.core.money import dollars
from tenants.scoped.admin import ScopedAdmin, ScopedHistoryAdmin, ScopedTabularInline
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


@admin.register(Run)
class RunAdmin(ScopedAdmin):
    """Suites as they were run, and what the gate said. Begun by `manage.py eval run`."""

    area = "evals"
    list_display = ["suite", "about_what", "verdict_badge", "cases_passed", "cost", "actor", "at", "workspace"]
    list_filter = [("workspace", ScopedRelatedFilter)]
    list_select_related = ["workspace", "version__prompt"]
    search_fields = ["id", "suite", "version__prompt__name"]
    next_step = (
        "No suite was run yet: manage.py eval run --workspace W --suite S asks its cases and judges the answers."
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).prefetch_related("scorings")

    @display(description="Of", ordering="version__prompt__name")
    def about_what(self, run: Run) -> str:
        return run.about

    @display(
        description="Verdict",
        label={
            "passed": "success",
            "inconclusive": "warning",
            "capped": "warning",
            "failed": "danger",
            "broken": "danger",
        },
    )
    def verdict_badge(self, run: Run) -> tuple[str, str]:
        newest = newest_of(run)
        return (newest.verdict, newest.get_verdict_display()) if newest is not None else ("", "Not scored")

    @display(description="Cases pass")
    def cases_passed(self, run: Run) -> str:
        newest = newest_of(run)
        return (
            f"{newest.figures.get('cases_passed', 0)} of {newest.figures.get('cases', 0)}"
            if newest is not None
            else "–"
        )

    @display(description="Cost")
    def cost(self, run: Run) -> str:
        newest = newest_of(run)
        return f"${dollars(newest.figures.get('cost_nanos', 0))}" if newest is not None else "–"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict | None = None
    ) -> HttpResponse:
        """The run's page: its verdict, and each answer with what was found of it."""
        run = self.get_object(request, unquote(object_id))
        if run is None:
            raise Http404
        if not self.has_view_permission(request, run):
            raise PermissionDenied
        scoring = newest_scoring(run)
        found = scored(scoring) if scoring is not None else ((each, []) for each in run.outputs.all())
        outputs = [
            (output, scores, not output.code and all(each.verdict == "pass" for each in scores))
            for output, scores in found
        ]
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": str(run),
            "run": run,
            "scoring": scoring,
            "scorings": run.scorings.count(),
            "outputs": outputs,
        }
        return TemplateResponse(request, "evals/run.html", context)


def newest_of(run: Run) -> Scoring | None:
    """The newest of the scorings that the list has fetched."""
    return max(run.scorings.all(), key=lambda each: each.pk, default=None)
