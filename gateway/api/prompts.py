"""What calls say of prompts and experiments, over /api/."""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway.core.call import Usage
from gateway.core.money import dollars
from gateway.queries.prompts import NOTHING, prices_of, usage_of
from gateway.queries.suites import suite_scores
from gateway.services.experiments import judged
from prompts.models import Experiment, Prompt
from prompts.statistics import METRICS, interval
from prompts.verdicts import ArmFigures
from tenants.queries import access_of
from tenants.scoped.permissions import IsMember

DAYS_MOST = 366
VERSIONS_MOST = 500
DIGITS_MOST = 9


class ExperimentFigures(APIView):
    """Each arm's units, calls and means with intervals; arms against the control; the split; the verdict."""

    permission_classes = [IsMember]

    @extend_schema(tags=["Prompts"], operation_id="experiments_figures", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, pk: int) -> Response:
        rows = Experiment.objects.select_related("prompt__workspace")
        experiment = visible(request, rows, "prompt__workspace").filter(pk=pk).first()
        if experiment is None:
            raise NotFound("There is no such experiment, or it is not yours to see.")
        said = judged(experiment)
        return Response(
            {
                "experiment": experiment.name,
                "state": experiment.state,
                "metric": experiment.metric,
                "since": experiment.shared_at,
                "verdict": said.verdict,
                "winner": said.winner,
                "broken_guards": said.broken,
                "split_probability": said.split,
                "split_is_right": said.is_split_right,
                "arms": [arm_told(arm) for arm in said.arms],
                "against_control": {
                    name: {metric: asdict(each) for metric, each in found.items()}
                    for name, found in said.comparisons.items()
                },
                "suites": [
                    {"suite": each.suite, "arms": [asdict(arm) | {"share": arm.share} for arm in each.arms]}
                    for each in suite_scores(experiment)
                ],
            }
        )


def arm_told(arm: ArmFigures) -> dict[str, Any]:
    metrics = {
        name: {
            "units": sample.n,
            "mean": sample.mean,
            "interval": interval(sample, is_share=METRICS[name].unit == "share"),
        }
        for name, sample in arm.samples.items()
    }
    names = ("name", "version", "weight", "units", "calls", "p50_ms", "p95_ms")
    return {name: getattr(arm, name) for name in names} | {"metrics": metrics}


class PromptUsage(APIView):
    """What the calls of each version came to, the newest version first."""

    permission_classes = [IsMember]

    @extend_schema(
        tags=["Prompts"],
        operation_id="prompts_usage",
        parameters=[OpenApiParameter("days", int, description="how far back; 30 where left out")],
        responses=OpenApiTypes.OBJECT,
    )
    def get(self, request: Request, pk: int) -> Response:
        prompt = visible(request, Prompt.objects.all(), "workspace").filter(pk=pk).first()
        if prompt is None:
            raise NotFound("There is no such prompt, or it is not yours to see.")
        days = request.query_params.get("days") or "30"
        if not days.isdecimal() or not 1 <= int(days) <= DAYS_MOST:
            raise ValidationError({"days": f"Say how many days back: from 1 to {DAYS_MOST}."})
        versions = list(prompt.versions.select_related("prompt").order_by("-number")[:VERSIONS_MOST])
        found = usage_of(versions, since=timezone.now() - timedelta(days=int(days)))
        told = []
        for version in versions:
            used = found.get(version.pk, NOTHING)
            told.append(
                {
                    "version": version.number,
                    "calls": used.calls,
                    "failed": used.failed,
                    "cost_usd": used.cost_usd,
                    "input_tokens": used.input_tokens,
                    "output_tokens": used.output_tokens,
                    "mean_ms": used.mean_ms,
                    "last_at": used.last_at,
                }
            )
        return Response({"prompt": prompt.name, "days": int(days), "versions": told})


class CostEstimate(APIView):
    """What a call of so many tokens costs on the first models of a route; those without a price are left out."""

    permission_classes = [IsMember]

    @extend_schema(
        tags=["Prompts"],
        operation_id="cost_estimate",
        parameters=[
            OpenApiParameter("model", str, required=True, description="a route or a model"),
            OpenApiParameter("input_tokens", int, required=True),
            OpenApiParameter("output_tokens", int, description="0 where left out"),
        ],
        responses=OpenApiTypes.OBJECT,
    )
    def get(self, request: Request) -> Response:
        counts = {name: request.query_params.get(name) or "0" for name in ("input_tokens", "output_tokens")}
        for name, text in counts.items():
            if not text.isdecimal() or len(text) > DIGITS_MOST:
                raise ValidationError({name: "Say how many: a whole number."})
        usage = Usage(input=int(counts["input_tokens"]), output=int(counts["output_tokens"]))
        found = [
            {"model": name, "cost_usd": dollars(price.cost(usage))}
            for name, price in prices_of(request.query_params.get("model", ""))
        ]
        return Response({"models": found})


def visible(request: Request, rows: Any, path: str) -> Any:
    """The rows of workspaces whose prompts this person may see."""
    ids = access_of(request.user).workspace_ids("view", "prompts")
    return rows if ids is None else rows.filter(**{f"{path}__in": ids})
