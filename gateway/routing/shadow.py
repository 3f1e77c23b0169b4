"""Which calls a copy of goes to a route's shadow, and the way that the copy takes.

Drawn from the call's id alone, so that every worker draws alike and a record can be checked. The copy has circuits and
a retry budget of its own: however the shadow fares, no target of real calls is called less because of it.
"""

from gateway.core.call import Call
from gateway.routing.choose import TEXT_FORMS, uniform
from gateway.routing.health import Health
from gateway.routing.plan import Chosen, RoutePlan, compile_route
from gateway.snapshot import RoutesSnapshot, RouteView, ShadowView, TargetView

PREFIX = "shadow/"  # before the route's name, in the records of copies


def draw(call: Call, plan: RoutePlan) -> None:
    """Note on the call, and in its decision, that a copy of it goes to the shadow, if the draw says so."""
    shadow = plan.view.shadow
    if shadow is None or call.form.name not in TEXT_FORMS or uniform(f"shadow\0{call.id}") >= shadow.share:
        return
    call.shadow = shadow
    why = f"{shadow.share:.3g} of this route's calls go there too, after their answer, to compare"
    call.decision = [*call.decision, {"model": shadow.model, "provider": "", "state": "shadow", "why": why}]


def way(shadow: ShadowView, routes: RoutesSnapshot, health: Health) -> Chosen | None:
    """One try at the shadow's model; None where it can't be called."""
    model = routes.models.get(shadow.model)
    if model is None or not model.targets:
        return None
    view = RouteView(PREFIX + shadow.model, "priority", (TargetView(model),), retries=0)
    plan = compile_route(view, routes.timeouts, health)
    return Chosen(plan, plan.steps, health)
