"""Trying a text on a redaction policy, and what redaction found."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminTextareaWidget

from evals.guardrails.checks import INJECTION_THRESHOLD
from evals.guardrails.hidden import hidden_text, spoofed_roles
from evals.guardrails.injection import injection_score
from gateway.compiler import redaction_view
from gateway.models import RedactionPolicy
from gateway.queries import redaction_found
from gateway.redaction.engines import EngineMissing
from gateway.redaction.finder import finder
from gateway.redaction.masking import DetectorFailed, Masker
from gateway.redaction.stage import rules
from gateway.redaction.vault import Vault

REPORT_DAYS = (7, 30, 90)


class TextForm(forms.Form):
    text = forms.CharField(
        max_length=20_000,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 8}),
        help_text="It stays on this page: nothing of it is stored, logged or sent anywhere.",
    )


def try_page(request: HttpRequest, page: Any, policy: RedactionPolicy) -> HttpResponse:
    """A text as this policy would let it out."""
    form = TextForm(request.POST or None)
    context: dict[str, Any] = {
        **page.admin_site.each_context(request),
        "opts": page.model._meta,
        "title": f"Try a text: {policy}",
        "form": form,
        "policy": policy,
        "threshold": INJECTION_THRESHOLD,
    }
    if request.method == "POST" and form.is_valid():
        context |= tried(policy, form.cleaned_data["text"])
    return TemplateResponse(request, "redaction/try.html", context)


def tried(policy: RedactionPolicy, text: str) -> dict[str, Any]:
    """What the page shows of a text: how it would go out, what was found by kind, and how guardrails see it."""
    view = redaction_view(policy)
    vault = Vault(gives_back=False)
    seen: dict[str, Any] = {
        "score": injection_score(text),
        "hidden": len(list(hidden_text(text))),
        "roles": len(list(spoofed_roles(text))),
    }
    try:
        masker = Masker(finder(rules(view, view.detect)), vault, on_error="block", pepper=b"")
        seen["masked"] = masker.visit(text, "text")
    except (DetectorFailed, EngineMissing) as error:
        return seen | {"trouble": str(error) or "A detector failed."}
    return seen | {"found": sorted(vault.found.items()), "is_blocked": view.action == "block" and bool(vault.found)}


def report_page(request: HttpRequest, page: Any, workspace_ids: Iterable[Any] | None) -> HttpResponse:
    """What redaction found by day and kind, in the workspaces that this person sees."""
    asked = request.GET.get("days", "")
    days = int(asked) if asked.isdecimal() and int(asked) in REPORT_DAYS else REPORT_DAYS[0]
    ids = None if workspace_ids is None else [str(each) for each in workspace_ids]
    found = redaction_found(workspace_ids=ids, since=datetime.now(UTC) - timedelta(days=days))
    context = {
        **page.admin_site.each_context(request),
        "opts": page.model._meta,
        "title": "What redaction found",
        "found": found,
        "rows": [(day, [found.by_day[day].get(kind, 0) for kind in found.kinds]) for day in found.days],
        "days": days,
        "choices": REPORT_DAYS,
    }
    return TemplateResponse(request, "redaction/report.html", context)
