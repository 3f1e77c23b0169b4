"""API keys and rate limits. A key's secret is shown on the page that answers the form, and nowhere else."""

from datetime import timedelta
from typing import Any

from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from tenants.models import ApiKey, RateLimit
from tenants.scoped.admin import ScopedHistoryAdmin
from tenants.scoped.filters import ScopedRelatedFilter
from tenants.scoped.forms import LinesField, NamesField, SecretField
from tenants.scoped.pages import confirm_page, secret_page
from tenants.services.keys import (
    LONGEST_OVERLAP,
    OVERLAP,
    IssuedKey,
    KeyTerms,
    check_key,
    check_secret,
    issue_key,
    revoke_key,
    rotate_key,
)


def callable_names() -> list[str]:
    """Routes and models by name. Looked up by label: tenants lie below the gateway and may not import it."""
    found = [
        apps.get_model(label).objects.values_list("name", flat=True)
        for label in ("gateway.Route", "gateway.ServedModel")
    ]
    return [name for names in found for name in names]


class KeyForm(forms.ModelForm):
    """A key's terms; on a new key also its secret, if the operator wants to choose it."""

    allowed_models = NamesField(names=callable_names, help_text="Routes and models it may call. Empty: all.")
    allowed_ips = LinesField(
        label="Allowed addresses", help_text="Addresses or networks like 10.0.0.0/8, one a line. Empty: any."
    )
    secret = SecretField(help_text="Leave empty to get a random one. Your own must have 16 characters or more.")

    class Meta:
        model = ApiKey
        fields = ["workspace", "name", "team", "allowed_models", "allowed_ips", "expires_at"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "allowed_models" in self.fields:
            self.fields["allowed_models"].keep(self.instance.allowed_models)
        if self.instance.pk and not self.instance._state.adding:
            self.fields.pop("secret", None)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        team, workspace = cleaned.get("team"), cleaned.get("workspace") or getattr(self.instance, "workspace", None)
        if team and workspace and team.workspace_id != workspace.pk:
            self.add_error("team", "This team belongs to another workspace.")
        return cleaned

    def clean_secret(self) -> str:
        if secret := self.cleaned_data["secret"]:
            try:
                check_secret(secret=secret)
            except ValidationError as error:
                raise ValidationError(error.messages) from None
        return secret

    def issue(self) -> IssuedKey:
        """The new key with its secret."""
        data = self.cleaned_data
        terms = KeyTerms(data["team"], data["allowed_models"], data["allowed_ips"], data["expires_at"])
        return issue_key(workspace=data["workspace"], name=data["name"], terms=terms, secret=data.get("secret", ""))


class RotateForm(forms.Form):
    """How long the old secret still opens."""

    overlap_hours = forms.IntegerField(
        min_value=0,
        max_value=LONGEST_OVERLAP // timedelta(hours=1),
        initial=OVERLAP // timedelta(hours=1),
        widget=UnfoldAdminIntegerFieldWidget,
        label="Overlap in hours",
        help_text="Both secrets open for so long, so that applications can change over. 0 closes the old one at once.",
    )


class StateFilter(DropdownFilter):
    """Usable or not, as of now."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("active", "Active"), ("rotating", "In rotation"), ("expired", "Expired"), ("revoked", "Revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        now = timezone.now()
        match self.value():
            case "active":
                return queryset.filter(revoked_at=None).exclude(expires_at__lte=now)
            case "rotating":
                return queryset.filter(revoked_at=None, previous_until__gt=now)
            case "expired":
                return queryset.filter(revoked_at=None, expires_at__lte=now)
            case "revoked":
                return queryset.filter(revoked_at__isnull=False)
        return queryset


@admin.register(ApiKey)
class ApiKeyAdmin(ScopedHistoryAdmin):
    """Issue keys, look at them, rotate and close them. Nothing here can show a secret a second time."""

    area = "keys"
    form = KeyForm
    list_display = ["name_and_hint", "workspace", "team", "may_call", "state", "expires_at", "created_at"]
    list_filter = [("workspace", ScopedRelatedFilter), ("team", ScopedRelatedFilter), StateFilter]
    list_select_related = ["workspace", "team"]
    search_fields = ["name", "hint", "workspace__name", "team__name"]
    autocomplete_fields = ["workspace", "team"]
    actions = ["revoke_selected"]
    actions_detail = ["rotate", "revoke"]
    next_step = "An application needs a key to call /v1. Issue one, and copy its secret from the page that follows."
    readonly_fields = ["state", "masked", "created_at", "revoked_at", "previous_until"]
    add_fieldsets = [
        (None, {"fields": ["workspace", "name", "team"]}),
        ("What it may do", {"fields": ["allowed_models", "allowed_ips", "expires_at"]}),
        ("Secret", {"fields": ["secret"]}),
    ]
    fieldsets = [
        (None, {"fields": [("workspace", "state"), "name", "team"]}),
        ("What it may do", {"fields": ["allowed_models", "allowed_ips", "expires_at"]}),
        ("Secret", {"fields": [("masked", "created_at"), ("previous_until", "revoked_at")]}),
    ]

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """A key is revoked, never deleted: calls in the past refer to it."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        fields = super().get_readonly_fields(request, obj)
        return [*fields, "name"] if obj is not None and obj.revoked_at is not None else fields

    @display(description="Key", header=True, ordering="name")
    def name_and_hint(self, key: ApiKey) -> list[str]:
        return [key.name, f"…{key.hint}"]

    @display(description="Key")
    def masked(self, key: ApiKey) -> str:
        return f"…{key.hint}"

    @display(description="May call")
    def may_call(self, key: ApiKey) -> str:
        names = key.allowed_models
        if names is None:
            return "everything"
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    @display(
        description="State",
        label={
            "Active": "success",
            "In rotation": "info",
            "Expires soon": "warning",
            "Expired": "danger",
            "Revoked": "danger",
        },
    )
    def state(self, key: ApiKey) -> str:
        now = timezone.now()
        if key.revoked_at:
            return "Revoked"
        if key.expires_at and key.expires_at <= now:
            return "Expired"
        if key.previous_until and key.previous_until > now:
            return "In rotation"
        if key.expires_at and key.expires_at <= now + timedelta(days=7):
            return "Expires soon"
        return "Active"

    def save_model(self, request: HttpRequest, obj: ApiKey, form: KeyForm, change: bool) -> None:
        if change:
            check_key(key=obj)
            super().save_model(request, obj, form, change)
            return
        issued = form.issue()
        obj.pk, obj.digest, obj.hint = issued.key.pk, issued.key.digest, issued.key.hint
        obj._state.adding, obj._state.db = False, issued.key._state.db
        request.issued_key = issued

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        return self._show(request, request.issued_key, f"Key {obj.name} is issued")

    @action(description="Rotate", permissions=["change"], icon="autorenew", url_path="rotate")
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = self._usable(request, object_id)
        form = RotateForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                issued = rotate_key(key=key, overlap=timedelta(hours=form.cleaned_data["overlap_hours"]))
                return self._show(request, issued, f"Key {key.name} has a new secret")
            except ValidationError as error:
                form.add_error(None, error.messages)
        return confirm_page(
            request,
            self,
            key,
            title=f"Rotate {key.name}",
            button="Make a new secret",
            explanation=["A new secret is made and shown once. Limits, budgets and history stay with the key."],
            form=form,
        )

    @action(description="Revoke", permissions=["change"], icon="block", url_path="revoke", variant=ActionVariant.DANGER)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = self._usable(request, object_id)
        if request.method == "POST":
            revoke_key(key=key)
            messages.success(request, f"{key.name} is revoked. Calls with it are refused within a second.")
            return HttpResponseRedirect(reverse("admin:tenants_apikey_changelist"))
        return confirm_page(
            request,
            self,
            key,
            title=f"Revoke {key.name}",
            button="Revoke for good",
            explanation=["Every application that uses it is refused within a second.", "This can't be taken back."],
            is_final=True,
        )

    @admin.action(description="Revoke selected keys", permissions=["change"])
    def revoke_selected(self, request: HttpRequest, keys: QuerySet) -> None:
        keys = list(keys.filter(revoked_at=None))
        if not all(self.has_change_permission(request, key) for key in keys):
            raise PermissionDenied
        for key in keys:
            revoke_key(key=key)
        self.message_user(request, f"{len(keys)} key(s) revoked.", messages.SUCCESS)

    def _usable(self, request: HttpRequest, object_id: str) -> ApiKey:
        key = self.get_object(request, object_id)
        if key is None:
            raise Http404
        if not self.has_change_permission(request, key):
            raise PermissionDenied
        return key

    def _show(self, request: HttpRequest, issued: IssuedKey, title: str) -> HttpResponse:
        address = request.build_absolute_uri("/v1/models")
        notes = []
        if until := issued.key.previous_until:
            notes.append(f"The old secret still opens until {timezone.localtime(until):%d %b %H:%M} UTC.")
        example = f"curl {address} -H 'Authorization: Bearer {issued.secret}'"
        return secret_page(request, self, issued.key, title=title, secret=issued.secret, notes=notes, example=example)


class LimitForm(forms.ModelForm):
    """A limit; calls at once have no window, so theirs is cleared."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("unit") == RateLimit.Unit.CONCURRENCY:
            cleaned["per"], cleaned["burst"] = "", None
        if cleaned.get("of") == RateLimit.Of.WORKSPACE:
            cleaned["match"] = ""
        return cleaned


@admin.register(RateLimit)
class RateLimitAdmin(ScopedHistoryAdmin):
    """How much, how fast, for whom."""

    area = "keys"
    form = LimitForm
    list_display = ["subject", "workspace", "amount_per", "burst"]
    list_filter = [("workspace", ScopedRelatedFilter), ("of", ChoicesDropdownFilter), ("unit", ChoicesDropdownFilter)]
    list_select_related = ["workspace"]
    search_fields = ["match", "workspace__name"]
    autocomplete_fields = ["workspace"]
    next_step = "Nothing is limited. A limit on each key keeps one application from taking all."
    fieldsets = [
        (None, {"fields": ["workspace", ("of", "match")]}),
        ("How much", {"fields": [("amount", "unit"), ("per", "burst")]}),
    ]
    conditional_fields = {
        "match": "of != 'workspace'",
        "burst": "unit != 'concurrency'",
        "per": "unit != 'concurrency'",
    }

    @display(description="For", header=True, ordering="of")
    def subject(self, limit: RateLimit) -> list[str]:
        if limit.of == RateLimit.Of.WORKSPACE:
            return ["The workspace", "all calls together"]
        kind = limit.get_of_display()
        return [limit.match, kind] if limit.match else [f"Each {kind}", "each by itself"]

    @display(description="Limit", ordering="amount")
    def amount_per(self, limit: RateLimit) -> str:
        return f"{limit.amount:,} {limit.get_unit_display().lower()}" + (f" a {limit.per}" if limit.per else "")
