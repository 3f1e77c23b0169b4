"""Servers that speak OpenAI's form, over /api/: what a provider's row of them would hold."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway.providers.presets import PRESETS
from tenants.scoped.permissions import IsMember


class PresetSerializer(serializers.Serializer[Any]):
    """One server. `kind`, `base_url` and `quirks` are what POST /api/providers/ takes."""

    slug = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.CharField(default="openai_compatible")
    base_url = serializers.URLField()
    quirks = serializers.DictField()
    needs_credential = serializers.BooleanField()
    docs_url = serializers.URLField()


class PresetsView(APIView):
    """Known servers, to create a provider of."""

    permission_classes = [IsMember]

    @extend_schema(tags=["Traffic"], responses=PresetSerializer(many=True))
    def get(self, request: Request) -> Response:
        return Response(PresetSerializer(PRESETS, many=True).data)
