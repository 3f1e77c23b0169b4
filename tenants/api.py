"""Workspaces, teams, members, API keys and rate limits over /api/."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.models import ApiKey, Member, RateLimit, Team, Workspace
from tenants.models.workspaces import USER_MOST
from tenants.scoped.api import CheckedSerializer, ScopedViewSet, WorkspaceField, whole
from tenants.services.keys import LONGEST_OVERLAP, KeyTerms, issue_key, revoke_key, rotate_key
from tenants.services.members import find_person, remove_member, set_role


class WorkspaceSerializer(CheckedSerializer):
    blocked_users = serializers.ListField(
        child=serializers.CharField(max_length=USER_MOST),
        required=False,
        help_text="End users whose calls are refused, by the name that calls give in `user`.",
    )

    class Meta:
        model = Workspace
        fields = [
            "id",
            "name",
            "timezone",
            "is_active",
            "on_unpriced",
            "on_budgets_unavailable",
            "on_limits_unavailable",
            "on_audit_unavailable",
            "records_days",
            "bodies_days",
            "store_bodies",
            "blocked_users",
            "created_at",
        ]
        read_only_fields = ["created_at"]


@extend_schema(tags=["Access"])
class WorkspaceViewSet(ScopedViewSet):
    """Tenants. Superusers make and delete them; owners and admins change their own."""

    area = "workspace"
    workspace_path = "pk"
    queryset = Workspace.objects.all()
    serializer_class = WorkspaceSerializer
    filterset_fields = ["name", "is_active"]
    search_fields = ["name"]

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        self._superusers_only()
        return super().create(request, *args, **kwargs)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        self.get_object()
        self._superusers_only()
        return super().destroy(request, *args, **kwargs)

    def _superusers_only(self) -> None:
        if not self.access.everywhere:
            raise PermissionDenied("Only superusers make and delete workspaces.")


class TeamSerializer(CheckedSerializer):
    workspace = WorkspaceField()

    class Meta:
        model = Team
        fields = ["id", "workspace", "name"]


@extend_schema(tags=["Access"])
class TeamViewSet(ScopedViewSet):
    """Groups within a workspace that keys and budgets belong to."""

    area = "workspace"
    queryset = Team.objects.select_related("workspace")
    serializer_class = TeamSerializer
    filterset_fields = ["workspace__name", "name"]
    search_fields = ["name"]


class MemberSerializer(CheckedSerializer):
    workspace = WorkspaceField()
    user = serializers.CharField(source="user.username", help_text="User name; on writing also the e-mail address.")

    class Meta:
        model = Member
        fields = ["id", "workspace", "user", "role"]

    def check_row(self, attrs: dict[str, Any]) -> None:
        """The service checks: it knows who may give which role."""


@extend_schema(tags=["Access"])
class MemberViewSet(ScopedViewSet):
    """Who belongs to a workspace, and as what. Nobody gives more than they hold."""

    area = "members"
    queryset = Member.objects.select_related("workspace", "user")
    serializer_class = MemberSerializer
    filterset_fields = ["workspace__name", "role", "user__username"]
    search_fields = ["user__username", "user__email"]

    def perform_create(self, serializer: Any) -> None:
        data = serializer.validated_data
        person = find_person(name_or_email=data["user"]["username"])
        role = data.get("role", Member.Role.VIEWER)
        if Member.objects.filter(workspace=data["workspace"], user=person).exists():
            raise serializers.ValidationError({"user": ["This person is a member already; change that row."]})
        serializer.instance = set_role(workspace=data["workspace"], user=person, role=role, by=self.access)

    def perform_update(self, serializer: Any) -> None:
        member, data = serializer.instance, serializer.validated_data
        if "user" in data and data["user"]["username"] not in (member.user.username, member.user.email):
            raise serializers.ValidationError({"user": ["A member stays the same person; add the other one."]})
        serializer.instance = set_role(
            workspace=member.workspace, user=member.user, role=data.get("role", member.role), by=self.access
        )

    def perform_destroy(self, instance: Member) -> None:
        remove_member(member=instance, by=self.access)


class TeamField(serializers.CharField):
    """A team of the key's own workspace, by name; null for none."""

    def to_representation(self, value: Any) -> str:
        return str(value.name)


class KeySerializer(CheckedSerializer):
    workspace = WorkspaceField()
    team = TeamField(required=False, allow_null=True, max_length=80)
    allowed_models = serializers.ListField(
        child=serializers.CharField(max_length=200), required=False, allow_null=True, max_length=1000
    )
    allowed_ips = serializers.ListField(child=serializers.CharField(max_length=64), required=False, max_length=1000)
    secret = serializers.CharField(
        write_only=True, required=False, min_length=16, max_length=500, help_text="Left out: a random one is made."
    )
    is_usable = serializers.BooleanField(read_only=True)

    class Meta:
        model = ApiKey
        fields = [
            "id",
            "workspace",
            "team",
            "name",
            "hint",
            "allowed_models",
            "allowed_ips",
            "expires_at",
            "secret",
            "is_usable",
            "created_at",
            "revoked_at",
            "previous_until",
        ]
        read_only_fields = ["hint", "created_at", "revoked_at", "previous_until"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if self.instance is not None and "secret" in attrs:
            raise serializers.ValidationError({"secret": "A secret is changed by rotating the key."})
        if attrs.get("team"):
            workspace = attrs["workspace"] if self.instance is None else self.instance.workspace
            team = Team.objects.filter(workspace=workspace, name=attrs["team"]).first()
            if team is None:
                raise serializers.ValidationError({"team": "The workspace has no team of this name."})
            attrs["team"] = team
        elif "team" in attrs:
            attrs["team"] = None
        if attrs.get("allowed_models") == []:
            attrs["allowed_models"] = None
        return super().validate(attrs)


class IssuedKeySerializer(KeySerializer):
    """A key and, this once, its secret."""

    secret = serializers.CharField(read_only=True)


class RotationSerializer(serializers.Serializer[Any]):
    overlap_hours = serializers.IntegerField(
        min_value=0, max_value=LONGEST_OVERLAP // timedelta(hours=1), default=24, help_text="0 closes the old secret."
    )


@extend_schema_view(create=extend_schema(responses={201: IssuedKeySerializer}))
@extend_schema(tags=["Access"])
class KeyViewSet(ScopedViewSet):
    """Keys of applications. A key is revoked, never deleted: calls in the past refer to it."""

    area = "keys"
    queryset = ApiKey.objects.select_related("workspace", "team")
    serializer_class = KeySerializer
    filterset_fields = {
        "workspace__name": ["exact"],
        "name": ["exact"],
        "revoked_at": ["isnull"],
        "team__name": ["exact"],
    }
    search_fields = ["name", "hint"]
    http_method_names = ["get", "post", "patch", "put", "head", "options"]

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Issue a key. The answer holds the secret: this once, it is stored nowhere."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        terms = KeyTerms(
            team=data.get("team"),
            allowed_models=data.get("allowed_models"),
            allowed_ips=data.get("allowed_ips", ()),
            expires_at=data.get("expires_at"),
        )
        issued = whole(
            lambda: issue_key(
                workspace=data["workspace"], name=data["name"], terms=terms, secret=data.get("secret", "")
            )
        )
        return self._with_secret(issued.key, issued.secret, status.HTTP_201_CREATED)

    @extend_schema(request=RotationSerializer, responses=IssuedKeySerializer)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str | None = None) -> Response:
        """Give the key a new secret, returned this once; the old one opens until the overlap ends."""
        key, form = self.get_object(), RotationSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        issued = rotate_key(key=key, overlap=timedelta(hours=form.validated_data["overlap_hours"]))
        return self._with_secret(issued.key, issued.secret, status.HTTP_200_OK)

    @extend_schema(request=None, responses=KeySerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str | None = None) -> Response:
        """Close the key for good. Revoking twice changes nothing."""
        revoke_key(key=self.get_object())
        return Response(self.get_serializer(self.get_object()).data)

    def _with_secret(self, key: ApiKey, secret: str, code: int) -> Response:
        key.secret = secret  # type: ignore[attr-defined]
        return Response(IssuedKeySerializer(key, context=self.get_serializer_context()).data, status=code)


class LimitSerializer(CheckedSerializer):
    workspace = WorkspaceField()

    class Meta:
        model = RateLimit
        fields = ["id", "workspace", "of", "match", "unit", "amount", "per", "burst"]


@extend_schema(tags=["Access"])
class LimitViewSet(ScopedViewSet):
    """How much, how fast, for whom."""

    area = "keys"
    queryset = RateLimit.objects.select_related("workspace")
    serializer_class = LimitSerializer
    filterset_fields = ["workspace__name", "of", "match", "unit"]
    search_fields = ["match"]


ROUTES = (
    ("workspaces", WorkspaceViewSet),
    ("teams", TeamViewSet),
    ("members", MemberViewSet),
    ("keys", KeyViewSet),
    ("limits", LimitViewSet),
)
