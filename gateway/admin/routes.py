"""Routes: the names that applications call, and the chain of targets behind each."""

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Prefetch, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from gateway.admin.health import chain_picture
from gateway.admin.likeness import likeness_page
from gateway.core.conditions import FIELDS, LEVELS, METADATA, NUMBERS, YES_NO, comparisons
from gateway.core.route_options import DEAREST_DAY_USD, LONGEST_SECONDS
from gateway.models import Route, RouteTarget, ServedModel
from gateway.models.route import FALL_BACK_ON, fall_back_on_default
from tenants.scoped.admin import ScopedHistoryAdmin, ScopedTabularInline
from tenants.scoped.forms import PickField

FAILURES = {
    "connect": "no connection",
    "timeout": "timeout",
    "rate_limit": "rate limit (429)",
    "server_error": "server error (5xx)",
    "bad_answer": "unreadable answer",
    "auth": "credential refused",
    "context_too_long": "context too long",
    "content_refused": "content refused",
}


WITH_FIELDS = frozenset({"shadow", "hedge_after_s", "continue"})  # options that have fields of their own


class RouteForm(forms.ModelForm):
    fall_back_on = PickField(
        choices=[(kind, FAILURES.get(kind, kind)) for kind in FALL_BACK_ON],
        required=False,
        initial=fall_back_on_default,
        help_text="Which failures go on to the next target. The caller's own mistakes never do.",
    )

    shadow_model = forms.ModelChoiceField(
        ServedModel.objects.filter(kind="chat"),
        required=False,
        label="Also send calls to",
        help_text="Copies of calls, after their answers, to compare. No caller feels them.",
    )
    shadow_share_percent = forms.FloatField(
        required=False, min_value=0.001, max_value=100, label="Share of the calls (%)", initial=5
    )
    shadow_daily_usd = forms.DecimalField(
        required=False, min_value=0, max_value=DEAREST_DAY_USD, label="For at most (US dollars a day)", initial=1
    )

    hedge_after_s = forms.FloatField(
        required=False,
        min_value=0.001,
        max_value=LONGEST_SECONDS,
        label="Ask a second target after (seconds)",
        help_text="Empty: never. Who begins first answers; both are paid. At most one call in fifty.",
    )
    goes_on = forms.BooleanField(
        required=False,
        label="Go on with answers that break off",
        help_text="At another target that can continue a begun answer. The stream says so.",
    )

    class Meta:
        model = Route
        fields = "__all__"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options = dict(self.instance.options or {})
        if shadow := options.pop("shadow", None):
            self.initial["shadow_model"] = ServedModel.objects.filter(name=shadow["model"]).first()
            self.initial["shadow_share_percent"] = shadow["share_percent"]
            self.initial["shadow_daily_usd"] = shadow["daily_usd"]
        self.initial["hedge_after_s"] = options.pop("hedge_after_s", None)
        self.initial["goes_on"] = options.pop("continue", False)
        self.initial["options"] = options

    def clean(self) -> dict[str, Any]:
        """The fields of their own go into the options, which hold them for routing and for the configuration file."""
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if "shadow_model" not in self.fields or self.errors:
            return given
        options = {name: value for name, value in (given.get("options") or {}).items() if name not in WITH_FIELDS}
        if (after := given.get("hedge_after_s")) is not None:
            options["hedge_after_s"] = after
        if given.get("goes_on"):
            options["continue"] = True
        if (model := given.get("shadow_model")) is not None:
            share, daily = given.get("shadow_share_percent"), given.get("shadow_daily_usd")
            if share is None or daily is None:
                raise ValidationError({"shadow_model": "A shadow needs a share of the calls and a daily budget."})
            options["shadow"] = {"model": model.name, "share_percent": share, "daily_usd": str(daily)}
        given["options"] = options
        return given


def kinds_of_conditions() -> str:
    """What conditions can ask, as JSON for the dropdowns: field -> words, comparisons, and the values there are."""
    found = {}
    for name, told in {**FIELDS, METADATA: "a value in metadata"}.items():
        values = ["true", "false"] if name in YES_NO else list(LEVELS) if name == "complexity" else []
        compared = comparisons(name if name != METADATA else f"{METADATA}name")
        found[name] = {"told": told, "comparisons": compared, "values": values, "number": name in NUMBERS}
    return json.dumps(found)


class TargetForm(forms.ModelForm):
    """One target. Its conditions are drawn as rows of dropdowns."""

    class Media:
        js = ("tollgate/conditions.js",)
        css = {"all": ("tollgate/conditions.css",)}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "conditions" in self.fields:
            self.fields["conditions"].widget.attrs["data-conditions"] = kinds_of_conditions()


class TargetInline(ScopedTabularInline):
    """The chain, top to bottom; drag to sort."""

    model = RouteTarget
    form = TargetForm
    fields = ["position", "model", "weight", "first_byte_timeout_s", "timeout_s", "conditions"]
    autocomplete_fields = ["model"]
    ordering_field = "position"
    hide_ordering_field = True
    extra = 1

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        return 0 if obj and obj.targets.exists() else 1


@admin.register(Route)
class RouteAdmin(ScopedHistoryAdmin):
    """A name that an application puts into "model", and where its calls go."""

    area = "catalogue"
    workspace_path = ""
    form = RouteForm
    list_display = ["name_and_description", "strategy_badge", "chain", "cache_badge", "is_on"]
    list_filter = [("strategy", ChoicesDropdownFilter), ("cache_mode", ChoicesDropdownFilter), "is_enabled"]
    search_fields = ["name", "description"]
    inlines = [TargetInline]
    change_form_before_template = "gateway/chain.html"
    actions_detail = ["likeness"]
    next_step = "Models can be called by their own names. A route adds fallback, splits and caching under a new name."
    fieldsets = [
        (None, {"fields": [("name", "is_enabled"), "description"]}),
        ("How a target is chosen", {"fields": [("strategy", "sticky_by")]}),
        (
            "When a target fails",
            {"fields": ["retries", "fall_back_on", ("hedge_after_s", "goes_on")], "classes": ["tab"]},
        ),
        ("Cache", {"fields": ["cache_mode", ("cache_ttl_s", "cache_threshold")], "classes": ["tab"]}),
        (
            "Shadow",
            {"fields": ["shadow_model", ("shadow_share_percent", "shadow_daily_usd")], "classes": ["tab"]},
        ),
        ("More", {"fields": ["options"], "classes": ["tab"]}),
    ]
    conditional_fields = {
        "sticky_by": "strategy == 'weighted'",
        "cache_ttl_s": "cache_mode != 'off'",
        "cache_threshold": "cache_mode == 'semantic'",
    }

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The form with a picture of the chain above it."""
        route = self.get_object(request, unquote(object_id))
        picture = chain_picture(request, route) if route is not None and request.method == "GET" else None
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "picture": picture})

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        chain = RouteTarget.objects.select_related("model").order_by("position", "id")
        return super().get_queryset(request).prefetch_related(Prefetch("targets", queryset=chain, to_attr="_chain"))

    @action(description="Likeness", icon="join_inner", url_path="likeness")
    def likeness(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """How the semantic cache judges: pairs to try, hits to mark."""
        route = self.get_object(request, unquote(object_id))
        if route is None:
            raise Http404
        if not self.has_view_permission(request, route):
            raise PermissionDenied
        return likeness_page(request, self, route)

    @display(description="Route", header=True, ordering="name")
    def name_and_description(self, route: Route) -> list[str]:
        return [route.name, route.description]

    @display(description="Strategy", label=True, ordering="strategy")
    def strategy_badge(self, route: Route) -> str:
        return route.get_strategy_display().partition(":")[0]

    @display(description="Targets")
    def chain(self, route: Route) -> str:
        if not route._chain:
            return "none yet"
        if route.strategy == Route.Strategy.WEIGHTED:
            whole = sum(target.weight for target in route._chain) or 1
            return ", ".join(f"{target.model.name} {target.weight / whole:.0%}" for target in route._chain)
        joint = " → " if route.strategy == Route.Strategy.PRIORITY else ", "
        return joint.join(target.model.name for target in route._chain)

    @display(description="Cache", label={"Exact": "info", "Semantic": "info"}, ordering="cache_mode")
    def cache_badge(self, route: Route) -> str:
        return route.get_cache_mode_display()

    @display(description="On", boolean=True, ordering="is_enabled")
    def is_on(self, route: Route) -> bool:
        return route.is_enabled
