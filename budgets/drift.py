"""Do the sums agree with the ledger's lines? Asked by `manage.py doctor`, from outside the serving processes."""

import time
from typing import Any

from django.db import transaction
from django.db.models import Sum

from budgets.models import Budget, Entry, Total
from budgets.queries import opening_sums
from budgets.services.spending import raise_totals
from tenants.models import Workspace

AT_ONCE = 2000
LOOK_AGAIN_SECONDS = 1.0
WHAT_TO_DO = "start a worker, which makes them again; if one runs, look at its log for what keeps it from doing so"


def totals_off() -> list[tuple[str, int]]:
    """(workspace's name, totals minus lines in nano-dollars) where they differ. The largest difference first."""
    with transaction.atomic():
        lines = dict(Entry.objects.order_by().values_list("workspace_id").annotate(Sum("nanos")))
        of_workspaces = Total.objects.filter(of="workspace").order_by()
        totals = dict(of_workspaces.values_list("workspace_id").annotate(Sum("nanos")))
    names = {str(pk): name for pk, name in Workspace.objects.values_list("pk", "name")}
    off = [(pk, totals.get(pk, 0) - lines.get(pk, 0)) for pk in {*lines, *totals}]
    return sorted(((names.get(pk, pk), gap) for pk, gap in off if gap), key=lambda each: -abs(each[1]))


def rebuild_totals() -> int:
    """Make every daily total again from the ledger's lines, in one transaction; returns how many lines there are."""
    with transaction.atomic():
        Total.objects.all().delete()
        count, batch = 0, []
        settled = settled_attempts()
        for entry in Entry.objects.order_by("pk").iterator(chunk_size=AT_ONCE):
            batch.append(as_line(entry, settled))
            count += 1
            if len(batch) == AT_ONCE:
                raise_totals(batch)
                batch = []
        if batch:
            raise_totals(batch)
    return count


def settled_attempts() -> set[str]:
    """Attempts that were booked in doubt and are known by now."""
    found = Entry.objects.filter(status="correction").values_list("attempt", flat=True)
    return {attempt.partition("+")[0] for attempt in found.iterator(chunk_size=AT_ONCE)}


def as_line(entry: Entry, settled: set[str]) -> dict[str, Any]:
    """An entry as it was given to be booked; of a doubt that is settled, nothing is in doubt."""
    in_doubt = entry.status == Entry.Status.IN_DOUBT
    return {
        "attempt": entry.attempt,
        "at": entry.at.timestamp(),
        "workspace": entry.workspace_id,
        "team": entry.team_id,
        "key": entry.key_id,
        "user": entry.user,
        "model": entry.model,
        "provider": entry.provider,
        "nanos": entry.nanos,
        "tokens": entry.tokens,
        "status": "exact" if in_doubt and entry.attempt in settled else entry.status,
    }


def counters_off(url: str) -> str:
    """What is wrong with the shared counters and what to do; empty when nothing is. Raises RedisError."""
    import redis  # noqa: PLC0415 - optional: only where REDIS_URL is set

    with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, decode_responses=True) as client:
        epoch = client.get("tg:epoch")
        if not epoch:
            return f"Redis holds no counters of budgets: {WHAT_TO_DO}" if opening_sums(time.time()) else ""
        off = behind(client, str(epoch))
        if off:  # what is being booked just now is not yet on both sides
            time.sleep(LOOK_AGAIN_SECONDS)
            off = [name for name in behind(client, str(epoch)) if name in off]
    if not off:
        return ""
    return f"{len(off)} counter(s) in Redis are behind their ledger lines, first {off[0]}: {WHAT_TO_DO}"


def behind(client: Any, epoch: str) -> list[str]:
    """Buckets of which the ledger has more than was counted and is held. Ahead is where lines are still on the way."""
    found = []
    rows = Budget.objects.exclude(of="call").values_list("workspace", "of", "per", "limit_nanos")
    counted = {(f"{{{pk}}}", of, per, "tokens" if nanos is None else "usd") for pk, of, per, nanos in rows}
    for name, (booked, _) in opening_sums(time.time()).items():
        workspace, of, per, _, unit, _ = name.split(":", 5)
        if (workspace, of, per, unit) not in counted:
            continue
        spent, held = client.hmget(f"tg:{epoch}:b:{name}", "spent", "held")
        if booked > int(spent or 0) + int(held or 0):
            found.append(name)
    return found
