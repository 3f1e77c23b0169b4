"""Prompts, what each version said, and which version each channel serves."""

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Max, Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path as url
from unfold.admin import TabularInline
from unfold.decorators import display

from prompts.admin import experiments, pages
from prompts.models import Deployment, Prompt, PromptVersion
from prompts.queries import current_deployments
from tenants.scoped.admin import ScopedHistoryAdmin, ScopedTabularInline
from tenants.scoped.filters import ScopedRelatedFilter


class ReadOnlyInline(ScopedTabularInline):
    """Rows that are appended elsewhere and never changed."""

    tab = True
    can_delete = False
    max_num = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class VersionInline(ReadOnlyInline):
    model = PromptVersion
    fields = ["number", "message", "route", "says", "author", "created_at"]
    readonly_fields = fields
    ordering = ["-number"]
    per_page = 10

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return TabularInline.get_queryset(self, request).select_related("author")

    @display(description="Says")
    def says(self, version: PromptVersion) -> str:
        texts = [f"{part.get('role', '?')}: {_text(part.get('content'))}" for part in version.messages]
        whole = " · ".join(texts)
        return whole if len(whole) <= 240 else f"{whole[:240]}…"


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


class DeploymentInline(ReadOnlyInline):
    model = Deployment
    fields = ["channel", "served", "actor", "reason", "at"]
    readonly_fields = fields
    ordering = ["-at", "-seq"]
    per_page = 10

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return TabularInline.get_queryset(self, request).select_related("version")

    @display(description="Version")
    def served(self, deployment: Deployment) -> str:
        return str(deployment.version.number) if deployment.version else "withdrawn"


@admin.register(Prompt)
class PromptAdmin(ScopedHistoryAdmin):
    """Named prompts of a workspace. What one says stands in its versions, which never change."""

    area = "prompts"
    ordering = ["workspace__name", "name"]  # a list with counts does not take the model's
    list_display = ["name_and_description", "workspace", "live", "newest", "state"]
    list_filter = [("workspace", ScopedRelatedFilter)]
    list_select_related = ["workspace"]
    search_fields = ["name", "description", "workspace__name"]
    autocomplete_fields = ["workspace"]
    inlines = [VersionInline, DeploymentInline]
    next_step = "A prompt kept here can be changed, tried and rolled back without touching the application."
    fieldsets = [(None, {"fields": ["workspace", "name", "description"]})]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        live = Prefetch("deployments", current_deployments().order_by("channel"), to_attr="now")
        return super().get_queryset(request).annotate(_newest=Max("versions__number")).prefetch_related(live)

    def get_urls(self) -> list[Any]:
        """The prompt's own pages, before those that Django makes of its row."""

        def at(path: str, view: Callable[..., HttpResponse], name: str) -> Any:
            def shown(request: HttpRequest, **given: str) -> HttpResponse:
                return view(request, self, **given)

            return url(f"<str:pk>/{path}", self.admin_site.admin_view(shown), name=f"prompts_prompt_{name}")

        return [
            at("channel/", pages.change_channel, "channel"),
            at("write/", pages.editor_page, "write"),
            at("write/<str:deed>/", pages.editor_call, "editor"),
            at("diff/", pages.diff_page, "diff"),
            at("experiment/", experiments.begin_page, "experiment"),
            at("review/<str:number>/", pages.review_page, "review"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict | None = None
    ) -> HttpResponse:
        """The prompt's page; its name and description are changed at ?settings."""
        prompt = self.get_object(request, unquote(object_id))
        if request.method != "GET" or "settings" in request.GET or prompt is None:
            return super().change_view(request, object_id, form_url, extra_context)
        if not self.has_view_permission(request, prompt):
            raise PermissionDenied
        return pages.prompt_page(request, self, prompt)

    def has_delete_permission(self, request: HttpRequest, obj: Prompt | None = None) -> bool:
        """Calls in the past refer to it."""
        return False

    @display(description="Prompt", header=True, ordering="name")
    def name_and_description(self, prompt: Prompt) -> list[str]:
        return [prompt.name, prompt.description]

    @display(description="Live")
    def live(self, prompt: Prompt) -> str:
        served = [f"{row.channel} v{row.version.number}" for row in prompt.now if row.version]
        return " · ".join(served) or "nowhere"

    @display(description="Newest version", ordering="_newest")
    def newest(self, prompt: Prompt) -> str:
        return str(prompt._newest) if prompt._newest else "none yet"

    @display(description="State", label={"In use": "success", "Archived": "warning"})
    def state(self, prompt: Prompt) -> str:
        return "Archived" if prompt.archived_at else "In use"
