"""Who asked for more of which budget, and the answers."""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import time
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from budgets.models import Budget, Raise
from budgets.periods import period, utc
from budgets.services import raises
from tenants.scoped.admin import ScopedHistoryAdmin
from tenants.scoped.filters import ScopedRelatedFilter
from tenants.scoped.forms import DollarsField
from tenants.scoped.pages import confirm_page

HOURS = (("1", "an hour"), ("4", "four hours"), ("24", "a day"), ("168", "a week"), ("720", "thirty days"))


def amount_field(budget: Budget, **options: Any) -> forms.Field:
    """A field for an amount in the budget's unit."""
    if budget.limit_nanos is not None:
        return DollarsField(label="How many dollars more", **options)
    return forms.IntegerField(
        label="How many tokens more", min_value=1, widget=UnfoldAdminIntegerFieldWidget(), **options
    )


class GrantForm(forms.Form):
    """How much more, and for how long."""

    def __init__(self, data: Any, *, row: Raise) -> None:
        super().__init__(data)
        budget = row.budget
        choices = list(HOURS)
        if budget.per != Budget.Per.TOTAL:
            choices.append(("period", f"until this {budget.per} ends"))
        self.fields["amount"] = amount_field(budget, initial=row.asked_amount)
        self.fields["how_long"] = forms.ChoiceField(
            label="For how long", choices=choices, initial="24", widget=UnfoldAdminSelectWidget()
        )
        self.fields["note"] = note_field()
        self.budget = budget

    @property
    def ends_at(self) -> datetime:
        """Read once the form is valid."""
        chosen = self.cleaned_data["how_long"]
        if chosen == "period":
            return utc(period(self.budget.workspace.timezone, self.budget.per, time()).end)
        return timezone.now() + timedelta(hours=int(chosen))


class NoteForm(forms.Form):
    """What to say with it."""

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self.fields["note"] = note_field()


def note_field() -> forms.CharField:
    return forms.CharField(
        label="Note",
        required=False,
        max_length=300,
        help_text="Kept with the answer.",
        widget=UnfoldAdminTextInputWidget(),
    )


@admin.register(Raise)
class RaiseAdmin(ScopedHistoryAdmin):
    """More for a budget, for a time. Asked for by the link in a refusal, or from a budget's page."""

    area = "money"
    list_display = ["budget", "workspace", "subject_name", "asked_by", "wanted", "state_badge", "granted", "until"]
    list_filter = [("workspace", ScopedRelatedFilter), ("state", ChoicesDropdownFilter)]
    list_select_related = ["workspace", "budget"]
    search_fields = ["subject_name", "asked_by", "reason", "budget__name"]
    date_hierarchy = "asked_at"
    next_step = "Nobody has asked for more. A call that a budget refuses gets a link to do so."
    fieldsets = [
        (None, {"fields": [("workspace", "budget"), ("subject_name", "asked_by"), "reason", ("wanted", "asked_at")]}),
        ("Answer", {"fields": [("state", "granted"), ("starts_at", "ends_at"), ("decided_by", "decided_at"), "note"]}),
    ]
    readonly_fields = [
        *("workspace", "budget", "subject_name", "asked_by", "reason", "wanted", "asked_at", "state", "granted"),
        *("starts_at", "ends_at", "decided_by", "decided_at", "note"),
    ]
    actions_detail = ["grant", "refuse", "end_now"]
    actions_row = ["grant", "refuse", "end_now"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="Wanted", ordering="asked_amount")
    def wanted(self, row: Raise) -> str:
        return row.in_words(row.asked_amount) if row.asked_amount else "not said"

    @display(description="Granted", ordering="amount")
    def granted(self, row: Raise) -> str:
        return row.in_words(row.amount) if row.amount else "–"

    @display(description="Until", ordering="ends_at")
    def until(self, row: Raise) -> str:
        return f"{row.ends_at:%Y-%m-%d %H:%M} UTC" if row.ends_at else "–"

    @display(
        description="State",
        label={"waiting": "warning", "running": "success", "over": "info", "refused": "danger"},
        ordering="state",
    )
    def state_badge(self, row: Raise) -> tuple[str, str]:
        if row.state == Raise.State.ASKED:
            return "waiting", "waits for an answer"
        if row.state == Raise.State.REFUSED:
            return "refused", "refused"
        return ("running", "runs") if row.is_running(timezone.now()) else ("over", "over")

    @action(description="Grant", permissions=["change"], icon="check", url_path="grant")
    def grant(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self._row(request, object_id)
        form = GrantForm(request.POST or None, row=row)
        lines = [
            f"{row.asked_by} asked for {self.wanted(row)}. {row.reason}".strip(),
            "It takes effect within a second and ends by itself.",
        ]

        def act() -> str:
            given = form.cleaned_data
            by = request.user.get_username()
            raises.grant(row=row, amount=given["amount"], ends_at=form.ends_at, by=by, note=given["note"])
            return f"Granted: {row.in_words(row.amount)} more until {row.ends_at:%Y-%m-%d %H:%M} UTC."

        return self._asked(request, row, form, act, title=f"Grant more of {row}", button="Grant", explanation=lines)

    @action(description="Refuse", permissions=["change"], icon="close", url_path="refuse")
    def refuse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self._row(request, object_id)
        form = NoteForm(request.POST or None)

        def act() -> str:
            raises.refuse(row=row, by=request.user.get_username(), note=form.cleaned_data["note"])
            return "Refused."

        return self._asked(request, row, form, act, title=f"Refuse more of {row}", button="Refuse")

    @action(description="End now", permissions=["change"], icon="stop", url_path="end")
    def end_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self._row(request, object_id)
        form = NoteForm(request.POST or None)

        def act() -> str:
            raises.end(row=row, by=request.user.get_username(), note=form.cleaned_data["note"])
            return "Ended: the budget's own limit holds again."

        return self._asked(request, row, form, act, title=f"End the raise of {row}", button="End it now")

    def _row(self, request: HttpRequest, object_id: str) -> Raise:
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        return row

    def _asked(self, request: HttpRequest, row: Raise, form: Any, act: Callable[[], str], **page: Any) -> HttpResponse:
        """Ask first; then do it and say so, or say what stands in the way."""
        if request.method == "POST" and form.is_valid():
            try:
                self.message_user(request, act(), messages.SUCCESS)
                return redirect("admin:budgets_raise_change", row.pk)
            except ValidationError as error:
                for line in error.messages:
                    form.add_error(None, line)
        return confirm_page(request, self, row, form=form, **page)
