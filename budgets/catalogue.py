"""The price catalogue: public list prices, shipped with the package genai-prices, for models without a price of their own.

Read when the first price is asked for; what was found is kept for the process. Nothing is fetched.
"""

import logging
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from budgets.pricing import Price, Rates
from gateway.core.money import nanos

log = logging.getLogger(__name__)

PROVIDERS = {  # our kinds → where the catalogue lists their models
    "openai": "openai",
    "azure_openai": "azure",
    "anthropic": "anthropic",
    "gemini": "google",
    "vertex": "google",
    "bedrock": "aws",
    "mistral": "mistral",
    "cohere": "cohere",
}
CLASSES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_long": "cache_write_1h_mtok",
    "input_audio": "input_audio_mtok",
    "input_image": "input_image_mtok",
    "reasoning": "output_reasoning_mtok",
    "output_audio": "output_audio_mtok",
    "output_image": "output_image_mtok",
}
PER_THOUSAND = ("web_searches_kcount", "storage_searches_kcount")
# For workspaces that let unpriced models pass at a ceiling and have no price at all: above every list price of 2025.
DEAREST = Price(Rates(input=nanos("75"), output=nanos("600")), version="ceiling")


@lru_cache(maxsize=4096)
def price(kind: str, upstream: str) -> Price | None:
    """The list price of a provider's model, or None where the catalogue does not know it."""
    if kind == "demo":
        return Price(Rates(), version="demo")  # it answers here, and costs nothing
    model = listed_model(kind, upstream)
    if model is None:
        return None
    listed = model.get_prices(datetime.now(UTC))
    starts = sorted({tier.start for each in vars(listed).values() for tier in getattr(each, "tiers", ())})
    tiers = tuple((start, rates(listed, start + 1)) for start in starts)
    return Price(rates(listed, 0), tiers, version=f"catalogue:{model.id}")


def listed_model(kind: str, upstream: str) -> Any:
    """The catalogue's entry of a provider's model, or None where it has none."""
    provider = PROVIDERS.get(kind)
    if provider is None:
        return None
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - slow import: 0.8 s of tables

    try:
        return get_snapshot().find_provider_model(upstream, None, provider, None)[1]
    except LookupError:
        return None


def context_tokens(kind: str, upstream: str) -> int | None:
    """How much a provider's model reads at most, or None where the catalogue does not say."""
    model = listed_model(kind, upstream)
    return None if model is None else model.context_window


def rates(listed: Any, input_tokens: int) -> Rates:
    """The catalogue's price for an input of this length, in nano-dollars."""
    own: dict[str, int] = {}
    for name, key in CLASSES.items():
        amount = at(getattr(listed, key, None), input_tokens)
        if amount is not None:
            own[name] = nanos(amount)
    fees = [amount for key in PER_THOUSAND if (amount := at(getattr(listed, key, None), input_tokens)) is not None]
    if fees:
        own["tool_use"] = nanos(max(fees) / 1000)
    if (per_call := at(getattr(listed, "requests_kcount", None), input_tokens)) is not None:
        own["tool_use"] = max(own.get("tool_use", 0), nanos(per_call / 1000))
    return Rates(**own)


def at(listed: Any, input_tokens: int) -> Decimal | None:
    """One class's amount in dollars: plain, or the highest tier that this length reaches."""
    tiers = getattr(listed, "tiers", None)
    if tiers is None:
        return None if listed is None else Decimal(listed)
    amount = Decimal(listed.base)
    for tier in tiers:
        if input_tokens > tier.start:
            amount = Decimal(tier.price)
    return amount
