"""Which configuration is in force, and why not the newest if it is not."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from unfold.decorators import display

from gateway import reload
from gateway.models import Revision
from tenants.scoped.admin import ScopedAdmin


@admin.register(Revision)
class RevisionAdmin(ScopedAdmin):
    """One row: the number of changes so far, and what this process serves."""

    workspace_path = ""
    list_display = ["number", "changed_at", "in_force", "trouble"]
    list_display_links = None
    next_step = "Nothing was configured yet. Apply a file, or add a workspace and a provider."

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @display(
        description="In force here",
        label={"this one": "success", "an older one": "danger", "being read": "warning", "not served here": "info"},
    )
    def in_force(self, revision: Revision) -> str:
        if reload.status.revision < 0:
            return "not served here"
        if reload.status.error:
            return "an older one"
        return "this one" if reload.status.revision == revision.number else "being read"

    @display(description="Why")
    def trouble(self, revision: Revision) -> str:
        return reload.status.error or "–"
