"""Prices' pages."""

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from budgets.compiler import price_lists
from budgets.models import Price
from budgets.services.repricing import Outcome, Wanted, foresee, reprice
from gateway.core.money import dollars
from tenants.models import Workspace
from tenants.scoped.admin import ScopedHistoryAdmin
from tenants.scoped.forms import DollarsField
from tenants.scoped.pages import confirm_page


class ReasonForm(forms.Form):
    """Why; it stands in the trail."""

    reason = forms.CharField(label="Reason", max_length=300, widget=UnfoldAdminTextInputWidget())


def told(outcomes: list[Outcome]) -> str:
    """What came of it, in words."""
    nanos = sum(each.nanos for each in outcomes)
    return f"{sum(each.lines for each in outcomes)} corrections, ${dollars(nanos)} in all"


class PriceForm(forms.ModelForm):
    input_nanos = DollarsField(label="Input")
    output_nanos = DollarsField(label="Output")
    cached_input_nanos = DollarsField(label="Cached input", required=False, help_text="Empty: as input.")

    class Meta:
        model = Price
        fields = "__all__"


@admin.register(Price)
class PriceAdmin(ScopedHistoryAdmin):
    """What models cost from a day on. Own prices win over the catalogue's; settled calls keep the price they had."""

    area = "catalogue"
    workspace_path = ""
    form = PriceForm
    list_display = ["model", "input", "output", "cached", "valid_from", "source_badge", "note"]
    list_filter = [("source", ChoicesDropdownFilter)]
    search_fields = ["model", "note"]
    date_hierarchy = "valid_from"
    next_step = "A model without a price is treated as its workspace says: rejected, charged at a ceiling, or allowed."
    fieldsets = [
        (None, {"fields": ["model", "valid_from", ("source", "note")]}),
        ("Dollars per million tokens", {"fields": [("input_nanos", "output_nanos", "cached_input_nanos")]}),
        ("Other token classes and tiers", {"fields": ["details"], "classes": ["tab"]}),
    ]

    actions_detail = ["reprice_calls"]
    actions_row = ["reprice_calls"]

    @action(description="Price calls anew", permissions=["change"], icon="price_change", url_path="reprice")
    def reprice_calls(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Book what calls of this model cost more or less by today's prices, since this price's day."""
        price = self.get_object(request, object_id)
        if price is None:
            raise Http404
        if not self.has_change_permission(request, price):
            raise PermissionDenied
        form = ReasonForm(request.POST or None)
        prices, now = price_lists(), timezone.now()
        wanted = [Wanted(each, price.valid_from, now, price.model) for each in Workspace.objects.order_by("name")]
        if price.valid_from >= now:
            self.message_user(request, "This price is not in force yet: there is nothing to correct.", messages.WARNING)
            return redirect("admin:budgets_price_change", price.pk)
        if request.method == "POST" and form.is_valid():
            said = {"reason": form.cleaned_data["reason"], "by": request.user.get_username()}
            done = [reprice(wanted=each, prices=prices, **said) for each in wanted]
            self.message_user(request, f"{told(done)}.", messages.SUCCESS)
            return redirect("admin:budgets_price_change", price.pk)
        foreseen = [(each.workspace.name, foresee(each, prices)) for each in wanted]
        lines = [f"Calls of {price.model} since {price.valid_from:%Y-%m-%d}, priced as prices are now:"]
        lines += [f"{name}: {told([outcome])}" for name, outcome in foreseen if outcome.lines]
        lines.append("Each difference becomes a new ledger line; none is changed. Budgets and statements follow.")
        title = f"Price calls of {price.model} anew"
        return confirm_page(
            request, self, price, title=title, button="Book the differences", explanation=lines, form=form
        )

    @display(description="Input $/M", ordering="input_nanos")
    def input(self, price: Price) -> str:
        return dollars(price.input_nanos)

    @display(description="Output $/M", ordering="output_nanos")
    def output(self, price: Price) -> str:
        return dollars(price.output_nanos)

    @display(description="Cached $/M", ordering="cached_input_nanos")
    def cached(self, price: Price) -> str:
        return "as input" if price.cached_input_nanos is None else dollars(price.cached_input_nanos)

    @display(description="From", label={"configuration": "primary", "catalogue": "info"}, ordering="source")
    def source_badge(self, price: Price) -> tuple[str, str]:
        return price.source, price.get_source_display()
