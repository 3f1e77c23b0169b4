"""Reading what calls left behind for the gateway's own pages."""

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime
from typing import NamedTuple

from django.db.models import Q

from audit.models import CallRecord

RECORDS_MOST = 20_000  # newest first: what a page reads at most


class Found(NamedTuple):
    """How much redaction found. `days` newest first; `until`: the oldest record read, where older ones were left out."""

    kinds: tuple[str, ...]
    days: tuple[date, ...]
    by_day: dict[date, dict[str, int]]
    calls: int
    until: datetime | None


def redaction_found(*, workspace_ids: Iterable[str] | None, since: datetime) -> Found:
    """What redaction found by day (UTC) and kind, from the records of calls; None for all workspaces. Never the values."""
    where = Q(at__gte=since, redacted__gt=0)
    if workspace_ids is not None:
        where &= Q(workspace_id__in=list(workspace_ids))
    rows = CallRecord.objects.filter(where).order_by("-at").values_list("at", "rest")[:RECORDS_MOST]
    by_day: dict[date, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    kinds: set[str] = set()
    last: datetime | None = None
    calls = 0
    for at, rest in rows:
        calls, last = calls + 1, at
        for entry in json.loads(rest).get("guardrails", []):
            if entry.get("kind") == "redaction":
                for kind, count in entry.get("found", {}).items():
                    by_day[at.date()][kind] += count
                    kinds.add(kind)
    days = tuple(sorted(by_day, reverse=True))
    return Found(
        tuple(sorted(kinds)),
        days,
        {day: dict(found) for day, found in by_day.items()},
        calls,
        last if calls == RECORDS_MOST else None,
    )
