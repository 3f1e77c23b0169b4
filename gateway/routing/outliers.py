"""Targets that answer, but much more slowly than the others of their route: they get fewer calls, not none.

A target is slow when the 95th percentile of its times to the first token has been more than three times the median of
its siblings', and a quarter of a second more, for half a minute. It keeps a quarter of its calls, which tell when it is
well again.
"""

import time
from statistics import median

from gateway.routing.plan import RoutePlan

TIMES = 3.0
AT_LEAST_SECONDS = 0.25
FOR_SECONDS = 30.0
LOOK_EVERY_SECONDS = 1.0
KEPT_SHARE = 0.25
SLOW = "much slower than its siblings of late, so it gets fewer calls"


def slow_ones(plan: RoutePlan) -> frozenset[str]:
    """The models of the route that are slow now. Looks once a second at most."""
    now = time.monotonic()
    if now - plan.looked_at >= LOOK_EVERY_SECONDS:
        plan.looked_at = now
        plan.slow = look(plan, now)
    return plan.slow


def look(plan: RoutePlan, now: float) -> frozenset[str]:
    """Compare the steps; one is slow once it has been so for long enough."""
    times = {step.model: p95 for step in plan.steps if (p95 := step.speed.percentiles(now)[1]) is not None}
    found = set()
    for step in plan.steps:
        others = [p95 for model, p95 in times.items() if model != step.model]
        own = times.get(step.model)
        if own is None or not others or own <= TIMES * (usual := median(others)) or own - usual < AT_LEAST_SECONDS:
            step.slow_since = None
            continue
        step.slow_since = now if step.slow_since is None else step.slow_since
        if now - step.slow_since >= FOR_SECONDS:
            found.add(step.model)
    return frozenset(found)
