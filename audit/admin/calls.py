"""Calls: a list that is fast at any length, one call as a waterfall, sessions and runs grouped."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from audit.admin.groups import GROUPS, groups_of, one_group
from audit.admin.page import RecordAdmin
from audit.admin.waterfall import waterfall
from audit.fallbacks import fallback_page, fell_back
from audit.models import CallBody, CallRecord, Feedback, SavedFilter
from audit.origin import origin_of
from audit.queries import newest_scores, user_names
from audit.search import OPINIONS, OUTCOMES, CallSearch, Page, page_of
from audit.services.bodies import bodies_of, calls_that_say
from audit.services.export import export_calls
from audit.services.feedback import record_feedback
from audit.traffic import where_they_are
from tenants.scoped.admin import access

SHADOW = "shadow/"  # how the routes of copies begin; their callers cannot choose them


@admin.register(CallRecord)
class CallRecordAdmin(RecordAdmin):
    """The calls of the workspaces that a person belongs to."""

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        own = [
            path("save-search/", wrap(self.save_search), name="audit_callrecord_save_search"),
            path("forget-search/<int:pk>/", wrap(self.forget_search), name="audit_callrecord_forget_search"),
            path("export/<str:kind>/", wrap(self.export), name="audit_callrecord_export"),
            path("live/", wrap(self.live), name="audit_callrecord_live"),
            path("sessions/", wrap(self.groups), {"by": "sessions"}, name="audit_callrecord_sessions"),
            path("runs/", wrap(self.groups), {"by": "runs"}, name="audit_callrecord_runs"),
            path("session/", wrap(self.group), {"by": "sessions"}, name="audit_callrecord_session"),
            path("run/", wrap(self.group), {"by": "runs"}, name="audit_callrecord_run"),
            path("<str:call_id>/bodies/", wrap(self.bodies), name="audit_callrecord_bodies"),
            path("<str:call_id>/feedback/", wrap(self.feedback), name="audit_callrecord_feedback"),
        ]
        return own + super().get_urls()

    # --- The list -----------------------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        search = CallSearch(request.GET)
        visible, cursor = self.visible(request), request.GET.get("before", "")
        found = found_by(search, visible)
        scanned = ""
        if search.fields["text"]:
            page, scanned = self._that_say(request, search, found)
        elif search.fields["fallback"]:
            page = fallback_page(search, found, visible, cursor)
        else:
            page = page_of(where_they_are(found, search.having), cursor)
        names, scores = user_names(page.rows), newest_scores(page.rows)
        for call in page.rows:
            call.user = names.get((call.workspace_id, call.subject), (call.subject or "")[:8])
            call.score = scores.get(call.pk)
        context = self.list_context(request, search, "calls") | {
            "title": "Calls",
            "page": page,
            "outcomes": OUTCOMES,
            "opinions": OPINIONS,
            "scanned_back_to": scanned,
            "may_read_bodies": access(request).may("view", "bodies"),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "audit/calls.html", context)

    def _that_say(self, request: HttpRequest, search: CallSearch, found: Any) -> tuple[Page[CallRecord], Any]:
        """Calls whose stored bodies hold the text; only where this person may read bodies, and told to the audit."""
        ids = access(request).workspace_ids("view", "bodies")
        visible = found if ids is None else found.filter(workspace_id__in=[str(each) for each in ids])
        return calls_that_say(
            search.fields["text"], visible, cursor=request.GET.get("before", ""), origin=origin_of(request)
        )

    def live(self, request: HttpRequest) -> HttpResponse:
        """The calls as they end. The page is empty; a websocket fills it (gateway.consumers.calls)."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = self.list_context(request, CallSearch(request.GET), "calls") | {
            "title": "Live calls",
            "outcomes": OUTCOMES,
            "call_url": reverse("admin:audit_callrecord_change", args=["CALL"]),
        }
        return TemplateResponse(request, "audit/live.html", context)

    # --- One call ---------------------------------------------------------------------------------------------

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        call = self._call(request, object_id or "")
        return self._page_of(request, call)

    def _call(self, request: HttpRequest, call_id: str) -> CallRecord:
        call = self.get_object(request, call_id)
        if call is None:
            raise Http404
        return call

    def _may_judge(self, request: HttpRequest, call: CallRecord) -> bool:
        """May this person read what was said, and so say what they think of it?"""
        return access(request).everywhere or access(request).may("view", "bodies", int_or_none(call))

    def _page_of(self, request: HttpRequest, call: CallRecord, **shown: Any) -> HttpResponse:
        rest = call.details
        user = user_names([call]).get((call.workspace_id, call.subject), call.subject)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Call {call.pk}",
            "call": call,
            "user": request.user,
            "end_user": user,
            "rest": rest,
            "waterfall": waterfall(call, rest),
            "copy_of": rest.get("metadata", {}).get("shadow_of", "") if call.route.startswith(SHADOW) else "",
            "trace_url": settings.TRACE_URL.replace("{trace_id}", rest.get("trace_id", ""))
            if rest.get("trace_id")
            else "",
            "tokens": token_lines(call, rest),
            "feedback": list(Feedback.objects.filter(call_id=call.pk)[:50]),
            "has_bodies": CallBody.objects.filter(call_id=call.pk).exists(),
            "may_read_bodies": self._may_judge(request, call),
            "neighbours": reverse("admin:audit_callrecord_changelist"),
            **shown,
        }
        return TemplateResponse(request, "audit/call.html", context)

    def bodies(self, request: HttpRequest, call_id: str) -> HttpResponse:
        """Show what was said. A POST, because looking leaves a trace in the audit."""
        call = self._call(request, call_id)
        if not self._may_judge(request, call):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseRedirect(reverse("admin:audit_callrecord_change", args=[call.pk]))
        return self._page_of(request, call, bodies=bodies_of(call=call, origin=origin_of(request)))

    def feedback(self, request: HttpRequest, call_id: str) -> HttpResponse:
        """Keep what this person thinks of the answer. For those who may read what was said; told to the audit."""
        call = self._call(request, call_id)
        if not self._may_judge(request, call):
            raise PermissionDenied
        if request.method == "POST":
            try:
                record_feedback(
                    call_id=call.pk,
                    workspace_id=call.workspace_id,
                    by=origin_of(request),
                    score=float(request.POST["score"]) if request.POST.get("score") else None,
                    label=request.POST.get("label", ""),
                    comment=request.POST.get("comment", ""),
                )
            except ValueError as error:
                messages.error(request, str(error))
        return HttpResponseRedirect(reverse("admin:audit_callrecord_change", args=[call.pk]))

    # --- Sessions and runs ------------------------------------------------------------------------------------

    def groups(self, request: HttpRequest, by: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        search = CallSearch(request.GET)
        context = self.list_context(request, search, "calls") | {
            "title": GROUPS[by][2],
            "groups": groups_of(search.found(self.visible(request)), by),
            "by": by,
        }
        return TemplateResponse(request, "audit/groups.html", context)

    def group(self, request: HttpRequest, by: str) -> HttpResponse:
        """One session or run, by its name and workspace."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        _, field, _ = GROUPS[by]
        name = request.GET.get(field, "")
        search = CallSearch({field: name, "workspace": request.GET.get("workspace", ""), "period": "all"})
        found = one_group(search.found(self.visible(request))) if name else None
        if found is None:
            raise Http404
        context = self.list_context(request, search, "calls") | {
            "title": f"{field.capitalize()} {name}",
            "name": name,
            "by": by,
            "kind": field,
            "group": found,
        }
        return TemplateResponse(request, "audit/group.html", context)

    # --- Saved searches and exports ------------------------------------------------------------------------------

    def save_search(self, request: HttpRequest) -> HttpResponse:
        """Keep a search; shared, it is seen by whoever may see the calls of the workspace that it names."""
        search = CallSearch(request.POST)
        name = request.POST.get("name", "").strip()[:80]
        is_shared = "shared" in request.POST and bool(search.fields["workspace"])
        if request.method == "POST" and "shared" in request.POST and not is_shared:
            messages.warning(request, "Kept for you alone: choose a workspace, to share the search in it.")
        if request.method == "POST" and name:
            SavedFilter.objects.update_or_create(
                owner=request.user,
                page="calls",
                name=name,
                defaults={"query": search.query[:2000], "is_shared": is_shared},
            )
        return HttpResponseRedirect(f"{reverse('admin:audit_callrecord_changelist')}?{search.query}")

    def forget_search(self, request: HttpRequest, pk: int) -> HttpResponse:
        if request.method == "POST":
            SavedFilter.objects.filter(pk=pk, owner=request.user).delete()
        return HttpResponseRedirect(reverse("admin:audit_callrecord_changelist"))

    def export(self, request: HttpRequest, kind: str) -> HttpResponse:
        if not self.has_view_permission(request) or kind not in ("csv", "jsonl"):
            raise PermissionDenied
        search = CallSearch(request.GET)
        return export_calls(
            found=found_by(search, self.visible(request)), kind=kind, query=search.query, origin=origin_of(request)
        )


def found_by(search: CallSearch, workspace_ids: frozenset[Any] | None) -> QuerySet[CallRecord]:
    """The calls of these workspaces that fit, also those that are known by their attempts alone."""
    found = search.found(workspace_ids)
    return fell_back(found, search.fields["fallback"]) if search.fields["fallback"] else found


def int_or_none(call: CallRecord) -> Any:
    """The workspace's id as the roles know it."""
    return int(call.workspace_id) if call.workspace_id.isdigit() else call.workspace_id or None


def token_lines(call: CallRecord, rest: dict[str, Any]) -> list[tuple[str, int]]:
    """(class, tokens) of what the provider counted; parts are within input and output."""
    lines = [("Input", call.input_tokens), ("of it from the provider's cache", call.cached_tokens)]
    lines += [("of it written to that cache", rest.get("cache_write_tokens", 0)), ("Output", call.output_tokens)]
    lines += [("of it reasoning", rest.get("reasoning_tokens", 0))]
    lines += [(name.replace("_", " "), count) for name, count in rest.get("tokens", {}).items()]
    return [line for line in lines if line[1] or line[0] in ("Input", "Output")]
