"""Fill the database with call records, as the writer would have written them, to measure pages and jobs at size.

    python -m bench.fill_records 1000000 --days 60

An empty installation is furnished with the demo first, so that every page has something to show. Records, bodies, ledger
lines, changes, sums, leaves and seals are made by the product's own code, so `audit verify` holds afterwards.
"""

import argparse
import itertools
import json
import os
import random
import sys
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection, transaction  # noqa: E402

from audit import batch  # noqa: E402
from audit.bodies import BodySealer  # noqa: E402
from audit.models import AuditEvent, Feedback  # noqa: E402
from audit.record import AttemptRecord, Record  # noqa: E402
from audit.recorder import DAY_US, subject_token  # noqa: E402
from audit.services import rollups  # noqa: E402
from audit.services.changes import as_text  # noqa: E402
from audit.services.sealing import Sealer  # noqa: E402
from budgets.models import Budget  # noqa: E402
from budgets.services.spending import book_records  # noqa: E402
from gateway.services.demo.furnishing import furnish  # noqa: E402
from tenants.models import Workspace  # noqa: E402

BATCH = 1000
WITH_BODIES, WITH_CHANGE, WITH_FEEDBACK = 0.05, 0.05, 0.02  # of all calls
BUDGETS = (("workspace", "month"), ("key", "month"), ("user", "day"), ("model", "week"), ("provider", "total"))
SHORT_DAYS = 30  # what one of the workspaces keeps, so that the retention job finds something
MODELS = (
    ("gpt-4o-mini", "openai", 150, 600),
    ("claude-sonnet-4-5", "anthropic", 3000, 15000),
    ("nova-lite", "bedrock", 60, 240),
)
OUTCOMES = ("answered",) * 95 + ("refused",) * 2 + ("failed",) * 2 + ("client_left",)
STATUS = {
    "answered": (200, ""),
    "refused": (429, "budget_exceeded"),
    "failed": (502, "all_targets_failed"),
    "client_left": (499, "client_left"),
}


def call_id(milliseconds: int, chance: random.Random) -> str:
    """A UUIDv7 of that moment, from this chance."""
    low = (2 << 62) | chance.getrandbits(62)
    return str(uuid.UUID(int=(milliseconds << 80) | (7 << 76) | (chance.getrandbits(12) << 64) | low))


def record(number: int, at: float, workspace: Workspace, chance: random.Random) -> Record:
    model, provider, input_price, output_price = chance.choice(MODELS)
    outcome = chance.choice(OUTCOMES)
    status, code = STATUS[outcome]
    tokens = (chance.randrange(20, 2000), chance.randrange(1, 800)) if outcome == "answered" else (0, 0)
    cost = tokens[0] * input_price + tokens[1] * output_price
    took = int(chance.lognormvariate(13.3, 0.6))
    user = f"user-{chance.randrange(500)}" if chance.random() < 0.6 else ""
    attempts = [
        AttemptRecord(
            model=model,
            provider=provider,
            credential="main",
            status=status,
            outcome=outcome,
            started_us=400,
            first_byte_us=took // 3,
            us=took - 600,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            cost_nanos=cost,
        )
    ]
    if chance.random() < 0.05:
        attempts.insert(
            0,
            AttemptRecord(
                model="llama-local",
                provider="own",
                outcome="failed",
                reason="connect: refused",
                started_us=300,
                us=2000,
            ),
        )
    key = chance.choice(("web", "batch", "mobile"))
    made = Record(
        call_id=call_id(int(at * 1000), chance),
        at_us=int(at * 1e6), worker="filler", seq=number, workspace_id=str(workspace.pk), workspace=workspace.name,
        key_id=f"key-{key}", key=key, team="search" if key == "web" else "", user=user,
        subject=subject_token(b"filler", user) if user else "", form="chat", route="chat", asked="chat", model=model,
        provider=provider, prompt=f"summary@{chance.randrange(1, 5)}" if chance.random() < 0.2 else "", status=status,
        outcome=outcome, code=code, streamed=chance.random() < 0.5, input_tokens=tokens[0], output_tokens=tokens[1],
        cost_nanos=cost, cache="miss", attempts=attempts, ttft_us=took // 3, us=took, upstream_us=took - 600,
        finish="stop", session_id=f"session-{number // 7}" if chance.random() < 0.3 else "",
        run_id=f"run-{number // 40}" if chance.random() < 0.1 else "", tags=["nightly"] if chance.random() < 0.02 else [],
        peer="10.0.0.7", keep_until_us=int(at * 1e6) + workspace.records_days * DAY_US,
    )  # fmt: skip
    made.entries = [ledger_line(made, len(attempts))] if outcome == "answered" else []
    return made


def ledger_line(record: Record, number: int) -> dict[str, Any]:
    return {
        "attempt": f"{record.call_id}.{number}", "at": record.at_us / 1e6, "workspace": record.workspace_id,
        "team": "", "key": record.key_id, "user": record.user, "model": record.model, "provider": record.provider,
        "nanos": record.cost_nanos, "tokens": record.input_tokens + record.output_tokens, "status": "exact",
        "price": "", "classes": {"input": record.input_tokens, "output": record.output_tokens},
    }  # fmt: skip


def keep_bodies(record: Record, workspace: Workspace, sealer: BodySealer) -> None:
    """Store what was asked and answered, as a worker stores it."""
    asked = {"model": "chat", "messages": [{"role": "user", "content": f"What is {record.seq} plus {record.us}?"}]}
    answered = {"choices": [{"message": {"role": "assistant", "content": f"It is {record.seq + record.us}."}}]}
    owner = (record.workspace_id, record.subject, datetime.fromtimestamp(record.at_us / 1e6, UTC).strftime("%Y-%m-%d"))
    for kind, body in (("request", asked), ("answer", answered)):
        place = (record.workspace_id, record.call_id, kind)
        record.bodies.append(sealer.seal(place, owner, json.dumps(body).encode()))
    record.body_key = sealer.key(*owner)
    record.bodies_until_us = record.at_us + workspace.bodies_days * DAY_US


def change(record: Record, chance: random.Random) -> AuditEvent:
    """Somebody changed a rate limit at the time of this call."""
    amount = chance.randrange(10, 1000)
    return AuditEvent(
        id=uuid.UUID(call_id(record.at_us // 1000, chance)),
        at=datetime.fromtimestamp(record.at_us / 1e6, UTC),
        kind="change",
        workspace_id=record.workspace_id,
        workspace=record.workspace,
        actor_id=str(number := chance.randrange(20)),
        actor=f"admin-{number}",
        origin=f"10.0.1.{number}",
        object_type="rate limit",
        object_id=str(chance.randrange(1, 200)),
        object_name=f"requests of {record.key}",
        before=as_text({"amount": amount}),
        after=as_text({"amount": amount + 10}),
        keep_until=datetime.fromtimestamp((record.keep_until_us or 0) / 1e6, UTC),
    )


def opinion(record: Record, chance: random.Random) -> Feedback:
    """What the caller thought of this call's answer."""
    score, label = chance.choice(((1.0, "helpful"), (-1.0, "wrong")))
    return Feedback(
        at=datetime.fromtimestamp((record.at_us + record.us) / 1e6, UTC),
        call_id=record.call_id,
        workspace_id=record.workspace_id,
        workspace=record.workspace,
        by=record.key,
        score=score,
        label=label,
    )


def furnished() -> list[Workspace]:
    """The workspaces to fill, with budgets; one of them keeps its records for a short time."""
    furnish()
    made = []
    for name in ("acme", "globex", "initech"):
        days = {"records_days": SHORT_DAYS} if name == "initech" else {}
        workspace, _ = Workspace.objects.get_or_create(name=name, defaults={"bodies_days": 20, **days})
        for of, per in BUDGETS:
            caps = {"of": of, "per": per, "limit_nanos": 10**15}
            Budget.objects.get_or_create(workspace=workspace, name=f"{of} a {per}", defaults=caps)
        made.append(workspace)
    return made


def write(made: Sequence[Record], workspaces: dict[str, Workspace], sealer: BodySealer, chance: random.Random) -> None:
    """One batch in one transaction, with what belongs to it and what people did meanwhile."""
    for each in made:
        if chance.random() < WITH_BODIES:
            keep_bodies(each, workspaces[each.workspace_id], sealer)
    with transaction.atomic():
        batch.write(made, "", -1)
        book_records(made)
        for each in made:
            if chance.random() < WITH_CHANGE:
                batch.append_event(change(each, chance))
        Feedback.objects.bulk_create(
            [opinion(each, chance) for each in made if chance.random() < WITH_FEEDBACK], batch_size=50
        )


def analyze() -> None:
    """What PostgreSQL does by itself some minutes later: count the rows of its tables, though not of divided ones."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
            for (name,) in cursor.fetchall():
                cursor.execute(f'ANALYZE "{name}"')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=int)
    parser.add_argument("--days", type=float, default=60.0, help="spread over so many days up to now")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    workspaces = furnished()
    by_id = {str(workspace.pk): workspace for workspace in workspaces}
    sealer = Sealer(settings.KEYRING, settings.DATA_DIR / "seals")
    bodies = BodySealer(settings.KEYRING.seal)
    numbers = {workspace.pk: itertools.count(1) for workspace in workspaces}
    began, now, step = time.perf_counter(), time.time(), options.days * 86_400 / options.records
    for start in range(0, options.records, BATCH):
        made = []
        for index in range(start, min(start + BATCH, options.records)):
            workspace = chance.choices(workspaces, (8, 1, 1))[0]
            at = now - (options.records - index) * step
            made.append(record(next(numbers[workspace.pk]), at, workspace, chance))
        write(made, by_id, bodies, chance)
        if start // BATCH % 4 == 3 or start + BATCH >= options.records:
            for workspace_id in sealer.seal():
                sealer.export(workspace_id)
        if start // BATCH % 50 == 49:
            spent = (time.perf_counter() - began) / (start + BATCH) * 1e6
            print(f"{start + BATCH:>9} records, {spent:.0f} µs each", file=sys.stderr)
    sealer()
    rollups.roll_up(seconds=3600)
    analyze()


if __name__ == "__main__":
    main()
