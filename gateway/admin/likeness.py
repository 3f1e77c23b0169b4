"""How a route's semantic cache judges likeness: pairs to try, recent hits and near misses to mark, and what follows."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminTextareaWidget

from audit.models import CallRecord
from gateway.caching.local import NAME as LOCAL
from gateway.caching.marks import are_opposed, fixed, sides
from gateway.models import Judgement, Route
from gateway.services.likeness import LikenessUnknown, embedder_for, judge, judged_pairs, likeness_of, suggested
from tenants.models import Workspace
from tenants.scoped.admin import access

DAYS = 7
RECORDS_MOST = 2_000  # newest first: what the page reads at most
SHOWN = 60
NEAR = 0.15  # below the threshold


class PairForm(forms.Form):
    one = forms.CharField(
        label="One question", max_length=8_000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "required": True})
    )
    other = forms.CharField(
        label="Another", max_length=8_000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "required": True})
    )


class Sighting(NamedTuple):
    """A call whose question was like one that was asked before. `is_same`: what somebody said of it, if anybody did."""

    record: CallRecord
    likeness: float
    call_id: str
    is_hit: bool
    is_same: bool | None


def likeness_page(request: HttpRequest, page: Any, route: Route) -> HttpResponse:
    """The page of one route. Posting tries a pair, or marks a hit."""
    seen, judged = (
        access(request).workspace_ids(verb, area) for verb, area in (("view", "calls"), ("change", "workspace"))
    )
    may_judge = judged is None or bool(judged)
    form = PairForm(request.POST if "one" in request.POST else None)
    tried: dict[str, Any] = {}
    if request.method == "POST":
        if not may_judge:
            raise PermissionDenied
        if "mark" in request.POST:
            mark(request, route, judged)
            return HttpResponseRedirect(request.get_full_path())
        if form.is_valid():
            tried = tried_pair(request, route, form.cleaned_data, judged)
    suggestion = suggested(judged_pairs(route=route, workspace_ids=judged))
    context = {
        **page.admin_site.each_context(request),
        "opts": page.model._meta,
        "title": f"Likeness: {route.name}",
        "route": route,
        "form": form,
        "sightings": sightings(route, seen),
        "suggestion": suggestion,
        "threshold": float(route.cache_threshold),
        "may_judge": may_judge,
        "may_change": page.has_change_permission(request, route),
        "days": DAYS,
        **embedder_facts(route),
        **tried,
    }
    return TemplateResponse(request, "gateway/likeness.html", context)


def embedder_facts(route: Route) -> dict[str, Any]:
    """The model that compares, or why there is none."""
    try:
        model = embedder_for(route).model
        return {"embedder": model, "is_local": model.startswith(f"{LOCAL}:")}
    except LikenessUnknown as error:
        return {"trouble": str(error)}


def tried_pair(request: HttpRequest, route: Route, pair: dict[str, str], judged: Any) -> dict[str, Any]:
    """How alike a pair is; with a verdict, that is kept too, the texts never."""
    try:
        likeness = likeness_of(route=route, one=pair["one"], other=pair["other"])
    except LikenessUnknown as error:
        return {"trouble": str(error)}
    verdict = request.POST.get("verdict", "")
    if verdict in ("same", "another"):
        workspace = None if judged is None else Workspace.objects.filter(pk__in=judged).order_by("pk").first()
        judge(route=route, likeness=likeness, is_same=verdict == "same", by=request.user, workspace=workspace)
    opposed = fixed(pair["one"]) != fixed(pair["other"]) or are_opposed(sides(pair["one"]), sides(pair["other"]))
    would_hit = likeness >= float(route.cache_threshold) and not opposed
    return {"likeness": likeness, "opposed": opposed, "would_hit": would_hit, "kept": verdict}


def mark(request: HttpRequest, route: Route, judged: Any) -> None:
    """Keep what somebody said of a call. Raises Http404 for one that they may not judge."""
    calls = CallRecord.objects.filter(pk=request.POST["mark"], route=route.name)
    if judged is not None:
        calls = calls.filter(workspace_id__in=[str(each) for each in judged])
    record = calls.first()
    told = likeness_told(record) if record is not None else None
    if record is None or told is None or not record.workspace_id.isdecimal():
        raise Http404
    workspace = Workspace.objects.filter(pk=int(record.workspace_id)).first()
    if workspace is None:
        raise Http404
    is_same = request.POST.get("verdict") == "same"
    judge(
        route=route,
        likeness=float(told["likeness"]),
        is_same=is_same,
        by=request.user,
        call_id=str(record.pk),
        workspace=workspace,
    )
    messages.success(request, "Marked as the same question." if is_same else "Marked as another question.")


def sightings(route: Route, workspace_ids: Any) -> list[Sighting]:
    """The newest hits and near misses of a route, in the workspaces that this person sees."""
    rows = CallRecord.objects.filter(
        route=route.name, at__gte=datetime.now(UTC) - timedelta(days=DAYS), cache__in=("hit-semantic", "miss")
    )
    if workspace_ids is not None:
        rows = rows.filter(workspace_id__in=[str(each) for each in workspace_ids])
    found = []
    for record in rows.order_by("-at")[:RECORDS_MOST]:
        told = likeness_told(record)
        is_hit = record.cache == "hit-semantic"
        if told is not None and (is_hit or told["likeness"] >= told["threshold"] - NEAR):
            found.append((record, told, is_hit))
            if len(found) == SHOWN:
                break
    said = dict(
        Judgement.objects.filter(route=route, call_id__in=[str(record.pk) for record, _, _ in found]).values_list(
            "call_id", "is_same"
        )
    )
    return [
        Sighting(record, told["likeness"], told.get("call_id", ""), is_hit, said.get(str(record.pk)))
        for record, told, is_hit in found
    ]


def likeness_told(record: CallRecord) -> dict[str, Any] | None:
    """What a record says of likeness, None where nothing."""
    told = json.loads(record.rest).get("likeness") if '"likeness"' in record.rest else None
    return told if isinstance(told, dict) and "likeness" in told and "threshold" in told else None
