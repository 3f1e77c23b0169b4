"""Fill the database with call records, as the writer would have written them, to measure pages and jobs at size.

    python -m bench.fill_records 1000000 --days 60

Records, leaves and seals are made by the product's own code, so `audit verify` holds afterwards.
"""

import argparse
import itertools
import os
import random
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import transaction  # noqa: E402

from audit import batch  # noqa: E402
from audit.record import AttemptRecord, Record  # noqa: E402
from audit.recorder import subject_token  # noqa: E402
from audit.services.sealing import Sealer  # noqa: E402
from tenants.models import Workspace  # noqa: E402

BATCH = 1000
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
    return Record(
        call_id=call_id(int(at * 1000), chance),
        at_us=int(at * 1e6), worker="filler", seq=number, workspace_id=str(workspace.pk), workspace=workspace.name,
        key_id=f"key-{key}", key=key, team="search" if key == "web" else "", user=user,
        subject=subject_token(b"filler", user) if user else "", form="chat", route="chat", asked="chat", model=model,
        provider=provider, prompt=f"summary@{chance.randrange(1, 5)}" if chance.random() < 0.2 else "", status=status,
        outcome=outcome, code=code, streamed=chance.random() < 0.5, input_tokens=tokens[0], output_tokens=tokens[1],
        cost_nanos=cost, cache="miss", attempts=attempts, ttft_us=took // 3, us=took, upstream_us=took - 600,
        finish="stop", session_id=f"session-{number // 7}" if chance.random() < 0.3 else "",
        run_id=f"run-{number // 40}" if chance.random() < 0.1 else "", tags=["nightly"] if chance.random() < 0.02 else [],
        peer="10.0.0.7", keep_until_us=int(at * 1e6) + workspace.records_days * 86_400_000_000,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=int)
    parser.add_argument("--days", type=float, default=60.0, help="spread over so many days up to now")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    workspaces = [Workspace.objects.get_or_create(name=name)[0] for name in ("acme", "globex", "initech")]
    sealer = Sealer(settings.KEYRING, settings.DATA_DIR / "seals")
    numbers = {workspace.pk: itertools.count(1) for workspace in workspaces}
    began, now, step = time.perf_counter(), time.time(), options.days * 86_400 / options.records
    for start in range(0, options.records, BATCH):
        made = []
        for index in range(start, min(start + BATCH, options.records)):
            workspace = chance.choices(workspaces, (8, 1, 1))[0]
            at = now - (options.records - index) * step
            made.append(record(next(numbers[workspace.pk]), at, workspace, chance))
        with transaction.atomic():
            batch.write(made, "", -1)
        if start // BATCH % 4 == 3 or start + BATCH >= options.records:
            for workspace_id in sealer.seal():
                sealer.export(workspace_id)
        if start // BATCH % 50 == 49:
            print(f"{start + BATCH:>9} records, {(time.perf_counter() - began) / (start + BATCH) * 1e6:.0f} µs each")
    sealer()


if __name__ == "__main__":
    main()
