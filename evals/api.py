"""Suites with their cases, and guardrails, over /api/."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from evals.models import Case, Guardrail, Run, Suite
from evals.queries import newest_scoring
from evals.reports import told
from gateway.core.money import dollars
from tenants.scoped.api import CheckedSerializer, ScopedReadViewSet, ScopedViewSet, WorkspaceField


class SuiteSerializer(CheckedSerializer):
    workspace = WorkspaceField()
    gate = serializers.DictField(required=False)

    class Meta:
        model = Suite
        fields = ["id", "workspace", "name", "prompt", "route", "gate"]


@extend_schema(tags=["Quality"])
class SuiteViewSet(ScopedViewSet):
    """Sets of cases that a prompt or a route must pass."""

    area = "evals"
    queryset = Suite.objects.select_related("workspace")
    serializer_class = SuiteSerializer
    filterset_fields = ["workspace__name", "name", "prompt", "route"]
    search_fields = ["name"]


class SuiteField(serializers.PrimaryKeyRelatedField[Suite]):
    """A suite of a workspace in which the person may change suites."""

    def get_queryset(self) -> Any:
        view = self.context.get("view")
        ids = view.access.workspace_ids("change", view.area) if view is not None else frozenset()
        rows = Suite.objects.select_related("workspace")
        return rows if ids is None else rows.filter(workspace__in=ids)


class CaseSerializer(CheckedSerializer):
    suite = SuiteField(queryset=Suite.objects.all())
    inputs = serializers.DictField(required=False)
    messages = serializers.ListField(child=serializers.DictField(), required=False, allow_null=True)
    assertions = serializers.ListField(child=serializers.DictField(), required=False)
    tags = serializers.ListField(child=serializers.CharField(max_length=80), required=False)

    class Meta:
        model = Case
        fields = ["id", "suite", "name", "inputs", "messages", "expected", "assertions", "tags", "position"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if self.instance is not None and "suite" in attrs and attrs["suite"] != self.instance.suite:
            raise serializers.ValidationError({"suite": "A case stays in its suite."})
        return super().validate(attrs)


@extend_schema(tags=["Quality"])
class CaseViewSet(ScopedViewSet):
    """Questions of suites, and what must hold of the answers."""

    area = "evals"
    workspace_path = "suite__workspace"
    queryset = Case.objects.select_related("suite")
    serializer_class = CaseSerializer
    filterset_fields = ["suite", "suite__name", "name"]
    search_fields = ["name"]


class GuardrailSerializer(CheckedSerializer):
    workspace = WorkspaceField()
    words = serializers.ListField(child=serializers.CharField(max_length=200), required=False, max_length=10_000)
    options = serializers.DictField(required=False)

    class Meta:
        model = Guardrail
        fields = ["id", "workspace", "kind", "action", "threshold", "words", "options", "position"]


@extend_schema(tags=["Policies"])
class GuardrailViewSet(ScopedViewSet):
    """Checks on what goes in and what comes out."""

    area = "workspace"
    queryset = Guardrail.objects.select_related("workspace")
    serializer_class = GuardrailSerializer
    filterset_fields = ["workspace__name", "kind", "action"]


class RunSerializer(serializers.ModelSerializer[Run]):
    workspace = serializers.CharField(source="workspace.name", read_only=True)
    prompt = serializers.CharField(source="version", read_only=True, allow_null=True, default=None)
    max_cost_usd = serializers.SerializerMethodField()
    verdict = serializers.SerializerMethodField(help_text="Of the newest scoring; empty before there is one.")

    class Meta:
        model = Run
        fields = [
            *(
                "id",
                "workspace",
                "suite",
                "digest",
                "prompt",
                "route",
                "repeat",
                "max_cost_usd",
                "verdict",
                "actor",
                "at",
            )
        ]

    def get_max_cost_usd(self, run: Run) -> str | None:
        return None if run.max_cost_nanos is None else dollars(run.max_cost_nanos)

    def get_verdict(self, run: Run) -> str:
        found = sorted(run.scorings.all(), key=lambda each: each.pk)
        return found[-1].verdict if found else ""


@extend_schema(tags=["Quality"])
class RunViewSet(ScopedReadViewSet):
    """Suites as they were run. Begun by `manage.py eval run`; never changed."""

    area = "evals"
    queryset = Run.objects.select_related("workspace", "version__prompt").prefetch_related("scorings")
    serializer_class = RunSerializer
    filterset_fields = ["workspace__name", "suite", "version__prompt__name", "version__number"]

    @extend_schema(responses=OpenApiTypes.OBJECT)
    @action(detail=True, methods=["get"])
    def result(self, request: Request, pk: str | None = None) -> Response:
        """The newest scoring in full: the verdict with its reasons, figures, and each answer with its scores."""
        scoring = newest_scoring(self.get_object())
        if scoring is None:
            raise NotFound("This run was never scored.")
        return Response(told(scoring))


ROUTES = (
    ("suites", SuiteViewSet),
    ("cases", CaseViewSet),
    ("guardrails", GuardrailViewSet),
    ("eval-runs", RunViewSet),
)
