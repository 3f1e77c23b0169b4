"""Legal holds: while one stands, nothing of its workspace is deleted."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from audit.models import LegalHold
from tenants.scoped.admin import ScopedAdmin


@admin.register(LegalHold)
class LegalHoldAdmin(ScopedAdmin):
    """Read here; placed and released by `manage.py audit hold` and `release`, which leave a trace."""

    area = "platform"
    workspace_path = ""
    list_display = ["workspace", "reason", "placed_by", "placed_at", "released_by", "released_at"]
    list_filter = ["released_at"]
    search_fields = ["workspace", "reason"]
    next_step = "No hold was ever placed. `manage.py audit hold --workspace W --reason …` places one."

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
