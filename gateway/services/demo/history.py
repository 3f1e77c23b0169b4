"""Two weeks of believable calls, written as records by the audit trail's own code and booked by the budgets'.

Made from a fixed seed, so that two fresh installations tell the same story up to the hour at which they are made.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from audit import batch
from audit.bodies import BodySealer
from audit.compiler import keeping
from audit.models import Feedback
from audit.record import AttemptRecord, Record
from audit.recorder import DAY_US, subject_token
from audit.snapshot import Keeping
from budgets import bill
from budgets.models import Price
from budgets.services.spending import book_records
from gateway.core.call import Usage
from gateway.core.ids import new_id
from gateway.core.money import part
from gateway.services.demo.story import ANSWERS, KINDS, QUESTIONS, REFUSALS, TAGS, USERS, Kind
from tenants.models import ApiKey, Workspace

DAYS = 14
CALLS_ON_WEEKDAYS = 36
CALLS_ON_WEEKENDS = 12
WORKER = "demo-history"
RECORDS_AT_ONCE = 100


class Dice:
    """Numbers that look random and are the same every time."""

    def __init__(self, seed: str) -> None:
        self.seed, self.thrown = seed, 0

    def share(self) -> float:
        """From 0 to 1."""
        self.thrown += 1
        return int.from_bytes(hashlib.sha256(f"{self.seed}:{self.thrown}".encode()).digest()[:6]) / 2**48

    def between(self, least: float, most: float) -> float:
        return least + (most - least) * self.share()

    def one_of(self, choices: Sequence[Any]) -> Any:
        return choices[int(self.share() * len(choices))]


@dataclass(slots=True)
class Teller:
    """What every call of the story needs."""

    workspace: Workspace
    keys: dict[str, ApiKey]
    prices: dict[str, Price]
    keeping: Keeping
    sealer: BodySealer
    dice: Dice


def write_history(*, workspace: Workspace, keys: Sequence[ApiKey], now: datetime | None = None) -> int:
    """Write the story's records, ledger lines and feedback; returns how many calls there are."""
    teller = Teller(
        workspace=workspace,
        keys={key.name: key for key in keys},
        prices={price.model: price for price in Price.objects.filter(source=Price.Source.CONFIGURATION)},
        keeping=keeping(workspace),
        sealer=BodySealer(lambda secret, place: settings.KEYRING.seal(secret, place)),
        dice=Dice("tollgate"),
    )
    records = [record_of(teller, at) for at in moments(teller.dice, now or datetime.now(UTC))]
    for number, record in enumerate(records, start=1):
        record.seq = number
    with transaction.atomic():
        for start in range(0, len(records), RECORDS_AT_ONCE):
            some = records[start : start + RECORDS_AT_ONCE]
            batch.write(some, "", -1)
            book_records(some)
        for record in records[::17]:
            if record.outcome == "answered":
                give_feedback(teller, record)
    return len(records)


def moments(dice: Dice, now: datetime) -> Iterator[datetime]:
    """When calls came in, oldest first: mostly in working hours, fewer on weekends, none in the future."""
    for days_ago in range(DAYS, -1, -1):
        day = (now - timedelta(days=days_ago)).replace(hour=0, minute=0, second=0, microsecond=0)
        count = CALLS_ON_WEEKENDS if day.weekday() >= 5 else CALLS_ON_WEEKDAYS
        hours = sorted(24 * dice.share() if dice.share() < 0.2 else dice.between(7.5, 18.5) for _ in range(count))
        for hour in hours:
            at = day + timedelta(hours=hour)
            if at < now - timedelta(minutes=2):
                yield at


def record_of(teller: Teller, at: datetime) -> Record:
    """One call, with all that a record holds."""
    dice = teller.dice
    kind: Kind = next(kind for kind in KINDS if dice.share() < kind.share or kind is KINDS[-1])
    key = teller.keys[kind.key]
    user = dice.one_of(USERS) if kind.has_users else ""
    at_us = int(at.timestamp() * 1e6)
    record = Record(
        call_id=new_id(at_us // 1000),
        at_us=at_us,
        worker=WORKER,
        workspace_id=str(teller.workspace.pk),
        workspace=teller.workspace.name,
        key_id=str(key.pk),
        key=key.name,
        team_id=str(key.team_id or ""),
        team=key.team.name if key.team else "",
        user=user,
        subject=subject_token(teller.keeping.subject_key, user) if user else "",
        form=kind.form,
        route=kind.route,
        asked=kind.asked,
        prompt=kind.prompt,
        streamed=kind.form == "chat" and dice.share() < 0.6,
        cache="miss" if kind.route == "faq" else "off",
        tags=[dice.one_of(TAGS)] if dice.share() < 0.4 else [],
        session_id=f"s-{at:%m%d}-{user}" if user and dice.share() < 0.5 else "",
        peer=f"10.20.{dice.one_of((1, 2))}.{int(dice.between(10, 60))}",
        keep_until_us=at_us + DAY_US * (teller.keeping.records_days or 365),
    )
    record.metadata = {"tags": record.tags} if record.tags else {}
    happened = dice.share()
    if happened < 0.03:
        refuse(record, *dice.one_of(REFUSALS))
    elif kind.route == "faq" and happened < 0.4:
        answer_from_cache(record, dice)
    elif happened < 0.05:
        fail(record, teller, kind)
    else:
        answer(record, teller, kind, falls_back=happened > 0.95, leaves=0.93 < happened <= 0.945)
    return record


def refuse(record: Record, status: int, code: str, message: str) -> None:
    record.status, record.code, record.message, record.outcome = status, code, message, "refused"
    record.us = 240


def answer_from_cache(record: Record, dice: Dice) -> None:
    record.status, record.outcome, record.cache, record.finish = 200, "answered", "hit-exact", "stop"
    record.input_tokens, record.output_tokens = int(dice.between(20, 60)), int(dice.between(40, 160))
    record.us = int(dice.between(600, 1500))
    record.ttft_us = record.us - 100


def fail(record: Record, teller: Teller, kind: Kind) -> None:
    """Every target failed, so the caller was told why."""
    for model in kind.models:
        started, took = record.us, int(teller.dice.between(80_000, 900_000))
        record.us += took
        failed = AttemptRecord(model, "demo", status=503, outcome="failed", started_us=started, us=took)
        failed.reason = "503 the provider is overloaded"
        record.attempts.append(failed)
    record.status, record.outcome, record.code = 502, "failed", "all_targets_failed"
    record.message = "; ".join(f"{each.model}: {each.reason}" for each in record.attempts)
    record.model, record.provider, record.upstream_us = kind.models[-1], "demo", record.us


def answer(record: Record, teller: Teller, kind: Kind, *, falls_back: bool, leaves: bool) -> None:
    """The call was answered, perhaps by the second target, perhaps to a client that left midway."""
    dice = teller.dice
    models = kind.models[:2] if falls_back and len(kind.models) > 1 else kind.models[:1]
    if len(models) > 1:
        took = int(dice.between(50_000, 400_000))
        failed = AttemptRecord(models[0], "demo", status=429, outcome="failed", reason="429 slow down", us=took)
        record.attempts.append(failed)
        record.us = took
    model = models[-1]
    usage = Usage(input=int(dice.between(*kind.input_tokens)), output=int(dice.between(*kind.output_tokens)))
    if leaves and record.streamed:
        usage.output //= 3
        usage.estimated = True
    usage.cached = usage.input // 2 if usage.input > 1200 else 0
    price = teller.prices[model]
    cost = part(usage.input - usage.cached, price.input_nanos) + part(usage.output, price.output_nanos)
    cost += part(usage.cached, price.cached_input_nanos or price.input_nanos)
    first = int(dice.between(120_000, 900_000 if model == "demo-large" else 450_000))
    took = first + usage.output * (22_000 if model == "demo-large" else 11_000)
    started = record.us
    record.attempts.append(
        AttemptRecord(
            *(model, "demo"),
            status=200,
            outcome="answered",
            started_us=started,
            first_byte_us=started + first,
            us=took,
            input_tokens=usage.input,
            output_tokens=usage.output,
            cost_nanos=cost,
        )
    )
    record.us += took + 700
    record.ttft_us = started + first if record.streamed else record.us
    record.upstream_us = record.us - 700
    record.model, record.provider, record.cost_nanos = model, "demo", cost
    record.input_tokens, record.output_tokens, record.cached_tokens = usage.input, usage.output, usage.cached
    record.status, record.finish, record.estimated = 200, "stop", usage.estimated
    record.outcome = "client_left" if usage.estimated else "answered"
    record.redacted = int(dice.between(1, 4)) if kind.key == "helpdesk" and dice.share() < 0.3 else 0
    record.entries.append(ledger_line(record, usage, price))
    if kind.form == "chat":
        keep_bodies(record, teller, kind)


def ledger_line(record: Record, usage: Usage, price: Price) -> dict[str, Any]:
    """What the attempt cost, as the ledger books it."""
    return {
        "attempt": f"{record.call_id}.{len(record.attempts)}",
        "at": record.at_us / 1e6,
        "workspace": record.workspace_id,
        "team": record.team_id,
        "key": record.key_id,
        "user": record.user,
        "model": record.model,
        "provider": record.provider,
        "nanos": record.cost_nanos,
        "tokens": usage.input + usage.output,
        "status": "in_doubt" if usage.estimated else "exact",
        "price": str(price.pk),
        "classes": bill.classes(usage),
    }


def keep_bodies(record: Record, teller: Teller, kind: Kind) -> None:
    """What was asked and answered, sealed as a worker seals it."""
    question, said = teller.dice.one_of(QUESTIONS), teller.dice.one_of(ANSWERS)
    asked = {"model": kind.asked, "messages": [{"role": "user", "content": question}], "stream": record.streamed}
    message = {"role": "assistant", "content": said}
    answered = {"model": record.model, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    day = datetime.fromtimestamp(record.at_us / 1e6, UTC).strftime("%Y-%m-%d")
    owner = (record.workspace_id, record.subject, day)
    for name, body in (("request", asked), ("answer", answered)):
        place = (record.workspace_id, record.call_id, name)
        record.bodies.append(teller.sealer.seal(place, owner, json.dumps(body).encode()))
    record.body_key = teller.sealer.key(*owner)
    record.bodies_until_us = record.at_us + DAY_US * (teller.keeping.bodies_days or 30)


def give_feedback(teller: Teller, record: Record) -> None:
    is_good = teller.dice.share() < 0.8
    Feedback.objects.create(
        at=datetime.fromtimestamp((record.at_us + record.us) / 1e6, UTC) + timedelta(seconds=20),
        call_id=record.call_id,
        workspace_id=record.workspace_id,
        workspace=record.workspace,
        by=record.key,
        score=1.0 if is_good else -1.0,
        label="helpful" if is_good else "wrong",
    )
