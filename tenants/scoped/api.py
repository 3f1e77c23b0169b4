"""What every app's API builds on: who is asking, what they may see and change, and rows checked as the admin does."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import IntegrityError, transaction
from django.db.models import Model, ProtectedError, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers, status, viewsets
from rest_framework.exceptions import APIException
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import exception_handler

from gateway.core.money import dollars, nanos
from tenants.models import Workspace
from tenants.queries import access_of, workspaces_for
from tenants.roles import Access, Area
from tenants.scoped.permissions import RolePermission

T = TypeVar("T")
MOST_NANOS = 2**63 - 1


class Conflict(APIException):
    """The request is well formed, but something else stands in its way."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = "Something else stands in the way."
    default_code = "conflict"


class Pages(PageNumberPagination):
    """50 rows a page; `page_size` up to 500."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 500


class Scoped(viewsets.GenericViewSet[Any]):
    """Rows of the workspaces in which the person may see this area; any other row is not found.

    area            whose column of the matrix decides
    workspace_path  lookup from a row to its workspace; "" when all workspaces share the row
    """

    area: Area = "platform"
    workspace_path = "workspace"
    permission_classes = [RolePermission]
    pagination_class = Pages

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows.none()
        ids = self.access.workspace_ids("view", self.area)
        if ids is None or (not self.workspace_path and ids):
            return rows
        return rows.filter(**{f"{self.workspace_path}__in": ids}) if self.workspace_path else rows.none()

    @property
    def access(self) -> Access:
        return access_of(self.request.user)


class ScopedViewSet(Scoped, viewsets.ModelViewSet[Any]):
    """List, make, read, change and delete, each in one transaction."""

    http_method_names = ["get", "post", "patch", "put", "delete", "head", "options"]

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return whole(lambda: super(ScopedViewSet, self).create(request, *args, **kwargs))

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return whole(lambda: super(ScopedViewSet, self).update(request, *args, **kwargs))

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return whole(lambda: super(ScopedViewSet, self).destroy(request, *args, **kwargs))


class ScopedReadViewSet(Scoped, viewsets.ReadOnlyModelViewSet[Any]):
    """List and read."""


def whole(act: Callable[[], T]) -> T:
    """Do it in one transaction; what the database refuses becomes a 409 that says why."""
    try:
        with transaction.atomic():
            return act()
    except ProtectedError as error:
        names = sorted({str(row._meta.verbose_name_plural) for row in error.protected_objects})
        raise Conflict(f"It is still used by {', '.join(names)}; change or delete those first.") from None
    except IntegrityError:
        raise Conflict("Another change got in between, or this breaks a rule of the database; read it again.") from None


class WorkspaceField(serializers.SlugRelatedField[Workspace]):
    """A workspace by its name; on writing, only one in which the person may change this area."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("queryset", Workspace.objects.all())
        super().__init__(slug_field="name", **kwargs)

    def get_queryset(self) -> QuerySet[Workspace]:
        view, request = self.context.get("view"), self.context.get("request")
        if view is None or request is None:
            return Workspace.objects.none()
        return workspaces_for(request.user, "change", view.area)


@extend_schema_field({"type": "string", "format": "decimal", "example": "12.50"})
class DollarsField(serializers.Field[int, Any, str, Any]):
    """An amount of US dollars as a decimal string, kept as nano-dollars. Numbers are refused: floats lose money."""

    default_error_messages = {
        "invalid": 'Write dollars as a decimal string, like "12.50".',
        "negative": "An amount of dollars is not negative.",
        "too_much": "This is more than the gateway can count.",
        "too_fine": 'The finest amount is one nano-dollar, "0.000000001".',
    }

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, str) or len(data) > 40:
            self.fail("invalid")
        try:
            amount = nanos(data)
        except (ValueError, ArithmeticError):
            self.fail("invalid")
        if amount < 0:
            self.fail("negative")
        if amount > MOST_NANOS:
            self.fail("too_much")
        return amount

    def to_representation(self, value: int) -> str:
        return dollars(value)


class CheckedSerializer(serializers.ModelSerializer[Any]):
    """A row that passes the model's own checks and constraints before it is written; its workspace never changes."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = super().validate(attrs)
        if self.instance is not None and "workspace" in attrs and attrs["workspace"] != self.instance.workspace:
            raise serializers.ValidationError({"workspace": "A row stays in its workspace."})
        self.check_row(attrs)
        return attrs

    def check_row(self, attrs: dict[str, Any]) -> None:
        """Raises ValidationError, by field, for what the model refuses."""
        model: Any = self.Meta.model
        known = {field.name for field in model._meta.fields}
        values = {name: value for name, value in attrs.items() if name in known}
        row = model(**values) if self.instance is None else _changed(self.instance, values)
        skipped = [field.name for field in model._meta.fields if not field.editable]
        try:
            row.clean_fields(exclude=skipped)
            row.clean()
            row.validate_unique(exclude=skipped)
            row.validate_constraints()
        except DjangoValidationError as error:
            raise serializers.ValidationError(self._named(error)) from None

    def _named(self, error: DjangoValidationError) -> dict[str, list[str]]:
        """The errors under the names that the API uses for the model's fields."""
        names = {field.source: name for name, field in self.fields.items()}
        by_field = error.message_dict if hasattr(error, "error_dict") else {"__all__": error.messages}
        return {
            "non_field_errors" if field == "__all__" else names.get(field, field): messages
            for field, messages in by_field.items()
        }


def _changed(row: Model, values: dict[str, Any]) -> Model:
    """A copy of the row with these values, so that checking leaves the row itself alone."""
    copy = type(row)(**{field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields})
    copy._state.adding, copy._state.db = False, row._state.db
    for name, value in values.items():
        setattr(copy, name, value)
    return copy


def handle_error(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's handler, which also answers the models' and services' own ValidationError with a 400."""
    if isinstance(error, DjangoValidationError):
        detail = error.message_dict if hasattr(error, "error_dict") else {"non_field_errors": error.messages}
        error = serializers.ValidationError(detail)
    return exception_handler(error, context)
