"""What the price catalogue says of our models, written into our own tables with its date.

Prices become rows of the source "catalogue"; a configured price wins over them, whatever its date. Context sizes
count where a model's own field is empty. The catalogue says nothing of what a model can take, so capabilities stay as
they are configured. Nothing is fetched: the facts are those of the installed package genai-prices.
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from django.db import transaction
from django.utils import timezone

from budgets import catalogue
from budgets.models import Price
from budgets.pricing import CLASSES, Rates
from budgets.pricing import Price as PriceList
from gateway.core.money import dollars
from gateway.models import ServedModel

PACKAGE = "genai-prices"


@dataclass(frozen=True, slots=True)
class Change:
    """What was found for one model. `known`: the catalogue has it."""

    model: str
    known: bool
    price: bool = False
    context_tokens: int | None = None

    def __str__(self) -> str:
        if not self.known:
            return f"? {self.model}: not in the catalogue"
        news = [name for name, new in (("price", self.price), ("context", self.context_tokens is not None)) if new]
        return f"{'~' if news else '='} {self.model}: {', '.join(news) or 'as it was'}"


@transaction.atomic
def sync_catalogue(*, provider: str | None = None) -> list[Change]:
    """Write prices and context sizes of all models, or of one provider's. Doing it twice changes nothing."""
    rows = ServedModel.objects.select_related("provider").exclude(provider__kind="demo").order_by("name")
    if provider is not None:
        rows = rows.filter(provider__name=provider)
    return [sync_model(row) for row in rows]


def sync_model(row: ServedModel) -> Change:
    kind, upstream = row.provider.kind, row.upstream
    listed = catalogue.price(kind, upstream)
    if listed is None:
        return Change(row.name, known=False)
    context = catalogue.context_tokens(kind, upstream)
    changed = context is not None and context != row.listed_context_tokens
    if changed:
        row.listed_context_tokens, row.listed_at = context, timezone.now()
        row.save()
    return Change(row.name, known=True, price=put_price(row.name, listed), context_tokens=context if changed else None)


def put_price(model: str, listed: PriceList) -> bool:
    """A new dated row where the catalogue's price is not the newest one of its source. Whether there is one."""
    values = fields_of(listed)
    newest = Price.objects.filter(model=model, source=Price.Source.CATALOGUE).order_by("-valid_from").first()
    if newest is not None and all(getattr(newest, name) == value for name, value in values.items()):
        return False
    entry = listed.version.removeprefix("catalogue:")
    note = f"{PACKAGE} {version(PACKAGE)}: {entry}"
    row = Price(model=model, source=Price.Source.CATALOGUE, valid_from=timezone.now(), note=note[:200], **values)
    row.full_clean()
    row.save()
    return True


def fields_of(listed: PriceList) -> dict[str, Any]:
    """A price list as the fields of a row; classes beyond the row's own as decimal strings in dollars."""
    base = listed.rates
    details: dict[str, Any] = amounts(base, skip=("input", "output", "cached_input"))
    if listed.tiers:
        details["tiers"] = [{"above_input_tokens": above, **amounts(rates)} for above, rates in listed.tiers]
    return {
        "input_nanos": base.input,
        "output_nanos": base.output,
        "cached_input_nanos": base.cached_input,
        "details": details,
    }


def amounts(rates: Rates, skip: tuple[str, ...] = ()) -> dict[str, str]:
    """The classes that have a rate of their own, in dollars."""
    found = {name: getattr(rates, name) for name in CLASSES if name not in skip}
    return {
        name: dollars(value) for name, value in found.items() if value is not None and (value or name != "tool_use")
    }
