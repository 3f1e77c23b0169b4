"""Sessions and runs: which there were, and one from near with its calls in their order."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Max, Min, Q, QuerySet, Sum
from django.urls import reverse

from audit.admin.waterfall import Bar, percent
from audit.models import CallRecord
from audit.queries import user_names
from gateway.core.money import dollars

GROUPS = {"sessions": ("session_id", "session", "Sessions"), "runs": ("run_id", "run", "Runs")}
GROUPS_MOST = 100
GROUPED_CALLS_MOST = 5000  # the newest calls, whose sessions or runs are shown
CALLS_MOST = 200  # of one session or run, drawn on its page


def groups_of(found: QuerySet[CallRecord], by: str) -> list[dict[str, Any]]:
    """The sessions or runs of these calls, the newest first."""
    column, field, _ = GROUPS[by]
    found = found.filter(**{f"{column}__isnull": False})
    names = list(dict.fromkeys(found.order_by("-at").values_list(column, flat=True)[:GROUPED_CALLS_MOST]))[:GROUPS_MOST]
    rows = summed(found.filter(**{f"{column}__in": names}), "workspace_id", "workspace", column).order_by("-last")
    one = reverse(f"admin:audit_callrecord_{field}")
    return [
        row
        | {
            "name": row[column],
            "usd": dollars(row["cost"]),
            "url": f"{one}?{urlencode({field: row[column], 'workspace': row['workspace']})}",
            "seconds": (row["last"] - row["first"]).total_seconds(),
        }
        for row in rows
    ]


def summed(found: QuerySet[CallRecord], *columns: str) -> QuerySet[Any, dict[str, Any]]:
    return (
        found.order_by()
        .values(*columns)
        .annotate(
            calls=Count("pk"),
            unanswered=Count("pk", filter=~Q(outcome="answered")),
            cost=Sum("cost_nanos"),
            tokens=Sum("input_tokens") + Sum("output_tokens"),
            hits=Count("pk", filter=Q(cache__startswith="hit")),
            first=Min("at"),
            last=Max("at"),
        )
    )


def one_group(found: QuerySet[CallRecord]) -> dict[str, Any] | None:
    """What the calls of one session or run came to, and the first of them on one line of time; None where there are none."""
    total = summed(found, "workspace_id", "workspace").order_by("-calls").first()
    if total is None:
        return None
    found = found.filter(workspace_id=total["workspace_id"])
    calls = list(found.order_by("at", "pk")[:CALLS_MOST])
    names = user_names(calls)
    return total | {
        "lines": on_one_line(calls),
        "users": sorted({names.get((call.workspace_id, call.subject), call.subject) for call in calls if call.subject}),
        "models": sorted({call.model for call in calls if call.model}),
        "whole_us": max(micros_after(call, calls[0]) + call.total_us for call in calls),
        "busy_us": sum(call.total_us for call in calls),
        "left_out": total["calls"] - len(calls),
    }


def micros_after(call: CallRecord, first: CallRecord) -> int:
    return (call.at - first.at) // timedelta(microseconds=1)


def on_one_line(calls: Sequence[CallRecord]) -> list[tuple[CallRecord, Bar, int]]:
    """Each call with its bar on the line of time, and the pause before it where that is too long to be drawn as it was.

    People think between their calls; drawn to scale, a pause would leave no room for the calls.
    """
    longest = max(sum(call.total_us for call in calls) // 10, 1)
    placed, ended, cut = [], 0, 0  # in microseconds from the first call; `cut` is what was left out of pauses so far
    for call in calls:
        began = micros_after(call, calls[0])
        pause = began - ended
        left_out = pause - longest if pause > longest else 0
        cut += left_out
        placed.append((call, began - cut, pause if left_out else 0))
        ended = max(ended, began + call.total_us)
    whole = max(1, *(start + call.total_us for call, start, _ in placed))
    return [(call, bar(call, start, whole), pause) for call, start, pause in placed]


def bar(call: CallRecord, started_us: int, whole_us: int) -> Bar:
    """A call on the line of time."""
    left = min(percent(started_us, whole_us), 99.5)
    name, by = call.model or call.asked or call.form, call.prompt or call.route
    return Bar(
        name=name,
        note=by if by != name else "",
        outcome=call.outcome,
        left=left,
        width=max(min(percent(call.total_us, whole_us), 100.0 - left), 0.5),
        wait=percent(call.ttft_us or 0, max(call.total_us, 1)),
        ms=call.total_ms,
        cost_usd=dollars(call.cost_nanos),
    )
