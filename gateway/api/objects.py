"""Providers, credentials, models, routes and redaction policies over /api/."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway import reload
from gateway.models import Credential, Provider, RedactionPolicy, Route, RouteTarget, ServedModel
from gateway.models.policy import DETECTABLE
from gateway.models.route import FALL_BACK_ON
from gateway.services.credentials import reseal, seal, try_credential
from gateway.services.routes import set_targets
from tenants.queries import access_of
from tenants.scoped.api import CheckedSerializer, ScopedViewSet, WorkspaceField
from tenants.scoped.permissions import IsMember

ProviderField = serializers.SlugRelatedField[Provider]
ModelField = serializers.SlugRelatedField[ServedModel]


class ProviderSerializer(CheckedSerializer):
    quirks = serializers.DictField(required=False)

    class Meta:
        model = Provider
        fields = ["id", "name", "kind", "base_url", "region", "api_version", "quirks", "is_enabled"]


@extend_schema(tags=["Traffic"])
class ProviderViewSet(ScopedViewSet):
    """Places that serve models. For superusers."""

    workspace_path = ""
    queryset = Provider.objects.all()
    serializer_class = ProviderSerializer
    filterset_fields = ["name", "kind", "is_enabled"]
    search_fields = ["name"]


class CredentialSerializer(CheckedSerializer):
    provider = ProviderField(slug_field="name", queryset=Provider.objects.all())
    secret = serializers.CharField(
        write_only=True, required=False, max_length=20_000, help_text="Never returned. Left out: stays as it is."
    )

    class Meta:
        model = Credential
        fields = ["id", "provider", "name", "secret", "hint", "position", "is_enabled", "set_at"]
        read_only_fields = ["hint", "set_at"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        self.given_secret = attrs.pop("secret", "")
        if self.instance is None and not self.given_secret:
            raise serializers.ValidationError({"secret": "Write the secret that the provider gave you."})
        if self.instance is not None and attrs.get("provider", self.instance.provider) != self.instance.provider:
            raise serializers.ValidationError({"provider": "A credential stays with its provider."})
        return super().validate(attrs)

    def create(self, validated_data: dict[str, Any]) -> Credential:
        credential = seal(credential=Credential(**validated_data), secret=self.given_secret)
        credential.save()
        return credential

    def update(self, instance: Credential, validated_data: dict[str, Any]) -> Credential:
        old_context = instance.seal_context
        for name, value in validated_data.items():
            setattr(instance, name, value)
        if self.given_secret:
            seal(credential=instance, secret=self.given_secret)
        else:
            reseal(credential=instance, old_context=old_context)
        instance.save()
        return instance


class TrialSerializer(serializers.Serializer[Any]):
    """How a try went."""

    ok = serializers.BooleanField()
    message = serializers.CharField()
    ms = serializers.IntegerField()


@extend_schema(tags=["Traffic"])
class CredentialViewSet(ScopedViewSet):
    """Providers' secrets: written, tried, never read. For superusers."""

    workspace_path = ""
    queryset = Credential.objects.select_related("provider")
    serializer_class = CredentialSerializer
    filterset_fields = ["provider__name", "name", "is_enabled"]

    @extend_schema(request=None, responses=TrialSerializer)
    @action(detail=True, methods=["post"], url_path="try", url_name="try")
    def try_it(self, request: Request, pk: str | None = None) -> Response:
        """Ask the provider one short question with it: a real call, a fraction of a cent."""
        return Response(TrialSerializer(try_credential(credential=self.get_object())).data)


class ModelSerializer(CheckedSerializer):
    provider = ProviderField(slug_field="name", queryset=Provider.objects.all())
    capabilities = serializers.ListField(
        child=serializers.CharField(max_length=40), required=False, allow_null=True, max_length=100
    )

    class Meta:
        model = ServedModel
        fields = [
            "id",
            "name",
            "provider",
            "upstream",
            "kind",
            "max_output_tokens",
            "context_tokens",
            "quality",
            "capabilities",
            "is_enabled",
        ]


@extend_schema(tags=["Traffic"])
class ModelViewSet(ScopedViewSet):
    """Models that may be called. Members read them; superusers change them."""

    area = "catalogue"
    workspace_path = ""
    queryset = ServedModel.objects.select_related("provider")
    serializer_class = ModelSerializer
    filterset_fields = ["name", "provider__name", "kind", "is_enabled"]
    search_fields = ["name", "upstream"]


class TargetSerializer(serializers.ModelSerializer[RouteTarget]):
    """One step of a chain; its place in the list is its place in the chain."""

    model = ModelField(slug_field="name", queryset=ServedModel.objects.all())
    conditions = serializers.ListField(child=serializers.DictField(), required=False)
    options = serializers.DictField(required=False)

    class Meta:
        model = RouteTarget
        fields = ["model", "weight", "first_byte_timeout_s", "timeout_s", "conditions", "options"]


class RouteSerializer(CheckedSerializer):
    fall_back_on = serializers.ListField(child=serializers.ChoiceField(choices=FALL_BACK_ON), required=False)
    options = serializers.DictField(required=False)
    targets = TargetSerializer(many=True, required=False)

    class Meta:
        model = Route
        fields = [
            "id",
            "name",
            "description",
            "strategy",
            "sticky_by",
            "retries",
            "fall_back_on",
            "cache_mode",
            "cache_ttl_s",
            "cache_threshold",
            "options",
            "is_enabled",
            "targets",
        ]

    def check_row(self, attrs: dict[str, Any]) -> None:
        super().check_row({name: value for name, value in attrs.items() if name != "targets"})

    def create(self, validated_data: dict[str, Any]) -> Route:
        targets = validated_data.pop("targets", [])
        route = Route.objects.create(**validated_data)
        set_targets(route=route, targets=targets)
        return route

    def update(self, instance: Route, validated_data: dict[str, Any]) -> Route:
        targets = validated_data.pop("targets", None)
        for name, value in validated_data.items():
            setattr(instance, name, value)
        instance.save()
        if targets is not None:
            set_targets(route=instance, targets=targets)
            instance._prefetched_objects_cache = {}  # type: ignore[attr-defined]
        return instance


@extend_schema(tags=["Traffic"])
class RouteViewSet(ScopedViewSet):
    """Names that applications call, and the chain behind each. Written targets replace the whole chain."""

    area = "catalogue"
    workspace_path = ""
    queryset = Route.objects.prefetch_related("targets__model")
    serializer_class = RouteSerializer
    filterset_fields = ["name", "strategy", "cache_mode", "is_enabled"]
    search_fields = ["name", "description"]


class RedactionSerializer(CheckedSerializer):
    workspace = WorkspaceField()
    detect = serializers.ListField(child=serializers.ChoiceField(choices=DETECTABLE), required=False)
    options = serializers.DictField(required=False)

    class Meta:
        model = RedactionPolicy
        fields = ["id", "workspace", "detect", "action", "on_error", "options"]


@extend_schema(tags=["Policies"])
class RedactionViewSet(ScopedViewSet):
    """What a workspace masks before anything leaves or is stored."""

    area = "workspace"
    queryset = RedactionPolicy.objects.select_related("workspace").order_by("workspace__name")
    serializer_class = RedactionSerializer
    filterset_fields = ["workspace__name", "action"]


class StatusSerializer(serializers.Serializer[Any]):
    """`saved` is the newest revision; `in_force` is what this process serves, null where it serves no calls."""

    saved = serializers.IntegerField()
    in_force = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(allow_blank=True)


class ConfigurationView(APIView):
    """Which configuration is saved, which one is in force, and why they differ if they do."""

    permission_classes = [IsMember]

    @extend_schema(tags=["Traffic"], responses=StatusSerializer)
    def get(self, request: Request) -> Response:
        running = reload.status.revision
        found = {
            "saved": reload.revision_in_database(),
            "in_force": None if running < 0 else running,
            "error": reload.status.error if access_of(request.user).everywhere else "",
        }
        return Response(StatusSerializer(found).data)


ROUTES = (
    ("providers", ProviderViewSet),
    ("credentials", CredentialViewSet),
    ("models", ModelViewSet),
    ("routes", RouteViewSet),
    ("redaction-policies", RedactionViewSet),
)
