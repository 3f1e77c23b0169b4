"""The page to which a refusal leads: what the budget has, and a form to ask for more of it.

Open to whoever holds the link, without an account: a key's user has none. The link names the budget and the subject and
can't be made by anybody else; all that it can do is to ask.
"""

import json
from time import time
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from unfold.widgets import UnfoldAdminTextareaWidget

from budgets.admin.raises import amount_field
from budgets.admin.usage import shown as shown_state
from budgets.asking import Asked, Asking
from budgets.models import Budget, Raise
from budgets.periods import period, utc
from budgets.services import raises
from budgets.states import subject_state
from gateway.core.money import nanos
from tenants.queries import access_of

GONE = "This link is too old, or not whole. Call again: the refusal has a fresh one."
BODY_MOST = 10_000


def asking() -> Asking:
    """As the running gateway makes its links."""
    return Asking(settings.PUBLIC_URL, settings.SECRET_KEY)


class AskForm(forms.Form):
    """How much more, and why."""

    def __init__(self, data: Any, *, budget: Budget) -> None:
        super().__init__(data)
        self.fields["amount"] = amount_field(budget, required=False, help_text="Empty: as much as you think right.")
        self.fields["reason"] = forms.CharField(
            label="What for", max_length=1000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4})
        )


@never_cache
@csrf_exempt  # the link itself is the right to ask, no session is
def ask_page(request: HttpRequest, token: str) -> HttpResponse:
    """GET shows, POST asks; a POST of JSON {"amount_usd" or "amount_tokens", "reason"} is answered with JSON."""
    wants_json = request.content_type == "application/json"
    asked = asking().read(token)
    budget = raises.budget_asked(asked) if asked is not None else None
    if asked is None or budget is None:
        return JsonResponse({"error": GONE}, status=404) if wants_json else gone(request)
    if wants_json:
        return answer_json(request, asked, budget)
    form = AskForm(request.POST or None, budget=budget)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            row = wish(asked, budget, given["amount"] or None, given["reason"])
        except ValidationError as error:
            for line in error.messages:
                form.add_error(None, line)
        else:
            if access_of(request.user).may("change", "money", budget.workspace_id):
                return redirect("admin:budgets_raise_change", row.pk)
            return redirect(request.path)
    return shown(request, asked, budget, form)


def wish(asked: Asked, budget: Budget, amount: int | None, reason: str) -> Raise:
    return raises.ask(budget=budget, subject=asked.subject, asked_by=asked.who, amount=amount, reason=reason)


def answer_json(request: HttpRequest, asked: Asked, budget: Budget) -> HttpResponse:
    """The same for programs."""
    if request.method != "POST":
        return JsonResponse({"error": "Ask with POST."}, status=405, headers={"allow": "POST"})
    try:
        given = json.loads(request.body[:BODY_MOST] or b"{}")
        if not isinstance(given, dict):
            raise ValueError("the body is not a JSON object")
        row = wish(asked, budget, amount_in(given, budget), str(given.get("reason", "")))
    except ValidationError as error:
        return JsonResponse({"error": " ".join(error.messages)}, status=400)
    except ValueError as error:
        return JsonResponse({"error": f"This can't be read: {error}"}, status=400)
    return JsonResponse({"id": row.pk, "state": row.state, "budget": budget.name}, status=201)


def amount_in(given: dict[str, Any], budget: Budget) -> int | None:
    """The amount asked for, in the budget's unit. Raises ValueError."""
    name = "amount_usd" if budget.limit_nanos is not None else "amount_tokens"
    amount = given.get(name)
    if amount is None:
        return None
    if name == "amount_usd":
        return nanos(str(amount))
    if type(amount) is not int:
        raise ValueError("amount_tokens is a whole number")
    return amount


def shown(request: HttpRequest, asked: Asked, budget: Budget, form: AskForm) -> HttpResponse:
    span = period(budget.workspace.timezone, budget.per, time())
    newest = Raise.objects.filter(budget=budget, subject=asked.subject).order_by("-asked_at").first()
    context = {
        **admin.site.each_context(request),
        "title": "Ask for more",
        "budget": budget,
        "who": asked.who,
        "state": shown_state(subject_state(budget, asked.subject)),
        "resets_at": None if budget.per == Budget.Per.TOTAL else utc(span.end),
        "form": form,
        "newest": newest,
        "is_running": newest is not None and newest.is_running(timezone.now()),
        "granted_text": newest.in_words(newest.amount) if newest is not None else "",
    }
    return TemplateResponse(request, "budgets/ask.html", context, status=400 if form.errors else 200)


def gone(request: HttpRequest) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": "Ask for more", "gone": GONE}
    return TemplateResponse(request, "budgets/ask.html", context, status=404)
