"""Why a call went where it went, over /api/."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audit.decisions import decision_of
from audit.models import CallRecord
from tenants.queries import access_of
from tenants.scoped.permissions import IsMember


class CallDecision(APIView):
    """Which targets were candidates, which were left out and why, what each attempt cost and how long it took."""

    permission_classes = [IsMember]

    @extend_schema(tags=["Calls"], operation_id="calls_decision", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, call_id: str) -> Response:
        ids = access_of(request.user).workspace_ids("view", "calls")
        rows = CallRecord.objects.filter(pk=call_id)
        if ids is not None:
            rows = rows.filter(workspace_id__in=[str(each) for each in ids])
        record = rows.first()
        if record is None:
            raise NotFound("There is no such call, or it is not yours to see.")
        return Response(decision_of(record))
