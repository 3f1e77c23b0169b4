"""The admin classes of this project: Unfold's, limited to what a person's roles allow.

A class says its `area` and the lookup that leads to its workspace. All the rest follows: the list, the page of one
object (another tenant's is a 404), its history, autocompletes, the choices of every foreign key, and what a posted
form may name.
"""

import copy
from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Field, ForeignKey, JSONField, Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from simple_history.admin import SimpleHistoryAdmin
from simple_history.template_utils import HistoricalRecordContextHelper
from unfold.admin import ModelAdmin, StackedInline, TabularInline
from unfold.widgets import UnfoldAdminTextareaWidget

from tenants.models import Workspace
from tenants.queries import access_of
from tenants.roles import Access, Area, Verb
from tenants.scoped.rows import workspace_id_of


def access(request: HttpRequest) -> Access:
    """What this request's person may do; read once per request."""
    return access_of(request.user)


class Scoped:
    """What lists, pages and inlines share.

    area            whose column of the matrix decides
    workspace_path  lookup from a row to its workspace; "" when all workspaces share the row
    """

    area: Area = "platform"
    workspace_path: str = "workspace"

    def _may(self, request: HttpRequest, verb: Verb, row: Model | None = None) -> bool:
        if not request.user.is_active:
            return False
        if row is None or not self.workspace_path:
            return access(request).may(verb, self.area)
        return access(request).may(verb, self.area, workspace_id_of(row, self.workspace_path))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "view")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows = super().get_queryset(request)
        return self.limited(rows, access(request).workspace_ids("view", self.area))

    def limited(self, rows: QuerySet, workspace_ids: frozenset | None) -> QuerySet:
        """Only rows of these workspaces; None means all. Rows that all workspaces share are for all."""
        if workspace_ids is None:
            return rows
        if not self.workspace_path:
            return rows if workspace_ids else rows.none()
        return rows.filter(**{f"{self.workspace_path}__in": workspace_ids})

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> Any:
        """JSON in a box of a few lines, in a type in which brackets can be told apart."""
        if isinstance(db_field, JSONField) and "widget" not in kwargs:
            kwargs["widget"] = UnfoldAdminTextareaWidget(attrs={"rows": 3, "class": "tg-json", "spellcheck": "false"})
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def formfield_for_foreignkey(self, db_field: ForeignKey, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer, and accept, only what this person may see; a workspace only where they may change this kind of row."""
        target = db_field.remote_field.model
        if "queryset" not in kwargs:
            registered = self.admin_site.get_model_admin(target) if self.admin_site.is_registered(target) else None
            if target is Workspace and not access(request).everywhere:
                ids = access(request).workspace_ids("change", self.area)
                kwargs["queryset"] = Workspace.objects.filter(pk__in=ids)
            elif registered is not None:
                kwargs["queryset"] = registered.get_queryset(request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        target = db_field.remote_field.model
        if "queryset" not in kwargs and self.admin_site.is_registered(target):
            kwargs["queryset"] = self.admin_site.get_model_admin(target).get_queryset(request)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._may(request, "view", obj)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._may(request, "change")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._may(request, "change", obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._may(request, "change", obj)


class WholeRow:
    """A form that checks all of the row's constraints, also those over fields that the page does not offer."""

    def _post_clean(self) -> None:
        super()._post_clean()
        if self.errors:
            return
        try:
            self.instance.validate_constraints()
        except ValidationError as error:
            self.add_error(None, error.messages)


class ScopedAdmin(Scoped, ModelAdmin):
    """A page for rows without history. `next_step` tells an empty list's reader what to do."""

    list_filter_submit = True
    list_fullwidth = True
    list_per_page = 50
    warn_unsaved_form = True
    next_step = ""
    save_as_continue = False

    def _may(self, request: HttpRequest, verb: Verb, row: Model | None = None) -> bool:
        if isinstance(row, str):  # Unfold's actions ask by id
            row = self.get_object(request, row)
            if row is None:
                return False
        return super()._may(request, verb, row)

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        """What is not there, or another tenant's, is not found; Django would lead to the index with a message."""
        raise Http404

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict | None = None) -> HttpResponse:
        """Refused before a page that shows one row is asked for a row that is not there yet."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        return super().add_view(request, form_url, extra_context)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict | None = None) -> HttpResponse:
        """Not found comes before not allowed, so that a refusal says nothing about what is there."""
        if self.get_object(request, unquote(object_id)) is None:
            raise Http404
        return super().delete_view(request, object_id, extra_context)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "change")

    def get_form(self, request: HttpRequest, obj: Model | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form)(form.__name__, (WholeRow, form), {})

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        """A row never moves from one workspace to another."""
        fields = list(super().get_readonly_fields(request, obj))
        if obj is not None and self.workspace_path == "workspace" and "workspace" not in fields:
            fields.append("workspace")
        return fields

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Who works in one workspace only need not choose it."""
        initial = super().get_changeform_initial_data(request)
        if self.workspace_path == "workspace" and "workspace" not in initial:
            ids = access(request).workspace_ids("change", self.area)
            rows = Workspace.objects.all() if ids is None else Workspace.objects.filter(pk__in=ids)
            only = list(rows.values_list("pk", flat=True)[:2])
            if len(only) == 1:
                initial["workspace"] = str(only[0])
        return initial

    def render_change_form(self, request: HttpRequest, context: dict, *args: Any, **kwargs: Any) -> HttpResponse:
        """Where all is read-only there is no input for the page's conditions to look at."""
        row = context.get("original")
        if row is not None and not self.has_change_permission(request, row):
            context["adminform"].model_admin = copy.copy(self)
            context["adminform"].model_admin.conditional_fields = {}
        return super().render_change_form(request, context, *args, **kwargs)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet) -> None:
        """One by one, so that history and audit see each; and only where the role allows."""
        for row in queryset:
            if not self.has_delete_permission(request, row):
                raise PermissionDenied
        for row in queryset:
            self.delete_model(request, row)


class _History(HistoricalRecordContextHelper):
    """Differences in full: a prompt's change is of no use cut after 100 characters."""

    max_displayed_delta_change_chars = 2000


class ScopedHistoryAdmin(ScopedAdmin, SimpleHistoryAdmin):
    """A page for configuration: the same, with who changed what and when. History is read, never written back."""

    def get_historical_record_context_helper(self, request: HttpRequest, historical_record: Any) -> _History:
        return _History(self.model, historical_record)

    def has_change_history_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def revert_disabled(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return True

    def history_view(self, request: HttpRequest, object_id: str, extra_context: dict | None = None) -> HttpResponse:
        self._may_read_history(request, object_id)
        return super().history_view(request, object_id, extra_context)

    def history_form_view(
        self, request: HttpRequest, object_id: str, version_id: str, extra_context: dict | None = None
    ) -> HttpResponse:
        self._may_read_history(request, object_id)
        if request.method != "GET":  # the library would save a posted form without asking who may change the row
            raise PermissionDenied
        return super().history_form_view(request, object_id, version_id, extra_context)

    def _may_read_history(self, request: HttpRequest, object_id: str) -> None:
        """Raises Http404 unless the row is one of theirs. A deleted row's history is for superusers."""
        if not access(request).everywhere and self.get_object(request, object_id) is None:
            raise Http404


class ScopedTabularInline(Scoped, TabularInline):
    """Rows inside their parent's page. Permissions follow the parent, which has been checked by then."""

    extra = 0
    hide_title = True
    show_change_link = False

    def _may(self, request: HttpRequest, verb: Verb, row: Model | None = None) -> bool:
        parent = self.admin_site.get_model_admin(self.parent_model)
        if row is None:
            return parent._may(request, verb)
        return parent._may(request, verb, row if isinstance(row, self.parent_model) else None)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return TabularInline.get_queryset(self, request)


class ScopedStackedInline(ScopedTabularInline, StackedInline):
    """The same, one below the other."""

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return StackedInline.get_queryset(self, request)


__all__ = [
    "ScopedAdmin",
    "ScopedHistoryAdmin",
    "ScopedStackedInline",
    "ScopedTabularInline",
    "access",
]
