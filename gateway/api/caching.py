"""Forgetting kept answers over /api/."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import mixins

from gateway.models import CachePurge
from gateway.services.cache import purge_cache
from tenants.scoped.api import CheckedSerializer, ScopedReadViewSet, WorkspaceField


class CachePurgeSerializer(CheckedSerializer):
    workspace = WorkspaceField()

    class Meta:
        model = CachePurge
        fields = ["id", "workspace", "what", "name", "at"]
        read_only_fields = ["at"]

    def create(self, validated_data: dict[str, Any]) -> CachePurge:
        return purge_cache(**{"what": CachePurge.What.ALL, **validated_data})


@extend_schema(tags=["Policies"])
class CachePurgeViewSet(mixins.CreateModelMixin, ScopedReadViewSet):
    """Posting one forgets kept answers of a workspace: all, a route's, a prompt's, or an end user's."""

    area = "workspace"
    queryset = CachePurge.objects.select_related("workspace")
    serializer_class = CachePurgeSerializer
    filterset_fields = ["workspace__name", "what", "name"]


ROUTES = (("cache-purges", CachePurgeViewSet),)
