"""Providers, their credentials and the models that they serve. Shared by all workspaces: superusers change them."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from budgets.models import Price
from gateway.admin.health import health_page
from gateway.core.money import dollars
from gateway.models import Credential, Provider, ServedModel
from gateway.providers.presets import PRESETS
from gateway.services.credentials import reseal, seal, try_credential
from tenants.scoped.admin import ScopedHistoryAdmin, ScopedTabularInline
from tenants.scoped.filters import ScopedRelatedFilter
from tenants.scoped.forms import LinesField, SecretField
from tenants.scoped.pages import confirm_page

BY_SLUG = {preset.slug: preset for preset in PRESETS}


class CredentialForm(forms.ModelForm):
    """A secret goes in and never comes out: the page holds at most its last four characters."""

    secret = SecretField(help_text="Never shown again. Leave empty to keep the one that is stored.")

    class Meta:
        model = Credential
        fields = ["provider", "name", "secret", "position", "is_enabled"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_new = self.instance._state.adding
        self._old_context = "" if self._is_new else self.instance.seal_context
        self.fields["secret"].widget.attrs["placeholder"] = f"…{self.instance.hint}" if self.instance.hint else ""

    def clean_secret(self) -> str:
        secret = self.cleaned_data["secret"]
        if not secret and self._is_new:
            raise ValidationError("Write the secret that the provider gave you.")
        return secret

    def save(self, commit: bool = True) -> Credential:
        if secret := self.cleaned_data["secret"]:
            seal(credential=self.instance, secret=secret)
        elif not self._is_new:
            reseal(credential=self.instance, old_context=self._old_context)
        return super().save(commit)

    def has_changed(self) -> bool:
        return bool(self.data.get(self.add_prefix("secret"))) or super().has_changed()


class CredentialInline(ScopedTabularInline):
    model = Credential
    form = CredentialForm
    fields = ["name", "secret", "position", "is_enabled"]
    ordering_field = "position"
    hide_ordering_field = True
    tab = True


class ModelInline(ScopedTabularInline):
    model = ServedModel
    fields = ["name", "upstream", "kind", "context_tokens", "max_output_tokens", "is_enabled"]
    show_change_link = True
    tab = True


@admin.register(Provider)
class ProviderAdmin(ScopedHistoryAdmin):
    """Places that serve models. One that speaks OpenAI's format is a row here, not code."""

    workspace_path = ""
    ordering = ["name"]  # a list with counts does not take the model's
    list_display = ["name", "kind_badge", "base_url", "model_count", "credential_count", "is_on"]
    list_filter = [("kind", ChoicesDropdownFilter), "is_enabled"]
    search_fields = ["name", "base_url"]
    inlines = [CredentialInline, ModelInline]
    next_step = "Add the first provider with its credential, then the models that you use of it."
    fieldsets = [
        (None, {"fields": [("name", "kind"), "base_url", "is_enabled"]}),
        ("Particulars", {"fields": [("region", "api_version"), "quirks"], "classes": ["tab"]}),
    ]
    conditional_fields = {
        "region": "kind == 'bedrock' || kind == 'vertex'",
        "api_version": "kind == 'azure_openai'",
    }
    actions_detail = ["try_credentials"]
    change_form_before_template = "gateway/presets.html"

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict | None = None) -> HttpResponse:
        """The form with the known servers above it; `?preset=groq` fills one in."""
        shown = {"presets": PRESETS, "chosen": BY_SLUG.get(request.GET.get("preset", ""))}
        return super().add_view(request, form_url, {**(extra_context or {}), **shown})

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial = super().get_changeform_initial_data(request)
        if (preset := BY_SLUG.get(initial.pop("preset", ""))) is not None:
            known = {"name": preset.slug, "kind": Provider.Kind.OPENAI_COMPATIBLE, "base_url": preset.base_url}
            initial = {**known, "quirks": dict(preset.quirks), **initial}
        return initial

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        counts = {
            "_models": Count("models", distinct=True),
            "_credentials": Count("credentials", filter=Q(credentials__is_enabled=True), distinct=True),
        }
        return super().get_queryset(request).annotate(**counts)

    @display(description="Kind", label=True, ordering="kind")
    def kind_badge(self, provider: Provider) -> str:
        return provider.get_kind_display().partition(" (")[0]

    @display(description="Models", ordering="_models")
    def model_count(self, provider: Provider) -> int:
        return provider._models

    @display(description="Credentials", ordering="_credentials")
    def credential_count(self, provider: Provider) -> int:
        return provider._credentials

    @display(description="On", boolean=True, ordering="is_enabled")
    def is_on(self, provider: Provider) -> bool:
        return provider.is_enabled

    @action(description="Test credentials", permissions=["change"], icon="network_check", url_path="try")
    def try_credentials(self, request: HttpRequest, object_id: str) -> HttpResponse:
        provider = self.get_object(request, object_id)
        if provider is None:
            raise Http404
        if not self.has_change_permission(request, provider):
            raise PermissionDenied
        rows = list(provider.credentials.select_related("provider"))
        return _try(request, self, provider, rows, back=reverse("admin:gateway_provider_change", args=[provider.pk]))


@admin.register(Credential)
class CredentialAdmin(ScopedHistoryAdmin):
    """Providers' secrets, encrypted at rest. They can be replaced and tried, never read."""

    workspace_path = ""
    form = CredentialForm
    list_display = ["name", "provider", "masked", "set_at", "position", "is_on"]
    list_filter = [("provider", ScopedRelatedFilter), "is_enabled"]
    list_select_related = ["provider"]
    search_fields = ["name", "provider__name", "hint"]
    autocomplete_fields = ["provider"]
    next_step = "A provider needs a credential before its models can be called; the demo provider needs none."
    fieldsets = [(None, {"fields": [("provider", "name"), "secret", ("position", "is_enabled")]})]
    actions_detail = ["try_one"]

    def get_readonly_fields(self, request: HttpRequest, obj: Credential | None = None) -> list[str]:
        return [*super().get_readonly_fields(request, obj), "provider"] if obj else []

    @display(description="Secret")
    def masked(self, credential: Credential) -> str:
        return f"…{credential.hint}" if credential.hint else "set"

    @display(description="On", boolean=True, ordering="is_enabled")
    def is_on(self, credential: Credential) -> bool:
        return credential.is_enabled

    @action(description="Test", permissions=["change"], icon="network_check", url_path="try")
    def try_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        credential = self.get_object(request, object_id)
        if credential is None:
            raise Http404
        if not self.has_change_permission(request, credential):
            raise PermissionDenied
        back = reverse("admin:gateway_credential_change", args=[credential.pk])
        return _try(request, self, credential, [credential], back=back)


def _try(request: HttpRequest, page: Any, row: Any, credentials: list[Credential], *, back: str) -> HttpResponse:
    """Ask first, for it is a real call; then try each and say how it went."""
    if request.method != "POST":
        lines = ["Asks the provider one short question with each credential: a real call, a fraction of a cent."]
        return confirm_page(request, page, row, title=f"Test {row}", button="Test now", explanation=lines)
    if not credentials:
        messages.warning(request, "There is no credential to test.")
    for credential in credentials:
        trial = try_credential(credential=credential)
        level = messages.SUCCESS if trial.ok else messages.ERROR
        messages.add_message(request, level, f"{credential.name}: {trial.message} ({trial.ms} ms)")
    return HttpResponseRedirect(back)


class ModelForm(forms.ModelForm):
    capabilities = LinesField(help_text="What it takes, one a line: image, tools, json_schema … Empty: not known.")

    class Meta:
        model = ServedModel
        fields = "__all__"

    def clean_capabilities(self) -> list[str] | None:
        return self.cleaned_data["capabilities"] or None


@admin.register(ServedModel)
class ServedModelAdmin(ScopedHistoryAdmin):
    """Models that may be called: public name, where it lives, what it takes. What it costs stands under Prices."""

    area = "catalogue"
    workspace_path = ""
    form = ModelForm
    list_display = ["name_and_upstream", "provider", "kind_badge", "price", "price_source", "context", "is_on"]
    list_filter = [("provider", ScopedRelatedFilter), ("kind", ChoicesDropdownFilter), "is_enabled"]
    list_select_related = ["provider"]
    search_fields = ["name", "upstream", "provider__name"]
    autocomplete_fields = ["provider"]
    next_step = "Add a model of one of your providers. Callers may use its name at once; no route is needed."
    fieldsets = [
        (None, {"fields": [("name", "kind"), ("provider", "upstream"), "is_enabled"]}),
        (
            "What it can do",
            {"fields": [("context_tokens", "max_output_tokens"), "listed_context", "quality", "capabilities"]},
        ),
        ("What it costs", {"fields": ["price_now"]}),
    ]
    readonly_fields = ["listed_context", "price_now"]

    def get_urls(self) -> list[Any]:
        own = path("health/", self.admin_site.admin_view(health_page), name="gateway_health")
        return [own, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        valid = Price.objects.filter(model=OuterRef("name"), valid_from__lte=timezone.now()).order_by(
            "-source", "-valid_from"
        )  # "configuration" sorts after "catalogue", and wins
        shown = {"input": "input_nanos", "output": "output_nanos", "source": "source", "since": "valid_from"}
        priced = {f"_{name}": Subquery(valid.values(field)[:1]) for name, field in shown.items()}
        return super().get_queryset(request).annotate(**priced)

    @display(description="Model", header=True, ordering="name")
    def name_and_upstream(self, model: ServedModel) -> list[str]:
        return [model.name, model.upstream if model.upstream != model.name else ""]

    @display(description="Kind", label=True, ordering="kind")
    def kind_badge(self, model: ServedModel) -> str:
        return model.get_kind_display()

    @display(description="$ per million in / out")
    def price(self, model: ServedModel) -> str:
        return "none" if model._input is None else f"{dollars(model._input)} / {dollars(model._output)}"

    @display(description="Price from", ordering="_source")
    def price_source(self, model: ServedModel) -> str:
        """Who says so, and since when it holds."""
        return "" if model._input is None else f"{Price.Source(model._source).label}, {model._since:%Y-%m-%d}"

    @display(description="Price in force")
    def price_now(self, model: ServedModel) -> str:
        if model.pk is None or model._input is None:
            return "None: add one under Prices, or run sync_models to take it from the price catalogue."
        return f"$ {self.price(model)} per million tokens in / out ({self.price_source(model)})"

    @display(description="Context by the catalogue")
    def listed_context(self, model: ServedModel) -> str:
        if model.listed_context_tokens is None or model.listed_at is None:
            return "not listed"
        return f"{model.listed_context_tokens:,} tokens, read {model.listed_at:%Y-%m-%d}"

    @display(description="Context", ordering="context_tokens")
    def context(self, model: ServedModel) -> str:
        if model.context_tokens:
            return f"{model.context_tokens:,}"
        return f"{model.listed_context_tokens:,} (catalogue)" if model.listed_context_tokens else "–"

    @display(description="On", boolean=True, ordering="is_enabled")
    def is_on(self, model: ServedModel) -> bool:
        return model.is_enabled
