"""One call as bars over time: each attempt, the wait for its first byte, and the gateway's own share."""

from dataclasses import dataclass
from typing import Any

from audit.models import CallRecord
from gateway.core.money import dollars


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the picture. `left`, `width` and `wait` are percentages of the call's whole time."""

    name: str
    note: str
    outcome: str
    left: float
    width: float
    wait: float
    ms: float
    cost_usd: str
    reason: str = ""


def waterfall(call: CallRecord, rest: dict[str, Any]) -> list[Bar]:
    """The bars of a call, the whole of it first."""
    whole = max(call.total_us, 1)
    bars = [
        Bar(
            name="The whole call",
            note=f"{call.route or call.asked or call.form}",
            outcome=call.outcome,
            left=0.0,
            width=100.0,
            wait=percent(call.ttft_us or 0, whole),
            ms=call.total_ms,
            cost_usd=dollars(call.cost_nanos),
        )
    ]
    for attempt in rest.get("attempts", []):
        started, took = attempt.get("started_us", 0), attempt.get("us", 0)
        first = attempt.get("first_byte_us")
        bars.append(
            Bar(
                name=f"{attempt['model']} at {attempt['provider']}",
                note=" · ".join(str(part) for part in (attempt.get("credential"), attempt.get("status")) if part),
                outcome=attempt.get("outcome", ""),
                left=min(percent(started, whole), 99.0),
                width=max(min(percent(took, whole), 100.0 - percent(started, whole)), 0.5),
                wait=percent(first - started, max(took, 1)) if first is not None else 100.0,
                ms=took / 1000,
                cost_usd=dollars(attempt.get("cost_nanos", 0)),
                reason=attempt.get("reason", ""),
            )
        )
    return bars


def percent(part: int, whole: int) -> float:
    return round(max(0.0, min(100.0, 100.0 * part / whole)), 2)
