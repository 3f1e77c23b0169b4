"""What the calls of a prompt's versions came to."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Avg, Count, F, Max, Q, Sum

from audit.models import CallRecord
from budgets import catalogue
from budgets.compiler import price_lists
from budgets.pricing import Price
from gateway.core.money import dollars
from gateway.models import Route, ServedModel
from prompts.models import PromptVersion


@dataclass(frozen=True, slots=True)
class Usage:
    """The calls of a version in a time. Money in nano-dollars."""

    calls: int = 0
    failed: int = 0
    cost_nanos: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    mean_ms: float = 0.0
    last_at: datetime | None = None

    @property
    def cost_usd(self) -> str:
        return dollars(self.cost_nanos)

    @property
    def failed_percent(self) -> float:
        return 100 * self.failed / self.calls if self.calls else 0.0

    @property
    def cost_of_a_call_usd(self) -> str:
        return dollars(self.cost_nanos // self.calls) if self.calls else "0"


NOTHING = Usage()
MODELS_MOST = 3


def prices_of(asked: str) -> list[tuple[str, Price]]:
    """The prices of the first models that a route may take, or of the model of this name; those without are left out."""
    models = list(ServedModel.objects.filter(name=asked).select_related("provider"))
    if route := Route.objects.filter(name=asked).first():
        steps = route.targets.select_related("model__provider").order_by("position")
        models = [target.model for target in steps[:MODELS_MOST]]
    now, lists = time.time(), price_lists()
    found = []
    for model in models:
        own = next((price for since, price in lists.get(model.name, ()) if since <= now), None)
        price = own or catalogue.price(model.provider.kind, model.upstream)
        if price is not None:
            found.append((model.name, price))
    return found


def usage_of(versions: Iterable[PromptVersion], *, since: datetime) -> Mapping[int, Usage]:
    """By version's id. All of one workspace; one query, whatever their number."""
    ids = {str(version): version.pk for version in versions}
    workspace = next((str(version.prompt.workspace_id) for version in versions), "")
    rows = CallRecord.objects.filter(workspace_id=workspace, prompt__in=list(ids), at__gte=since)
    found: Any = (
        rows.values("prompt")
        .annotate(
            calls=Count("pk"),
            failed=Count("pk", filter=Q(outcome__in=["failed", "in_doubt"])),
            cost_nanos=Sum("cost_nanos"),
            input_tokens=Sum("input_tokens"),
            output_tokens=Sum("output_tokens"),
            mean_ms=Avg(F("total_us") / 1000.0, filter=Q(outcome="answered")),
            last_at=Max("at"),
        )
        .order_by()
    )
    return {ids[row.pop("prompt")]: Usage(**{**row, "mean_ms": row["mean_ms"] or 0.0}) for row in found}
