"""Changes: who did what, from where, what was there before and after."""

import json
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from audit.admin.page import RecordAdmin
from audit.models import AuditEvent
from audit.search import EventSearch, page_of
from tenants.roles import Area

KINDS = (
    *("create", "change", "delete", "sign_in", "sign_in_failed", "sign_out", "export", "reveal", "erasure"),
    *("feedback", "retention.drop", "hold.place", "hold.release", "call.denied", "record.unreadable"),
)


@admin.register(AuditEvent)
class AuditEventAdmin(RecordAdmin):
    """The trail of changes of the workspaces that a person runs; superusers also see the installation's."""

    area: Area = "changes"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        search = EventSearch(request.GET)
        page = page_of(search.found(self.visible(request)), request.GET.get("before", ""))
        context = self.list_context(request, search, "changes") | {"title": "Changes", "page": page, "kinds": KINDS}
        return TemplateResponse(request, "audit/changes.html", context)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        event = self.get_object(request, object_id or "")
        if event is None:
            raise Http404
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": str(event),
            "event": event,
            "changes": [(name, shown(before), shown(after)) for name, before, after in event.changes],
            "told": json.loads(event.data) if event.data else {},
        }
        return TemplateResponse(request, "audit/change.html", context)


def shown(value: Any) -> str:
    """A value as text: what is empty is said to be."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
