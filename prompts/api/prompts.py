"""Prompts, their versions and what their channels serve, over /api/."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from django.core.exceptions import ValidationError as DjangoValidationError
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from prompts.models import Deployment, Experiment, Prompt, PromptVersion
from prompts.queries import current_deployment
from prompts.services.lint import warnings
from prompts.services.publishing import (
    Crossed,
    Words,
    change_weights,
    conclude_experiment,
    pause_experiment,
    point_channel,
    save_version,
    start_experiment,
    stop_experiment,
)
from prompts.services.publishing import undo as put_back
from prompts.services.reviewing import ask_for_review, give_review
from tenants.roles import Verb
from tenants.scoped.api import CheckedSerializer, Conflict, ScopedReadViewSet, ScopedViewSet, WorkspaceField, whole

T = TypeVar("T")
GUARDS = ("guard_error_rate", "guard_refusal_rate", "guard_cost", "guard_latency")


class PromptSerializer(CheckedSerializer):
    workspace = WorkspaceField()

    class Meta:
        model = Prompt
        fields = ["id", "workspace", "name", "description", "archived_at"]
        read_only_fields = ["archived_at"]


class PromptVersionSerializer(serializers.ModelSerializer[PromptVersion]):
    prompt = serializers.CharField(source="prompt.name", read_only=True)
    workspace = serializers.CharField(source="prompt.workspace.name", read_only=True)

    class Meta:
        model = PromptVersion
        fields = [
            "id",
            "workspace",
            "prompt",
            "number",
            "digest",
            "messages",
            "route",
            "parameters",
            "response_format",
            "tools",
            "input_schema",
            "resolved",
            "pins",
            "message",
            "created_at",
        ]


@extend_schema(tags=["Prompts"])
class PromptVersionViewSet(ScopedReadViewSet):
    """What a prompt said at one moment."""

    area = "prompts"
    workspace_path = "prompt__workspace"
    queryset = PromptVersion.objects.select_related("prompt__workspace")
    serializer_class = PromptVersionSerializer
    filterset_fields = ["prompt", "prompt__name", "number"]


class DeploymentSerializer(serializers.ModelSerializer[Deployment]):
    prompt = serializers.CharField(source="prompt.name", read_only=True)
    workspace = serializers.CharField(source="prompt.workspace.name", read_only=True)
    version = serializers.IntegerField(source="version.number", read_only=True, allow_null=True, default=None)

    class Meta:
        model = Deployment
        fields = [
            "id",
            "workspace",
            "prompt",
            "channel",
            "seq",
            "version",
            "action",
            "actor",
            "reason",
            "approvals",
            "at",
        ]


@extend_schema(tags=["Prompts"])
class DeploymentViewSet(ScopedReadViewSet):
    """Which version each channel serves since when."""

    area = "prompts"
    workspace_path = "prompt__workspace"
    queryset = Deployment.objects.select_related("prompt__workspace", "version")
    serializer_class = DeploymentSerializer
    filterset_fields = ["prompt", "prompt__name", "channel"]


class SavingSerializer(serializers.Serializer[Any]):
    """What a new version says."""

    messages = serializers.ListField(child=serializers.DictField(), min_length=1)
    route = serializers.CharField(required=False, allow_blank=True, default="", max_length=120)
    parameters = serializers.DictField(required=False, default=dict)
    response_format = serializers.DictField(required=False, allow_null=True, default=None)
    tools = serializers.ListField(child=serializers.DictField(), required=False, allow_null=True, default=None)
    input_schema = serializers.DictField(required=False, default=dict)
    message = serializers.CharField(max_length=300, help_text="What changed, and why.")


class DeployingSerializer(serializers.Serializer[Any]):
    """`version` null withdraws; `expected_seq` is the newest deployment that you have seen, to be told of a race."""

    channel = serializers.CharField(max_length=40, default="production")
    version = serializers.IntegerField(min_value=1, allow_null=True)
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=300)
    expected_seq = serializers.IntegerField(required=False, allow_null=True, default=None, min_value=0)


class UndoingSerializer(serializers.Serializer[Any]):
    channel = serializers.CharField(max_length=40, default="production")
    reason = serializers.CharField(max_length=300)
    expected_seq = serializers.IntegerField(required=False, allow_null=True, default=None, min_value=0)


class ReviewSerializer(serializers.Serializer[Any]):
    channel = serializers.CharField(max_length=40, default="production")
    version = serializers.IntegerField(min_value=1)
    decision = serializers.ChoiceField(choices=["approve", "change"])
    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=1000)


class ReviewAskingSerializer(serializers.Serializer[Any]):
    channel = serializers.CharField(max_length=40, default="production")
    version = serializers.IntegerField(min_value=1)
    note = serializers.CharField(required=False, allow_blank=True, default="", max_length=500)


class ArmSerializer(serializers.Serializer[Any]):
    name = serializers.RegexField(r"\A[\w.-]{1,40}\Z")
    version = serializers.IntegerField(min_value=1)
    weight = serializers.IntegerField(min_value=0, max_value=10_000, help_text="Basis points; all add up to 10000.")


class StartingSerializer(serializers.ModelSerializer[Experiment]):
    """The first arm is the control."""

    name = serializers.RegexField(r"\A[\w.-]{1,60}\Z")
    unit = serializers.RegexField(r"\A(user|session|key)\Z", default="user", help_text="user, session or key")
    arms = ArmSerializer(many=True)
    eligible = serializers.ListField(child=serializers.DictField(), required=False, max_length=10)

    class Meta:
        model = Experiment
        fields = ["name", "channel", "unit", "arms", "eligible", *GUARDS, "metric", "min_sample"]
        validators: ClassVar[list[Any]] = []


class ExperimentSerializer(serializers.ModelSerializer[Experiment]):
    unit = serializers.CharField(read_only=True)
    eligible = serializers.ListField(child=serializers.DictField(), read_only=True)
    prompt = serializers.CharField(source="prompt.name", read_only=True)
    workspace = serializers.CharField(source="prompt.workspace.name", read_only=True)

    class Meta:
        model = Experiment
        fields = [
            "id",
            "workspace",
            "prompt",
            "channel",
            "name",
            "unit",
            "arms",
            "eligible",
            *GUARDS,
            "metric",
            "min_sample",
            "state",
            "started_at",
            "ended_at",
            "outcome",
        ]


class ConcludingSerializer(serializers.Serializer[Any]):
    """`winner`: the version that is served from now on; left out: the control."""

    winner = serializers.IntegerField(min_value=1, required=False, allow_null=True, default=None)
    reason = serializers.CharField(max_length=300)


class StoppingSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=300)


class WeightsSerializer(serializers.Serializer[Any]):
    weights = serializers.DictField(child=serializers.IntegerField(min_value=0, max_value=10_000))


def acted(act: Callable[[], T]) -> T:
    """Do it; what the services refuse becomes a 400 by field, a lost race a 409."""
    try:
        return whole(act)
    except Crossed as error:
        raise Conflict(" ".join(error.messages)) from None
    except DjangoValidationError as error:
        told = error.message_dict if hasattr(error, "error_dict") else {"detail": error.messages}
        raise serializers.ValidationError(told) from None


@extend_schema(tags=["Prompts"])
class PromptViewSet(ScopedViewSet):
    """Named prompts. What one says stands in its versions, which never change."""

    area = "prompts"
    queryset = Prompt.objects.select_related("workspace")
    serializer_class = PromptSerializer
    filterset_fields = ["workspace__name", "name"]
    search_fields = ["name", "description"]
    http_method_names = ["get", "post", "patch", "put", "head", "options"]
    verbs: ClassVar[dict[str, Verb]] = {
        "deploy": "publish",
        "undo": "publish",
        "review": "review",
        "experiment": "publish",
    }

    @extend_schema(request=SavingSerializer, responses={201: PromptVersionSerializer})
    @action(detail=True, methods=["post"])
    def versions(self, request: Request, pk: str | None = None) -> Response:
        """Save the prompt's next version. Nothing is served by this."""
        prompt, said = self.get_object(), checked(SavingSerializer, request)
        message = said.pop("message")
        version = acted(lambda: save_version(prompt=prompt, words=Words(**said), message=message, author=request.user))
        resolved = version.resolved if version.resolved is not None else version.messages
        told = PromptVersionSerializer(version).data | {"warnings": warnings(Words(**said), resolved)}
        return Response(told, status=status.HTTP_201_CREATED)

    @extend_schema(request=DeployingSerializer, responses={201: DeploymentSerializer})
    @action(detail=True, methods=["post"])
    def deploy(self, request: Request, pk: str | None = None) -> Response:
        """Let a channel serve a version, or nothing. 409 where somebody else was first."""
        prompt, said = self.get_object(), checked(DeployingSerializer, request)
        number = said.pop("version")
        version = None if number is None else version_or_404(prompt, number)
        deployment = acted(
            lambda: point_channel(prompt=prompt, version=version, actor=request.user.get_username(), **said)
        )
        return Response(DeploymentSerializer(deployment).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=UndoingSerializer, responses={201: DeploymentSerializer})
    @action(detail=True, methods=["post"])
    def undo(self, request: Request, pk: str | None = None) -> Response:
        """Let a channel serve again what it served before. Needs a reason, and no new approval."""
        prompt, said = self.get_object(), checked(UndoingSerializer, request)
        deployment = acted(lambda: put_back(prompt=prompt, actor=request.user.get_username(), **said))
        return Response(DeploymentSerializer(deployment).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=StartingSerializer, responses={201: ExperimentSerializer})
    @action(detail=True, methods=["post"])
    def experiment(self, request: Request, pk: str | None = None) -> Response:
        """Serve several versions on a channel, each to its share of users, sessions or keys."""
        prompt, said = self.get_object(), checked(StartingSerializer, request)
        started = Experiment(prompt=prompt, **said)
        actor = request.user.get_username()
        acted(lambda: start_experiment(experiment=started, actor=actor))
        return Response(ExperimentSerializer(started).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=ReviewSerializer, responses={201: ReviewSerializer})
    @action(detail=True, methods=["post"])
    def review(self, request: Request, pk: str | None = None) -> Response:
        """Approve a version for a channel, or ask for changes."""
        prompt, said = self.get_object(), checked(ReviewSerializer, request)
        version = version_or_404(prompt, said["version"])
        reviewer = request.user.get_username()
        acted(lambda: give_review(**{**said, "version": version}, reviewer=reviewer))
        return Response(said, status=status.HTTP_201_CREATED)

    @extend_schema(request=ReviewAskingSerializer, responses={201: ReviewAskingSerializer})
    @action(detail=True, methods=["post"], url_path="ask-for-review")
    def ask(self, request: Request, pk: str | None = None) -> Response:
        """Ask for a version to be let onto a channel. Asked twice, the first request stands."""
        prompt, said = self.get_object(), checked(ReviewAskingSerializer, request)
        version = version_or_404(prompt, said["version"])
        asked_by = request.user.get_username()
        acted(lambda: ask_for_review(**{**said, "version": version}, asked_by=asked_by))
        return Response(said, status=status.HTTP_201_CREATED)

    @extend_schema(
        parameters=[OpenApiParameter("channel", str, description="production where left out")],
        responses=PromptVersionSerializer,
    )
    @action(detail=True, methods=["get"])
    def served(self, request: Request, pk: str | None = None) -> Response:
        """What a channel serves now, to be rendered by a client. The ETag is its digest, so asking again is cheap."""
        prompt, channel = self.get_object(), request.query_params.get("channel") or "production"
        deployment = current_deployment(prompt, channel)
        if deployment is None or deployment.version is None:
            raise NotFound(f"{prompt.name} serves nothing on {channel}.")
        etag = f'"{deployment.version.digest}"'
        head = {"ETag": etag, "Cache-Control": "private, no-cache"}
        asked = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
        if etag in asked or "*" in asked:
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers=head)
        return Response(PromptVersionSerializer(deployment.version).data, headers=head)


def checked(form: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    filled = form(data=request.data)
    filled.is_valid(raise_exception=True)
    return dict(filled.validated_data)


def version_or_404(prompt: Prompt, number: int) -> PromptVersion:
    version = prompt.versions.filter(number=number).select_related("prompt", "author").first()
    if version is None:
        raise NotFound(f"{prompt.name} has no version {number}.")
    return version


@extend_schema(tags=["Prompts"])
class ExperimentViewSet(ScopedReadViewSet):
    """Versions that share a channel. Started at /api/prompts/{id}/experiment/."""

    area = "prompts"
    workspace_path = "prompt__workspace"
    verbs: ClassVar[dict[str, Verb]] = dict.fromkeys(("conclude", "weights", "pause", "resume", "stop"), "publish")
    queryset = Experiment.objects.select_related("prompt__workspace")
    serializer_class = ExperimentSerializer
    filterset_fields = ["prompt", "prompt__name", "channel", "state"]

    @extend_schema(request=ConcludingSerializer, responses={201: DeploymentSerializer})
    @action(detail=True, methods=["post"])
    def conclude(self, request: Request, pk: str | None = None) -> Response:
        """End it, and serve the winner on its channel."""
        row, said = self.get_object(), checked(ConcludingSerializer, request)
        if row.state not in ("running", "paused"):
            raise Conflict("This experiment is over already.")
        deployment = acted(lambda: conclude_experiment(experiment=row, actor=request.user.get_username(), **said))
        return Response(DeploymentSerializer(deployment).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=ExperimentSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str | None = None) -> Response:
        """Serve everybody the control, until it goes on."""
        row = acted(lambda: pause_experiment(experiment=self.get_object(), is_paused=True))
        return Response(ExperimentSerializer(row).data)

    @extend_schema(request=None, responses=ExperimentSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str | None = None) -> Response:
        """Go on after a pause."""
        row = acted(lambda: pause_experiment(experiment=self.get_object(), is_paused=False))
        return Response(ExperimentSerializer(row).data)

    @extend_schema(request=StoppingSerializer, responses={201: DeploymentSerializer})
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str | None = None) -> Response:
        """End it, and serve everybody the control."""
        row, said = self.get_object(), checked(StoppingSerializer, request)
        deployment = acted(lambda: stop_experiment(experiment=row, actor=request.user.get_username(), **said))
        if deployment is None:
            raise Conflict("This experiment is over already.")
        return Response(DeploymentSerializer(deployment).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=WeightsSerializer, responses=ExperimentSerializer)
    @action(detail=True, methods=["post"])
    def weights(self, request: Request, pk: str | None = None) -> Response:
        """Other shares. Nobody who has seen a growing arm leaves it."""
        row, said = self.get_object(), checked(WeightsSerializer, request)
        if row.state not in ("running", "paused"):
            raise Conflict("This experiment is over already.")
        return Response(ExperimentSerializer(acted(lambda: change_weights(experiment=row, **said))).data)


ROUTES = (
    ("prompts", PromptViewSet),
    ("prompt-versions", PromptVersionViewSet),
    ("deployments", DeploymentViewSet),
    ("experiments", ExperimentViewSet),
)
