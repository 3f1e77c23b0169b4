"""The web UI's frame: who may enter, the sidebar, the search, and the banner that says when something is wrong."""

from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import admin
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from unfold.sites import UnfoldAdminSite

from gateway import reload
from tenants.queries import access_of

MOST_FOUND = 20  # rows of each kind that the search shows


class Entry(NamedTuple):
    """One line of the sidebar: a model's page by `app.model`, or another page by its url name."""

    title: str
    icon: str
    page: str
    superusers_only: bool = False


SIDEBAR: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "Overview",
        (
            Entry("Home", "space_dashboard", "admin:index"),
            Entry("Dashboards", "monitoring", "dashboards"),
            Entry("Calls", "receipt_long", "audit.callrecord"),
            Entry("Changes", "history", "audit.auditevent"),
            Entry("Legal holds", "gavel", "audit.legalhold"),
        ),
    ),
    (
        "Traffic",
        (
            Entry("Routes", "alt_route", "gateway.route"),
            Entry("Models", "neurology", "gateway.servedmodel"),
            Entry("Providers", "cloud", "gateway.provider"),
            Entry("Health", "monitor_heart", "admin:gateway_health"),
            Entry("Credentials", "key_vertical", "gateway.credential"),
        ),
    ),
    (
        "Access",
        (
            Entry("Workspaces", "domain", "tenants.workspace"),
            Entry("Teams", "groups", "tenants.team"),
            Entry("Members", "badge", "tenants.member"),
            Entry("API keys", "key", "tenants.apikey"),
            Entry("Rate limits", "speed", "tenants.ratelimit"),
        ),
    ),
    (
        "Money",
        (
            Entry("Budgets", "savings", "budgets.budget"),
            Entry("Raises", "trending_up", "budgets.raise"),
            Entry("Prices", "sell", "budgets.price"),
            Entry("Alerts", "notifications_active", "budgets.alertchannel"),
            Entry("Sent alerts", "outgoing_mail", "budgets.delivery"),
        ),
    ),
    (
        "Policies",
        (
            Entry("Redaction", "visibility_off", "gateway.redactionpolicy"),
            Entry("Guardrails", "shield", "evals.guardrail"),
            Entry("Cache purges", "mop", "gateway.cachepurge"),
        ),
    ),
    (
        "Prompts and quality",
        (
            Entry("Prompts", "edit_note", "prompts.prompt"),
            Entry("Channels", "verified_user", "prompts.channel"),
            Entry("Experiments", "science", "prompts.experiment"),
            Entry("Prompt webhooks", "webhook", "prompts.webhook"),
            Entry("Sent events", "outgoing_mail", "prompts.webhookmessage"),
            Entry("Suites", "checklist", "evals.suite"),
            Entry("Runs", "fact_check", "evals.run"),
        ),
    ),
    (
        "Installation",
        (
            Entry("Users", "person", "auth.user"),
            Entry("Admin tokens", "vpn_key", "tenants.admintoken"),
            Entry("Configuration", "published_with_changes", "gateway.revision"),
            Entry("Schedules", "schedule", "django_celery_beat.periodictask"),
            Entry("API", "api", "api-docs"),
        ),
    ),
)


class TollgateSite(UnfoldAdminSite):  # type: ignore[misc]
    """Open to superusers and to members of a workspace; what they see follows their roles."""

    index_title = "Home"
    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and access_of(request.user).is_member

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context: dict[str, Any] = super().each_context(request)
        if self.has_permission(request):
            context["configuration_trouble"] = configuration_trouble()
        return context

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Pages and rows by name. Asked afresh each time: a cached answer could outlive a role."""
        term = request.GET.get("s", "").strip().lower()[:100]
        if not term:
            return HttpResponse()
        extended = "extended" in request.GET
        found = self._search_apps(self.get_app_list(request), term)
        if extended:
            for app in self.get_app_list(request):
                for model in app["models"]:
                    found.extend(self._search_rows(request, model["model"], term))
        return TemplateResponse(
            request,
            "unfold/helpers/command_results.html" if extended else "unfold/helpers/search_results.html",
            {"page_obj": Paginator(found, 100), "results": found[:100], "page_counter": 0, "execution_time": 0},
            headers={"HX-Trigger": "search"},
        )

    def _search_rows(self, request: HttpRequest, model: Any, term: str) -> list[Any]:
        one = {"name": str(model._meta.verbose_name_plural), "models": [{"model": model}]}
        page = self.get_model_admin(model)
        if not page.get_search_fields(request) or getattr(page, "is_left_out_of_search", False):
            return []
        found: list[Any] = self._search_models(request, [one], term)
        return found[:MOST_FOUND]


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: what is there and what this person may see."""
    groups: list[dict[str, Any]] = []
    for title, entries in SIDEBAR:
        items = [item for entry in entries if (item := _item(request, entry))]
        if items:
            groups.append({"title": title, "separator": bool(groups), "items": items})
    _light_one([item for group in groups for item in group["items"]], request.path)
    return groups


def _light_one(items: list[dict[str, Any]], path: str) -> None:
    """Mark the entry of the page that is open: the one that its address continues the furthest.

    Left to itself, the frame marks each entry that the address begins with: of Health also Models, under which it lies.
    """
    index = reverse("admin:index")
    above = [item["link"] for item in items if path.startswith(item["link"]) and item["link"] != index]
    lit = max(above, key=len, default=index if path == index else "")
    for item in items:
        item["active"] = item["link"] == lit


def _item(request: HttpRequest, entry: Entry) -> dict[str, Any] | None:
    if "." not in entry.page:
        try:
            return {"title": entry.title, "icon": entry.icon, "link": reverse(entry.page)}
        except NoReverseMatch:
            return None
    for model, page in admin.site._registry.items():
        if model._meta.label_lower == entry.page:
            if not page.has_module_permission(request) or not page.has_view_permission(request):
                return None
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
            return {"title": entry.title, "icon": entry.icon, "link": reverse(name)}
    return None


def account_links(request: HttpRequest) -> list[dict[str, Any]]:
    """The menu at the person's name."""
    return [{"title": "API documentation", "link": reverse("api-docs")}]


def stylesheet(request: HttpRequest) -> str:
    """Our few additions to Unfold's styles."""
    return static("tollgate/tollgate.css")


def favicon(request: HttpRequest) -> str:
    """The icon on the browser's tab."""
    return static("tollgate/favicon.svg")


def environment(request: HttpRequest) -> list[str] | None:
    """The badge at the top: only where mistakes are cheap."""
    return ["Debug", "warning"] if settings.DEBUG else None


def configuration_trouble() -> str:
    """Why the running configuration is not the saved one; empty when it is."""
    return reload.status.error
