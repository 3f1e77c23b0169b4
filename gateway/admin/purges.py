"""Forgetting kept answers, and who did it when."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from gateway.models import CachePurge
from gateway.services.cache import erase_shared
from tenants.scoped.admin import ScopedHistoryAdmin
from tenants.scoped.filters import ScopedRelatedFilter


@admin.register(CachePurge)
class CachePurgeAdmin(ScopedHistoryAdmin):
    """Saving one forgets the answers at once. What was purged stays listed; it can't be taken back."""

    area = "workspace"
    list_display = ["at", "workspace", "what", "name"]
    list_filter = [("workspace", ScopedRelatedFilter), ("what", ChoicesDropdownFilter)]
    list_select_related = ["workspace"]
    search_fields = ["name", "workspace__name"]
    autocomplete_fields = ["workspace"]
    next_step = "Add one to forget what is kept of a workspace, or of one of its routes, prompts or end users."
    fieldsets = [(None, {"fields": ["workspace", ("what", "name")]})]
    conditional_fields = {"name": "what != 'all'"}

    def has_change_permission(self, request: HttpRequest, obj: CachePurge | None = None) -> bool:
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: CachePurge | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: CachePurge, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        erase_shared(obj)
