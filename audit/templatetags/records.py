"""Amounts, durations and words on the pages of records."""

import json
from typing import Any

from django import template

from gateway.core.money import dollars

register = template.Library()


@register.filter
def usd(amount_nanos: int) -> str:
    """Dollars, short: "$0.00002", "$1.50", "$0"."""
    if not amount_nanos:
        return "$0"
    if abs(amount_nanos) < 10_000_000:
        return f"${dollars(amount_nanos)}"
    return f"${amount_nanos / 1_000_000_000:,.4f}".rstrip("0").rstrip(".")


@register.filter
def duration(microseconds: int | None) -> str:
    """A duration as a person says it: "840 µs", "12.3 ms", "4.21 s", "31 min 20 s", "5 h 2 min"."""
    if microseconds is None:
        return "–"
    if microseconds < 1000:
        return f"{max(microseconds, 0)} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.1f} ms"
    if microseconds < 60_000_000:
        return f"{microseconds / 1_000_000:.2f} s"
    minutes, seconds = divmod(microseconds // 1_000_000, 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


@register.filter
def minus(one: int, other: int) -> int:
    return max(0, one - other)


@register.filter
def words(name: str) -> str:
    """A name of ours in words: "client_left" is "client left"."""
    return str(name).replace("_", " ").replace(".", " ").replace(",", ", ")


@register.filter
def lines(entries: list[Any]) -> str:
    """A list of small objects, one a line: "name: value, name: value"; what was found how often as "kind 2"."""
    return "\n".join(
        ", ".join(f"{name}: {_said(value)}" for name, value in entry.items()) if isinstance(entry, dict) else str(entry)
        for entry in entries
    )


def _said(value: Any) -> str:
    return "; ".join(f"{name} {count}" for name, count in value.items()) if isinstance(value, dict) else str(value)


@register.filter
def pretty(value: Any) -> str:
    """JSON indented; what is no JSON stays as it is."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return str(value)
    return json.dumps(value, indent=2, ensure_ascii=False)
