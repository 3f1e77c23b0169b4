"""Budgets, prices and alert channels over /api/. Money is a decimal string in US dollars."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from budgets.models import AlertChannel, Budget, Delivery, Price, Raise
from budgets.services import raises
from gateway.core.egress import EgressRefused
from gateway.core.money import dollars
from tenants.models import Workspace
from tenants.queries import workspaces_for
from tenants.roles import Verb
from tenants.scoped.api import CheckedSerializer, DollarsField, ScopedReadViewSet, ScopedViewSet, WorkspaceField
from tenants.services.posting import check_address


class BudgetSerializer(CheckedSerializer):
    workspace = WorkspaceField()
    limit_usd = DollarsField(source="limit_nanos", required=False, allow_null=True)
    alert_at = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=100), required=False, max_length=10
    )

    class Meta:
        model = Budget
        fields = [
            "id",
            "workspace",
            "name",
            "of",
            "match",
            "per",
            "limit_usd",
            "limit_tokens",
            "mode",
            "alert_at",
            "afford",
        ]


@extend_schema(tags=["Money"])
class BudgetViewSet(ScopedViewSet):
    """Caps on spend: in dollars or in tokens, one of the two. All budgets that match a call must allow it."""

    area = "money"
    queryset = Budget.objects.select_related("workspace")
    serializer_class = BudgetSerializer
    filterset_fields = ["workspace__name", "name", "of", "match", "mode"]
    search_fields = ["name", "match"]


class RaiseSerializer(serializers.ModelSerializer[Raise]):
    workspace = serializers.CharField(source="workspace.name", read_only=True)
    budget_name = serializers.CharField(source="budget.name", read_only=True)
    asked = serializers.SerializerMethodField(help_text="Dollars as a decimal string, or tokens; null: not said.")
    granted = serializers.SerializerMethodField(help_text="Dollars as a decimal string, or tokens.")

    class Meta:
        model = Raise
        fields = [
            *("id", "workspace", "budget", "budget_name", "subject", "subject_name", "asked_by", "reason", "asked"),
            *("asked_at", "state", "granted", "starts_at", "ends_at", "decided_by", "decided_at", "note"),
        ]

    def get_asked(self, row: Raise) -> str | None:
        return None if row.asked_amount is None else amount_text(row, row.asked_amount)

    def get_granted(self, row: Raise) -> str:
        return amount_text(row, row.amount)


def amount_text(row: Raise, amount: int) -> str:
    return dollars(amount) if row.budget.limit_nanos is not None else str(amount)


class AmountSerializer(serializers.Serializer[Any]):
    """An amount in the budget's unit."""

    amount_usd = DollarsField(required=False)
    amount_tokens = serializers.IntegerField(required=False, min_value=1)

    def amount_for(self, budget: Budget) -> int | None:
        """Raises ValidationError for an amount in the other unit."""
        mine, other = ("amount_usd", "amount_tokens")[:: 1 if budget.limit_nanos is not None else -1]
        if other in self.validated_data:
            raise serializers.ValidationError({other: f"This budget is counted the other way: write {mine}."})
        amount: int | None = self.validated_data.get(mine)
        return amount


class AskingSerializer(AmountSerializer):
    """`subject` is the name of a team or key, an end user, a model or a provider; needed where the budget names none."""

    budget = serializers.PrimaryKeyRelatedField(queryset=Budget.objects.none())
    subject = serializers.CharField(required=False, default="", max_length=200)
    reason = serializers.CharField(max_length=1000)

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        request = self.context.get("request")
        if request is not None:
            rows = Budget.objects.filter(workspace__in=workspaces_for(request.user, "view", "money"))
            fields["budget"] = serializers.PrimaryKeyRelatedField(queryset=rows.select_related("workspace"))
        return fields


class GrantingSerializer(AmountSerializer):
    """How much more, until when."""

    ends_at = serializers.DateTimeField()
    note = serializers.CharField(required=False, default="", max_length=300)


class NoteSerializer(serializers.Serializer[Any]):
    note = serializers.CharField(required=False, default="", max_length=300)


@extend_schema(tags=["Money"])
class RaiseViewSet(ScopedReadViewSet):
    """More for a budget, for a time: asked for by whoever sees it, granted by whoever may change it."""

    area = "money"
    queryset = Raise.objects.select_related("workspace", "budget")
    serializer_class = RaiseSerializer
    filterset_fields = ["workspace__name", "budget", "state"]
    search_fields = ["subject_name", "asked_by", "reason"]
    verbs: ClassVar[dict[str, Verb]] = {"create": "view"}

    @extend_schema(request=AskingSerializer, responses={201: RaiseSerializer})
    def create(self, request: Request) -> Response:
        """Ask. Asked again while it waits, the wish is replaced."""
        said = AskingSerializer(data=request.data, context=self.get_serializer_context())
        said.is_valid(raise_exception=True)
        budget = said.validated_data["budget"]
        row = raises.ask(
            budget=budget,
            subject=raises.subject_of(budget, said.validated_data["subject"]),
            asked_by=request.user.get_username(),
            amount=said.amount_for(budget),
            reason=said.validated_data["reason"],
        )
        return Response(RaiseSerializer(row).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=GrantingSerializer, responses=RaiseSerializer)
    @action(detail=True, methods=["post"])
    def grant(self, request: Request, pk: str | None = None) -> Response:
        """Raise the cap from now until `ends_at`. In force within a second."""
        row = self.get_object()
        said = GrantingSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        amount = said.amount_for(row.budget) or row.asked_amount
        if amount is None:
            raise serializers.ValidationError("Say how much: amount_usd, or amount_tokens for a budget of tokens.")
        given = {name: said.validated_data[name] for name in ("ends_at", "note")}
        raises.grant(row=row, amount=amount, by=request.user.get_username(), **given)
        return Response(RaiseSerializer(row).data)

    @extend_schema(request=NoteSerializer, responses=RaiseSerializer)
    @action(detail=True, methods=["post"])
    def refuse(self, request: Request, pk: str | None = None) -> Response:
        """Say no."""
        return self._noted(request, raises.refuse)

    @extend_schema(request=NoteSerializer, responses=RaiseSerializer)
    @action(detail=True, methods=["post"])
    def end(self, request: Request, pk: str | None = None) -> Response:
        """End a granted raise before its time."""
        return self._noted(request, raises.end)

    def _noted(self, request: Request, act: Callable[..., Raise]) -> Response:
        row = self.get_object()
        said = NoteSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        act(row=row, by=request.user.get_username(), note=said.validated_data["note"])
        return Response(RaiseSerializer(row).data)


class PriceSerializer(CheckedSerializer):
    input = DollarsField(source="input_nanos", help_text="Dollars per million tokens.")
    output = DollarsField(source="output_nanos", required=False, help_text="Dollars per million tokens.")
    cached_input = DollarsField(
        source="cached_input_nanos", required=False, allow_null=True, help_text="Left out: as input."
    )
    details = serializers.DictField(required=False)

    class Meta:
        model = Price
        fields = ["id", "model", "source", "valid_from", "input", "output", "cached_input", "details", "note"]


@extend_schema(tags=["Money"])
class PriceViewSet(ScopedViewSet):
    """What models cost from a day on. Own prices win over the catalogue's."""

    area = "catalogue"
    workspace_path = ""
    queryset = Price.objects.all()
    serializer_class = PriceSerializer
    filterset_fields = ["model", "source"]
    search_fields = ["model", "note"]


class AlertChannelSerializer(CheckedSerializer):
    workspace = WorkspaceField()
    to = serializers.ListField(child=serializers.EmailField(), required=False, max_length=50)
    secret = serializers.CharField(write_only=True, required=False, max_length=500, help_text="Signs each message.")
    is_signed = serializers.SerializerMethodField()

    class Meta:
        model = AlertChannel
        fields = ["id", "workspace", "kind", "url", "to", "secret", "is_signed", "is_enabled"]

    def get_is_signed(self, channel: AlertChannel) -> bool:
        return bool(channel.sealed)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        self.given_secret = attrs.pop("secret", "")
        if attrs.get("url"):
            try:
                check_address(attrs["url"])
            except EgressRefused as refused:
                raise serializers.ValidationError({"url": str(refused)}) from None
        moved = self.instance is not None and any(
            name in attrs and attrs[name] != getattr(self.instance, name) for name in ("kind", "url")
        )
        if moved and getattr(self.instance, "sealed", None) and not self.given_secret:
            raise serializers.ValidationError({"secret": "The secret belongs to the old address; write it again."})
        return super().validate(attrs)

    def create(self, validated_data: dict[str, Any]) -> AlertChannel:
        channel = AlertChannel(**validated_data)
        self._seal(channel)
        channel.save()
        return channel

    def update(self, instance: AlertChannel, validated_data: dict[str, Any]) -> AlertChannel:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        self._seal(instance)
        instance.save()
        return instance

    def _seal(self, channel: AlertChannel) -> None:
        if self.given_secret:
            channel.sealed = settings.KEYRING.seal(self.given_secret.encode(), channel.seal_context)


@extend_schema(tags=["Money"])
class AlertChannelViewSet(ScopedViewSet):
    """Where a workspace is told that a budget fills up."""

    area = "money"
    queryset = AlertChannel.objects.select_related("workspace")
    serializer_class = AlertChannelSerializer
    filterset_fields = ["workspace__name", "kind"]


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    workspace: serializers.SlugRelatedField[Workspace] = serializers.SlugRelatedField(slug_field="name", read_only=True)

    class Meta:
        model = Delivery
        fields = [
            *("id", "workspace", "channel", "event_id", "subject", "address", "body", "state", "attempts"),
            *("next_at", "last_answer", "created_at", "sent_at"),
        ]


@extend_schema(tags=["Money"])
class DeliveryViewSet(ScopedReadViewSet):
    """What was sent to alert channels, and what came of it."""

    area = "money"
    queryset = Delivery.objects.select_related("workspace")
    serializer_class = DeliverySerializer
    filterset_fields = ["workspace__name", "state", "channel"]
    search_fields = ["subject", "address"]


ROUTES = (
    ("budgets", BudgetViewSet),
    ("budget-raises", RaiseViewSet),
    ("prices", PriceViewSet),
    ("alert-channels", AlertChannelViewSet),
    ("sent-alerts", DeliveryViewSet),
)
