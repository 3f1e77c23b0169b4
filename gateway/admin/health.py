"""Providers' health, and a route's chain as a picture. Both go on by themselves over a websocket."""

from collections import Counter
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Avg, Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from audit.models import CallRecord
from gateway.core.money import dollars
from gateway.models import Route
from gateway.routing.shadow import PREFIX
from gateway.services.health import configured_places, model_states, places_for
from tenants.scoped.admin import access

TRAFFIC_HOURS = 24
TRAFFIC = timedelta(hours=TRAFFIC_HOURS)
TRAFFIC_CALLS_MOST = 5000  # the newest; enough to see shares by
STRATEGIES = {
    "priority": "The first that works answers; the next one takes over when it fails.",
    "weighted": "Each takes its share of the traffic; the others take over when one fails.",
    "cost": "The cheapest for the call answers first.",
    "latency": "The fastest of late answers first.",
    "quality": "The best answers first.",
}


def health_page(request: HttpRequest) -> HttpResponse:
    """Every place that calls may go to: state, errors, speed, and what happened to its circuit."""
    places = places_for(request.user.pk)
    if places is None:
        raise PermissionDenied
    context = {**admin.site.each_context(request), "title": "Health", "places": places}
    return TemplateResponse(request, "gateway/health.html", context)


def chain_picture(request: HttpRequest, route: Route) -> dict[str, Any]:
    """The route's targets in their order, with state, planned share and the share of the traffic they really had."""
    targets = list(route.targets.select_related("model__provider").order_by("position", "id"))
    states = model_states(configured_places())
    counts = traffic(request, route.name)
    calls, weights = sum(counts.values()), sum(each.weight for each in targets)
    is_split = route.strategy == Route.Strategy.WEIGHTED and weights > 0
    return {
        "name": route.name,
        "told": STRATEGIES[route.strategy],
        "is_chain": route.strategy == Route.Strategy.PRIORITY,
        "calls": calls,
        "shadow": shadow_picture(request, route),
        "hours": TRAFFIC_HOURS,
        "targets": [
            {
                "model": each.model.name,
                "provider": each.model.provider.name,
                "state": states.get(each.model.name, "off"),
                "planned": round(100 * each.weight / weights) if is_split else None,
                "had": round(100 * counts.get(each.model.name, 0) / calls) if calls else 0,
                "conditions": len(each.conditions),
            }
            for each in targets
        ],
    }


def shadow_picture(request: HttpRequest, route: Route) -> dict[str, Any] | None:
    """What a route's shadow is, and how it does beside the route itself; None where there is none."""
    shadow = route.options.get("shadow")
    if not shadow:
        return None
    copies = PREFIX + route.name
    rows = visible(request).filter(route__in=[route.name, copies], at__gte=timezone.now() - TRAFFIC)
    found = rows.values("route").annotate(
        calls=Count("id"),
        answered=Count("id", filter=Q(outcome="answered")),
        us=Avg("total_us", filter=Q(outcome="answered")),
        cost=Avg("cost_nanos", filter=Q(outcome="answered")),
    )
    by_route = {row["route"]: row for row in found.order_by()}
    return {
        **shadow,
        "lines": [
            {
                "name": name,
                "calls": row["calls"],
                "answered": round(100 * row["answered"] / row["calls"]),
                "ms": round((row["us"] or 0) / 1000),
                "cost_usd": dollars(round(row["cost"] or 0)),
            }
            for name in (route.name, copies)
            if (row := by_route.get(name))
        ],
    }


def visible(request: HttpRequest) -> QuerySet[CallRecord]:
    """The records of the workspaces whose calls this person may see."""
    ids = access(request).workspace_ids("view", "calls")
    rows = CallRecord.objects.all()
    return rows if ids is None else rows.filter(workspace_id__in=[str(each) for each in ids])


def traffic(request: HttpRequest, route: str) -> Counter[str]:
    """of the newest calls of this route, how many each model had, in the workspaces whose calls this person may see."""
    rows = visible(request).filter(route=route, at__gte=timezone.now() - TRAFFIC)
    return Counter(rows.exclude(model="").order_by("-at").values_list("model", flat=True)[:TRAFFIC_CALLS_MOST])
