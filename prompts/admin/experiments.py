"""Experiments: begun from a prompt's page, watched and ended on their own."""

from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path as url
from django.urls import reverse
from unfold.decorators import display

from gateway.core.conditions import told
from prompts.admin.pages import CHANNELS, find, show
from prompts.models import Experiment
from prompts.services.publishing import (
    change_weights,
    conclude_experiment,
    pause_experiment,
    start_experiment,
    stop_experiment,
)
from tenants.queries import access_of
from tenants.scoped.admin import ScopedHistoryAdmin

ARMS_MOST = 4
POINTS = 100  # basis points of one per cent
GUARDS = ("guard_error_rate", "guard_refusal_rate", "guard_cost", "guard_latency")


@admin.register(Experiment)
class ExperimentAdmin(ScopedHistoryAdmin):
    """Versions that share a channel. Started and ended by the services, so that the history tells it."""

    area = "prompts"
    workspace_path = "prompt__workspace"
    list_display = ["name", "prompt", "channel", "state_badge", "shares", "started_at", "outcome"]
    list_filter = ["state"]
    list_select_related = ["prompt__workspace"]
    search_fields = ["name", "prompt__name"]
    autocomplete_fields = ["prompt"]
    next_step = "An experiment serves several versions on one channel. Begin one on a prompt's page."

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Experiment | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Experiment | None = None) -> bool:
        return False

    @display(description="State", label={"running": "success", "paused": "warning", "concluded": "info"})
    def state_badge(self, experiment: Experiment) -> tuple[str, str]:
        return experiment.state, experiment.get_state_display()

    @display(description="Arms")
    def shares(self, experiment: Experiment) -> str:
        return ", ".join(f"{arm['name']} v{arm['version']} {arm['weight'] / POINTS:g} %" for arm in experiment.arms)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.act)
        return [url("<str:pk>/act/", view, name="prompts_experiment_act"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict | None = None
    ) -> HttpResponse:
        """The experiment's figures, and what can be done with it."""
        experiment = self.get_object(request, unquote(object_id))
        if experiment is None:
            raise Http404
        if not self.has_view_permission(request, experiment):
            raise PermissionDenied
        is_open = experiment.state in ("running", "paused")
        return show(
            request,
            self,
            experiment.prompt,
            "experiment.html",
            title=experiment.name,
            experiment=experiment,
            is_open=is_open,
            who=[told(condition) for condition in experiment.eligible],
        )

    def act(self, request: HttpRequest, pk: str) -> HttpResponse:
        """Pause, go on, stop, conclude, or share out anew. What stands in the way is said on the page."""
        experiment = self.get_object(request, unquote(pk))
        if experiment is None:
            raise Http404
        if not access_of(request.user).may("publish", "prompts", experiment.prompt.workspace_id):
            raise PermissionDenied
        if request.method == "POST":
            try:
                messages.success(request, done(request, experiment))
            except ValidationError as error:
                messages.error(request, " ".join(error.messages))
        return HttpResponseRedirect(reverse("admin:prompts_experiment_change", args=[experiment.pk]))


def done(request: HttpRequest, experiment: Experiment) -> str:
    """Do what the form asks, and say what was done. Raises ValidationError."""
    given, actor = request.POST, request.user.get_username()
    reason = given.get("reason", "").strip()[:300]
    match given.get("deed"):
        case "pause" | "resume" as deed:
            pause_experiment(experiment=experiment, is_paused=deed == "pause")
            return "It is paused: everybody gets the control." if deed == "pause" else "It goes on."
        case "stop":
            stopped = stop_experiment(experiment=experiment, actor=actor, reason=reason)
            if stopped is None:
                raise ValidationError("This experiment is over already.")
            return f"It is stopped: {experiment.channel} serves the control."
        case "conclude":
            number = given.get("winner", "")
            winner = int(number) if number.isdecimal() else None
            deployment = conclude_experiment(experiment=experiment, winner=winner, actor=actor, reason=reason)
            return f"{experiment.channel} serves version {deployment.version.number} from now on."
        case "weights":
            weights = {arm["name"]: points(given.get(f"weight-{arm['name']}", "")) for arm in experiment.arms}
            change_weights(experiment=experiment, weights=weights)
            return "The shares are changed. The figures begin anew."
    raise Http404


def points(text: str) -> int:
    """Per cents as basis points. Raises ValidationError."""
    try:
        share = Decimal(text.strip().replace(",", "."))
    except InvalidOperation:
        raise ValidationError({"arms": f"{text!r} is no share in per cent."}) from None
    if not share.is_finite() or share * POINTS != int(share * POINTS):
        raise ValidationError({"arms": f"{text!r} is no share in per cent, with two decimals at the most."})
    return int(share * POINTS)


def begin_page(request: HttpRequest, page: Any, pk: str) -> HttpResponse:
    """A form that begins an experiment on a channel of the prompt."""
    prompt = find(request, page, pk, "publish")
    given = request.POST
    if request.method == "POST":
        try:
            experiment = described(prompt, given)
            start_experiment(experiment=experiment, actor=request.user.get_username())
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        else:
            messages.success(request, f"{experiment.name} runs on {experiment.channel}.")
            return HttpResponseRedirect(reverse("admin:prompts_experiment_change", args=[experiment.pk]))
    numbers = list(prompt.versions.order_by("-number").values_list("number", flat=True)[:50])
    names = ["control", "treatment", *(["third", "fourth"] if len(numbers) > 2 else [])]
    arms = [
        {
            "name": given.get(f"name-{at}", name),
            "version": given.get(f"version-{at}", ""),
            "weight": given.get(f"weight-{at}", "50" if at < 2 else ""),
            "is_needed": at < 2,
        }
        for at, name in enumerate(names)
    ]
    return show(
        request,
        page,
        prompt,
        "experiment_new.html",
        title=f"Experiment on {prompt.name}",
        arms=arms,
        numbers=numbers,
        given=given,
        eligible=[given.get("eligible-field", ""), given.get("eligible-value", "")],
        channels=CHANNELS,
        units=Experiment.UNITS,
        metrics=Experiment.METRICS,
    )


def who(given: Any) -> list[dict[str, Any]]:
    """The condition on who takes part, where the form has one: several values, with commas between, are any of them."""
    field, text = given.get("eligible-field", "").strip(), given.get("eligible-value", "")
    values = [each.strip() for each in text.split(",") if each.strip()]
    if not values:
        return []
    return [{"field": field, "none_of" if given.get("eligible-how") == "not" else "one_of": values}]


def described(prompt: Any, given: Any) -> Experiment:
    """The experiment that the form describes. Raises ValidationError."""
    arms = []
    for at in range(ARMS_MOST):
        number, weight = given.get(f"version-{at}", ""), given.get(f"weight-{at}", "").strip()
        if weight and number.isdecimal():
            name = given.get(f"name-{at}", "").strip() or f"arm{at + 1}"
            arms.append({"name": name, "version": int(number), "weight": points(weight)})
    guards: dict[str, Any] = {}
    for name in GUARDS:
        text = given.get(name, "").strip().replace(",", ".")
        try:
            guards[name] = Decimal(text) / POINTS if text else None
        except InvalidOperation:
            raise ValidationError({name: f"{text!r} is no number of per cents."}) from None
    if guards["guard_error_rate"] is None:
        del guards["guard_error_rate"]
    sample = given.get("min_sample", "").strip() or "100"
    if not sample.isdecimal() or len(sample) > 9:
        raise ValidationError({"min_sample": "Say how many units each arm needs: a whole number."})
    return Experiment(
        prompt=prompt,
        name=given.get("name", "").strip(),
        channel=given.get("channel", "") or CHANNELS[0],
        unit=given.get("unit", "user"),
        metric=given.get("metric", "errors"),
        min_sample=int(sample),
        arms=arms,
        eligible=who(given),
        **guards,
    )
