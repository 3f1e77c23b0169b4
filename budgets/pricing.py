"""What tokens cost: one table of rates for the bound before a call and for the bill after it.

Rates are nano-dollars per million tokens (`tool_use`: nano-dollars per use). A class without a rate of
its own is billed as what it is a part of: cached and written tokens, audio and images at the input's
rate, reasoning, spoken and drawn output at the output's. Every component is rounded up by itself, once
for an attempt, in integers.

Tiers are cliffs: a call whose input is longer than `above_input_tokens` pays the tier's rates for all of
its tokens. Service tiers (flex, priority …) are whole price lists of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway.core.call import Usage
from gateway.core.money import MILLION, nanos, part

INPUT_PARTS = ("cached_input", "cache_write", "cache_write_long", "input_audio", "input_image")
OUTPUT_PARTS = ("reasoning", "output_audio", "output_image")
CLASSES = ("input", "output", *INPUT_PARTS, *OUTPUT_PARTS, "tool_use")
USAGE_FIELD = {name: name for name in (*INPUT_PARTS, *OUTPUT_PARTS)} | {"cached_input": "cached"}


@dataclass(frozen=True, slots=True)
class Rates:
    """Nano-dollars per million tokens of each class, and per use of a hosted tool. None: as the class it is part of."""

    input: int = 0
    output: int = 0
    cached_input: int | None = None
    cache_write: int | None = None
    cache_write_long: int | None = None
    input_audio: int | None = None
    input_image: int | None = None
    reasoning: int | None = None
    output_audio: int | None = None
    output_image: int | None = None
    tool_use: int = 0

    _input_parts: tuple[tuple[str, int], ...] = field(default=(), init=False, repr=False, compare=False)
    _output_parts: tuple[tuple[str, int], ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_input_parts", self._own(INPUT_PARTS))
        object.__setattr__(self, "_output_parts", self._own(OUTPUT_PARTS))

    def _own(self, names: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
        return tuple((USAGE_FIELD[name], rate) for name in names if (rate := getattr(self, name)) is not None)

    def cost(self, usage: Usage) -> int:
        """Nano-dollars of this usage at these rates."""
        total = usage.tool_uses * self.tool_use if self.tool_use else 0
        plain = usage.input
        for name, rate in self._input_parts:
            # No more than is left: providers do count one token in two classes, or more reasoning than output.
            if count := min(getattr(usage, name), plain):
                total += part(count, rate)
                plain -= count
        total += part(plain, self.input)
        plain = usage.output
        for name, rate in self._output_parts:
            if count := min(getattr(usage, name), plain):
                total += part(count, rate)
                plain -= count
        return total + part(plain, self.output)


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """The most that an attempt may use, in tokens, and what it may hold that is billed apart."""

    input: int
    output: int
    audio: bool = False
    image: bool = False
    cache_write: bool = False
    tool_uses: int = 0
    service_tier: str = ""  # empty or "auto": the provider may choose any

    @property
    def tokens(self) -> int:
        return self.input + self.output


@dataclass(frozen=True)
class Price:
    """The price list of one model, as it was from one day on. `version` names it in ledger rows.

    tiers          (above_input_tokens, rates), ascending
    service_tiers  the provider's name of a service tier → its own price list
    """

    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    service_tiers: Mapping[str, "Price"] = field(default_factory=dict)
    version: str = ""
    _worst: dict[Any, tuple[int, int, int, int]] = field(
        default_factory=dict, init=False, repr=False, compare=False, hash=False
    )

    def at(self, input_tokens: int, service_tier: str = "") -> Rates:
        """The rates for an input of this length, billed in this service tier."""
        if service_tier and (own := self.service_tiers.get(service_tier)) is not None:
            return own.at(input_tokens)
        for above, rates in reversed(self.tiers):
            if input_tokens > above:
                return rates
        return self.rates

    def cost(self, usage: Usage) -> int:
        """Nano-dollars of what was used, exactly."""
        return self.at(usage.input, usage.service_tier).cost(usage)

    def ceiling(self, estimate: Estimate) -> int:
        """Nano-dollars that no usage within the estimate can pass, whatever tier or class it is billed in.

        Every token is taken as one of the dearest class that may apply to it. The slack
        covers that a sum of components, each rounded up, can pass the rounded sum.
        """
        base, out_rate = self.bound(estimate)
        return base + part(estimate.output, out_rate)

    def bound(self, estimate: Estimate) -> tuple[int, int]:
        """The ceiling in two parts: nano-dollars for all but the output, and nano-dollars per million output tokens.

        A ledger can so find out how much output a budget still pays for:
        ceiling = base + part(output, rate).
        """
        in_rate, out_rate, tool_use, slack = self._dearest(estimate)
        return part(estimate.input, in_rate) + estimate.tool_uses * tool_use + slack, out_rate

    def _dearest(self, estimate: Estimate) -> tuple[int, int, int, int]:
        """The dearest input rate, output rate and tool fee that may apply, and the slack for rounding; kept."""
        if not self.service_tiers and not self.tiers:
            key: Any = (estimate.audio, estimate.image, estimate.cache_write)
        else:
            key = (estimate.audio, estimate.image, estimate.cache_write, estimate.service_tier, estimate.input)
        if (known := self._worst.get(key)) is None:
            if len(self._worst) > 1024:  # lengths of input are part of the key where there are tiers
                self._worst.clear()
            known = self._worst[key] = dearest(self._reachable(estimate), estimate)
        return known

    def _reachable(self, estimate: Estimate) -> list[Rates]:
        reachable = [self.rates, *(rates for above, rates in self.tiers if estimate.input > above)]
        pinned = estimate.service_tier not in ("", "auto")
        for name, price in self.service_tiers.items():
            if not pinned or name == estimate.service_tier:
                reachable += price._reachable(estimate)
        return reachable


def dearest(reachable: list[Rates], estimate: Estimate) -> tuple[int, int, int, int]:
    """The dearest rates among those that may apply: input, output, tool use, and nano-dollars of rounding slack."""
    inputs, outputs = ["cached_input"], ["reasoning"]
    if estimate.cache_write:
        inputs += ["cache_write", "cache_write_long"]
    if estimate.audio:
        inputs.append("input_audio")
    if estimate.image:
        inputs.append("input_image")
    outputs = [
        "reasoning",
        *(["output_audio"] if estimate.audio else []),
        *(["output_image"] if estimate.image else []),
    ]

    def worst(whole: str, parts: list[str]) -> tuple[int, int]:
        top, slack = 0, 0
        for rates in reachable:
            own = [rate for name in parts if (rate := getattr(rates, name)) is not None]
            top = max(top, getattr(rates, whole), *own) if own else max(top, getattr(rates, whole))
            slack = max(slack, sum(1 for rate in own if rate % MILLION))
        return top, slack

    in_rate, in_slack = worst("input", inputs)
    out_rate, out_slack = worst("output", outputs)
    return in_rate, out_rate, max(rates.tool_use for rates in reachable), in_slack + out_slack


def parse_rates(given: Mapping[str, Any]) -> Rates:
    """Rates from decimal strings: dollars per million tokens, `tool_use` dollars per use.

    Raises ValueError, naming the class, for an unknown class or something that is no amount.
    """
    rates: dict[str, int] = {}
    for name, amount in given.items():
        if name not in CLASSES:
            raise ValueError(f"{name!r} is not a class of tokens; known are {', '.join(CLASSES)}")
        if amount is None:
            continue
        try:
            rates[name] = nanos(amount)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if rates[name] < 0:
            raise ValueError(f"{name}: a price can't be negative")
    return Rates(**rates)


def parse_price(given: Mapping[str, Any], version: str = "") -> Price:
    """A price from a configuration's mapping: rates, `tiers` and `service_tiers`, in dollars as decimal strings.

    {"input": "1.25", "output": "10", "tiers": [{"above_input_tokens": 200000, "input": "2.50", "output": "15"}],
     "service_tiers": {"flex": {"input": "0.625", "output": "5"}}}

    Raises ValueError, naming what is wrong.
    """
    flat = {name: amount for name, amount in given.items() if name not in ("tiers", "service_tiers")}
    tiers = []
    for tier in given.get("tiers") or ():
        above = tier.get("above_input_tokens")
        if isinstance(above, bool) or not isinstance(above, int) or above < 1:
            raise ValueError("tiers: above_input_tokens must be a whole number of tokens")
        own = {name: amount for name, amount in tier.items() if name != "above_input_tokens"}
        tiers.append((above, parse_rates({**flat, **own})))
    services = {name: parse_price(own) for name, own in (given.get("service_tiers") or {}).items()}
    return Price(parse_rates(flat), tuple(sorted(tiers, key=lambda tier: tier[0])), services, version)
