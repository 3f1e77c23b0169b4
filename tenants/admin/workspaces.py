"""Workspaces and their teams."""

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from tenants.models import Team, Workspace
from tenants.scoped.admin import ScopedHistoryAdmin, ScopedTabularInline, access
from tenants.scoped.filters import ScopedRelatedFilter
from tenants.scoped.forms import LinesField


class TeamInline(ScopedTabularInline):
    model = Team
    tab = True


class WorkspaceForm(forms.ModelForm):
    """A workspace, with its blocked users one on each line."""

    blocked_users = LinesField(
        help_text="End users whose calls are refused within a second, one a line, by the name that calls give in `user`. "
        "Kept answers are refused to them too."
    )

    class Meta:
        model = Workspace
        fields = "__all__"


@admin.register(Workspace)
class WorkspaceAdmin(ScopedHistoryAdmin):
    """A tenant's settings. Superusers open and delete workspaces; owners and admins change their own."""

    area = "workspace"
    form = WorkspaceForm
    workspace_path = "pk"
    ordering = ["name"]  # a list with counts does not take the model's
    list_display = ["name", "state", "timezone", "key_count", "member_count", "keeps"]
    list_filter = ["is_active"]
    search_fields = ["name"]
    inlines = [TeamInline]
    readonly_fields = ["created_at"]
    next_step = "A workspace is the border that no key, budget or cached answer crosses. Add the first."
    fieldsets = [
        (None, {"fields": ["name", ("timezone", "is_active"), "created_at"]}),
        ("What is kept", {"fields": ["store_bodies", ("records_days", "bodies_days")], "classes": ["tab"]}),
        ("Blocked users", {"fields": ["blocked_users"], "classes": ["tab"]}),
        (
            "When something is missing",
            {
                "fields": [
                    ("on_unpriced", "on_budgets_unavailable"),
                    ("on_limits_unavailable", "on_audit_unavailable"),
                ],
                "classes": ["tab"],
                "description": "What happens to calls while a price or a store can't be had.",
            },
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return (
            super()
            .get_queryset(request)
            .annotate(_keys=Count("keys", distinct=True), _members=Count("members", distinct=True))
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return access(request).everywhere

    def has_delete_permission(self, request: HttpRequest, obj: Workspace | None = None) -> bool:
        return access(request).everywhere

    @display(description="State", label={"Open": "success", "Closed": "danger"}, ordering="is_active")
    def state(self, workspace: Workspace) -> str:
        return "Open" if workspace.is_active else "Closed"

    @display(description="Keys", ordering="_keys")
    def key_count(self, workspace: Workspace) -> int:
        return workspace._keys

    @display(description="Members", ordering="_members")
    def member_count(self, workspace: Workspace) -> int:
        return workspace._members

    @display(description="Keeps")
    def keeps(self, workspace: Workspace) -> str:
        bodies = f", bodies {workspace.bodies_days} days" if workspace.store_bodies else ", no bodies"
        return f"records {workspace.records_days} days{bodies}"


@admin.register(Team)
class TeamAdmin(ScopedHistoryAdmin):
    """Groups within a workspace that keys and budgets belong to."""

    area = "workspace"
    ordering = ["workspace__name", "name"]
    list_display = ["name", "workspace", "key_count"]
    list_filter = [("workspace", ScopedRelatedFilter)]
    list_select_related = ["workspace"]
    search_fields = ["name", "workspace__name"]
    autocomplete_fields = ["workspace"]
    next_step = "Teams let you give several keys one budget. Add one, then choose it on its keys."

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).annotate(_keys=Count("keys"))

    @display(description="Keys", ordering="_keys")
    def key_count(self, team: Team) -> int:
        return team._keys
