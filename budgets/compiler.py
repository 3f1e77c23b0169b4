"""Rows → BudgetsSnapshot. Four queries, whatever the number of rows, and those that fill counters of new budgets."""

from collections import defaultdict
from collections.abc import Sequence
from types import MappingProxyType

from django.conf import settings
from django.utils import timezone

from budgets import catalogue
from budgets.asking import Asking
from budgets.models import Budget, Price, Raise
from budgets.periods import clock
from budgets.pricing import Price as PriceList
from budgets.pricing import Rates, parse_price
from budgets.running import ServingLedger, open_missing
from budgets.snapshot import BudgetsSnapshot, BudgetView, WorkspaceBudgets
from gateway.core.money import dollars
from tenants.models import Workspace


def snapshot(*, ledger: ServingLedger | None) -> BudgetsSnapshot:
    """Budgets of every workspace, and every price that is known. A budget's counters are filled before it is seen."""
    if ledger is not None:
        open_missing(ledger)
    prices = price_lists()
    known = [price for dated in prices.values() for _, price in dated]
    return BudgetsSnapshot(
        workspaces=MappingProxyType(workspaces()),
        prices=MappingProxyType(prices),
        catalogue=catalogue.price,
        dearest=ceiling(known),
        ledger=ledger,
        asking=Asking(settings.PUBLIC_URL, settings.SECRET_KEY),
    )


def ceiling(known: list[PriceList]) -> PriceList:
    """What an unpriced model is taken to cost where a workspace says so: the dearest that any priced one does."""
    if not known:
        return catalogue.DEAREST
    top = Rates(
        input=max(price.rates.input for price in known),
        output=max(price.rates.output for price in known),
        tool_use=max(price.rates.tool_use for price in known),
    )
    return PriceList(top, version="ceiling")


def workspaces() -> dict[str, WorkspaceBudgets]:
    """What each workspace allows, by its id; also of those without a budget, for what they say of unpriced models."""
    views: dict[int, list[BudgetView]] = defaultdict(list)
    granted = raises()
    for row in Budget.objects.order_by("pk"):
        views[row.workspace_id].append(view(row, granted[row.pk]))
    return {
        str(row.pk): WorkspaceBudgets(
            clock=clock(row.timezone),
            per_call=tuple(each for each in views[row.pk] if each.of == "call"),
            others=tuple(each for each in views[row.pk] if each.of != "call"),
            on_unpriced=row.on_unpriced,
            on_unavailable=row.on_budgets_unavailable,
        )
        for row in Workspace.objects.all()
    }


def raises() -> dict[int, list[tuple[str, float, float, int]]]:
    """What runs of granted raises, or is still to run, by budget."""
    found: dict[int, list[tuple[str, float, float, int]]] = defaultdict(list)
    rows = Raise.objects.filter(state=Raise.State.GRANTED, ends_at__gt=timezone.now()).order_by("pk")
    for row in rows:
        if row.starts_at is not None and row.ends_at is not None:
            span = (row.starts_at.timestamp(), row.ends_at.timestamp())
            found[row.budget_id].append((row.subject, *span, row.amount))
    return found


def view(row: Budget, granted: Sequence[tuple[str, float, float, int]] = ()) -> BudgetView:
    """One budget as calls see it."""
    in_dollars = row.limit_nanos is not None
    return BudgetView(
        name=row.name,
        of=row.of,
        match=row.match,
        per=row.per,
        limit=row.limit,
        unit="usd" if in_dollars else "tokens",
        hard=row.mode == Budget.Mode.HARD,
        afford=row.afford,
        alert_at=tuple(sorted(row.alert_at)),
        id=str(row.pk),
        raises=tuple(granted),
    )


def price_lists() -> dict[str, tuple[tuple[float, PriceList], ...]]:
    """Prices by model, newest first; the configuration's before the catalogue's of the same day."""
    dated: dict[str, list[tuple[float, str, PriceList]]] = defaultdict(list)
    for row in Price.objects.all():
        dated[row.model].append((row.valid_from.timestamp(), row.source, price_list(row)))
    found = {}
    for model, rows in dated.items():
        own = [row for row in rows if row[1] == Price.Source.CONFIGURATION] or rows
        found[model] = tuple((since, price) for since, _, price in sorted(own, key=lambda row: -row[0]))
    return found


def price_list(row: Price) -> PriceList:
    """One row as a price list. `details` holds decimal strings in dollars, as the configuration writes them."""
    given = {"input": dollars(row.input_nanos), "output": dollars(row.output_nanos), **row.details}
    if row.cached_input_nanos is not None:
        given["cached_input"] = dollars(row.cached_input_nanos)
    return parse_price(given, version=str(row.pk))
