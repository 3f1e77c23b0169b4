"""What the pages of records share: nobody changes anything on them, and each person sees their own workspaces."""

from collections.abc import Collection
from itertools import islice
from typing import Any
from urllib.parse import parse_qs

from django.db.models import Model
from django.http import HttpRequest

from audit.models import SavedFilter
from audit.search import PERIODS, Search
from tenants.queries import workspaces_for
from tenants.roles import Area
from tenants.scoped.admin import ScopedAdmin, access

SHOWN = 20  # saved searches of one's own, and as many of others
SHARED_READ = 1000


class RecordAdmin(ScopedAdmin):
    """A page of records: read, never written."""

    area: Area = "calls"
    workspace_path = "workspace_id"
    is_left_out_of_search = True  # the command palette would scan a million rows
    search_fields: list[str] = []

    def _may(self, request: HttpRequest, verb: Any, row: Model | None = None) -> bool:
        if not request.user.is_active:
            return False
        return access(request).may(verb, self.area)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The row, if it lies in a workspace that this person may see."""
        row = self.model.objects.filter(pk=object_id).first()
        ids = self.visible(request)
        return row if row is not None and (ids is None or row.workspace_id in {str(each) for each in ids}) else None

    def visible(self, request: HttpRequest) -> frozenset[Any] | None:
        return access(request).workspace_ids("view", self.area)

    def list_context(self, request: HttpRequest, search: Search, page: str) -> dict[str, Any]:
        """What every list of records shows around its rows."""
        names = list(workspaces_for(request.user, "view", self.area).values_list("name", flat=True)[:500])
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "search": search,
            "fields": search.fields,
            "periods": [(value, title) for value, (title, _) in PERIODS.items()],
            "workspaces": names,
            "saved": saved_filters(request, page, frozenset(names)),
            "page_name": page,
        }


def saved_filters(request: HttpRequest, page: str, workspaces: Collection[str]) -> list[SavedFilter]:
    """One's own, and those that others share in workspaces of these names: a search may tell who is looked for."""
    mine = SavedFilter.objects.filter(page=page, owner=request.user)
    shared = SavedFilter.objects.filter(page=page, is_shared=True).exclude(owner=request.user)
    seen = (each for each in shared[:SHARED_READ] if parse_qs(each.query).get("workspace", [""])[0] in workspaces)
    return [*mine[:SHOWN], *islice(seen, SHOWN)]
