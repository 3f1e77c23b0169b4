"""Keeps the shared ledger sound, from a thread of every worker: leases, dead workers, and the counters' rebuilding.

Lost counters are made again like this. Whoever notices takes `tg:rebuild` and with it the next epoch's name; every
worker that lives sees it, holds nothing more, and puts down what it holds and what it settled lately. The leader waits
for all of them, adds that to the sum of the ledger's lines, all as of one moment, and last of all puts the epoch in
force. A worker that can't be reached is charged what it last told that it held. What a worker settled after it put
down its holds it owes, and pays under the new epoch; where the line is in the database already there is no hold for
it, so nothing is counted twice.
"""

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import redis
from django.db import DatabaseError, close_old_connections, connection, transaction
from django.utils import timezone
from redis.exceptions import NoScriptError, RedisError

from budgets.ledger.parts import Part, clock, of_bucket
from budgets.ledger.redis import RedisLedger
from budgets.ledger.untold import take_back
from budgets.models import Entry, Exposure
from budgets.queries import opening_sums
from budgets.services.spending import book
from gateway.core.counters import Spent

log = logging.getLogger(__name__)

LEASE_MS = 20_000
LEASE_MARGIN_SECONDS = 2.0  # this worker takes its lease for over so much before the others do
BEAT_SECONDS = 5.0
TURN_SECONDS = 0.25
ASSERT_SECONDS = 5.0  # how long the leader waits for workers that seem to live
REBUILD_MS = 30_000
LOST_LEASE_MS = 60_000  # how long a lost worker's last exposure stays held: its journal is read by then
AT_ONCE = 500
COMPARE_SECONDS = 10.0
SETTLED_SECONDS = 60.0
ASSERTION_SECONDS = 120

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode


class Store:
    """The same script as the path of a call uses, asked from a thread."""

    def __init__(self, url: str, script: str) -> None:
        self.client = redis.Redis.from_url(url, socket_timeout=2.0, socket_connect_timeout=2.0)
        self.script, self._sha = script, ""

    def run(self, *operations: list[Any]) -> list[Any]:
        """The answers, in order. Raises RedisError."""
        payload = encode(operations)
        if not self._sha:
            self._sha = str(self.client.script_load(self.script))
        try:
            raw: Any = self.client.evalsha(self._sha, 0, payload)
        except NoScriptError:
            self._sha = str(self.client.script_load(self.script))
            raw = self.client.evalsha(self._sha, 0, payload)
        answers: list[Any] = decode(raw)[2]
        for operation, answer in zip(operations, answers, strict=True):
            if isinstance(answer, list) and answer and answer[0] == "failed":
                raise RedisError(f"{operation[0]}: {answer[1]}")
        return answers

    def text(self, key: str) -> str:
        raw: Any = self.client.get(key)
        return raw.decode() if raw is not None else ""


class Keeper(threading.Thread):
    """One for each worker. `loop` gives the event loop that the ledger lives on, once it runs.

    dead  names of journals whose workers are gone for certain, and which are in the database; others append to it
    """

    def __init__(
        self,
        ledger: RedisLedger,
        url: str,
        script: str,
        loop: Callable[[], asyncio.AbstractEventLoop | None],
        dead: Sequence[str] = (),
    ) -> None:
        super().__init__(name="budgets-keeper", daemon=True)
        self.ledger, self.store, self.loop, self.dead = ledger, Store(url, script), loop, dead
        ledger.take_over, ledger.correct = self.take_over, self.correct
        self._beat_at = 0.0
        self._sweep_at = 0.0
        self._compare_at = 0.0
        self._ahead: dict[str, tuple[int, float]] = {}
        self._asserted = ""
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(TURN_SECONDS):
            try:
                self.turn()
            except RedisError as error:
                log.debug("Redis does not answer the keeper: %s", error)
            except DatabaseError:
                log.warning("can't reach the database to keep the budgets' counters; trying again")
                close_old_connections()
            except Exception:
                log.exception("keeping the budgets' counters failed; trying again")
        connection.close()

    def stop(self) -> None:
        """Stop, and give up slices and lease, so that others sweep what might be left at once."""
        self._stopping.set()
        if self.ident is not None:
            self.join(timeout=5)
        try:
            self.store.run(*self.on_loop(self.ledger.slices.leave), ["beat", self.ledger.worker, -1])
        except (RedisError, TimeoutError):
            log.info("Redis does not answer; this worker's lease ends by itself")

    def turn(self) -> None:
        """Everything that is due. Raises RedisError and DatabaseError."""
        now = time.monotonic()
        if now >= self._beat_at:
            self.beat()
            beat_in_database(self.ledger.worker)
            self._beat_at = now + BEAT_SECONDS
        epoch, coming = self.store.text("tg:epoch"), self.store.text("tg:rebuild")
        if coming and coming != self._asserted:
            self.put_down(coming)
        if self.ledger.is_fenced or epoch != self.ledger.epoch:
            self.recover(epoch, coming)
        elif now >= self._sweep_at:
            self.sweep()
            self._sweep_at = now + 1.0
        elif now >= self._compare_at:
            take_back(self.on_loop(self.ledger.slices.to_take_back), self.dead)
            self.settle_differences()
            self._compare_at = now + COMPARE_SECONDS
        self.on_loop(self.ledger.pay)

    def beat(self) -> None:
        """Renew the lease. What was held ahead under one that ended may have been swept, and is not drawn from."""
        slices, asked_at = self.ledger.slices, clock()
        self.store.run(["beat", self.ledger.worker, LEASE_MS])
        if asked_at > slices.lease_until:
            slices.sound_since = clock()
        slices.lease_until = asked_at + LEASE_MS / 1000 - LEASE_MARGIN_SECONDS

    def troubles(self) -> tuple[bool, dict[str, str]]:
        """Calls may be taken whatever this finds; and what is wrong."""
        if not self.ledger.is_fenced:
            return True, {}
        return True, {
            "budgets": "Redis was lost, rolled back or does not answer, and the budgets' counters are being made again "
            "from the ledger; calls under hard budgets are refused or let through as their workspace says. If this "
            "lasts more than some seconds, look at Redis and the database"
        }

    # --- On the event loop -----------------------------------------------------------------------------------

    def on_loop(self, function: Callable[[], Any]) -> Any:
        """What a function returns on the ledger's event loop, or here as long as no loop runs."""
        loop = self.loop()
        if loop is None or not loop.is_running():
            return function()

        async def there() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(there(), loop).result(timeout=5)

    # --- Dead workers -------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Turn the holds of workers whose lease is over into doubts, and book them. Never to nothing."""
        epoch = self.ledger.epoch
        (dead,) = self.store.run(["dead", epoch])
        for worker in dead:
            while self.store.run(["sweep", epoch, worker, AT_ONCE])[0] == AT_ONCE:
                continue
            log.warning("worker %s is gone; what it held is in doubt", worker)
        (swept,) = self.store.run(["swept", epoch])
        if swept:
            self.book_swept(epoch, swept)

    def book_swept(self, epoch: str, swept: list[Any]) -> None:
        """Write the lines of swept holds; where the journal was faster, its line is what counts."""
        lines = []
        for attempt, (note, nanos, tokens) in swept:
            line = msgspec.json.decode(note)
            line |= {"attempt": attempt, "nanos": nanos, "tokens": tokens, "status": "in_doubt"}
            lines.append(line)
        book(lines)
        attempts = [line["attempt"] for line in lines]
        known = Entry.objects.filter(attempt__in=attempts).exclude(status="in_doubt")
        settled = [
            ["settle", epoch, self.ledger.worker, attempt, nanos, tokens, False]
            for attempt, nanos, tokens in known.values_list("attempt", "nanos", "tokens")
        ]
        self.store.run(*settled, ["booked", epoch, attempts])

    def settle_differences(self) -> None:
        """Bring down counters that have stayed ahead of their lines, e.g. by a doubt that a late line corrected.

        Only where nothing is held and nothing has moved for longer than the journal may lag; the store looks again
        in the same step.
        """
        booked = opening_sums(time.time())
        names = list(booked)
        (counted,) = self.store.run(["sums", self.ledger.epoch, names])
        now = time.monotonic()
        ahead: dict[str, tuple[int, float]] = {}
        for name, (spent, held, _) in zip(names, counted, strict=True):
            if spent > booked[name][0] and held == 0:
                before, since = self._ahead.get(name, (spent, now))
                ahead[name] = (spent, since if before == spent else now)
                if now - ahead[name][1] > SETTLED_SECONDS:
                    log.warning("the counter of %s was %s ahead of its lines", name, spent - booked[name][0])
                    self.store.run(["lower", self.ledger.epoch, name, spent, *booked[name]])
        self._ahead = ahead

    # --- Lost counters ------------------------------------------------------------------------------------------

    def recover(self, epoch: str, coming: str) -> None:
        """Come back to counters that can be trusted: those of an epoch in force, or rebuilt ones."""
        ledger = self.ledger
        ledger.is_fenced = True
        if epoch and epoch != ledger.epoch and not coming:
            self.join_epoch(epoch)
        elif not coming:
            fresh = uuid.uuid4().hex[:12]
            if self.store.client.set("tg:rebuild", fresh, nx=True, px=REBUILD_MS):
                if self.store.text("tg:epoch") != epoch:  # another worker made them again since we looked
                    self.store.client.delete("tg:rebuild")
                    return
                log.warning("the budgets' counters were lost; making them again")
                self.put_down(fresh)
                self.rebuild(fresh)
            elif coming := self.store.text("tg:rebuild"):
                self.put_down(coming)

    def join_epoch(self, epoch: str) -> None:
        """Count under an epoch that is in force. What was put down for it is there; anything else is put in now."""
        ledger = self.ledger
        if self._asserted != epoch:
            holds = self.on_loop(lambda: assertion(ledger))["open"]
            booked = booked_attempts([hold[0] for hold in holds])
            self.store.run(["restore", epoch, ledger.worker, [hold for hold in holds if hold[0] not in booked]])
        self.take_over(epoch, opening_sums(time.time()))
        self.on_loop(lambda: self.enter(epoch))

    def enter(self, epoch: str) -> None:
        self.ledger.epoch, self.ledger.sequence, self.ledger.is_fenced = epoch, 0, False

    def put_down(self, epoch: str) -> None:
        """Hold nothing more, and say what is held and what was settled lately, for the epoch that is coming."""
        self.ledger.is_fenced = True
        stated = encode(self.on_loop(lambda: assertion(self.ledger)))
        self.store.client.hset(f"tg:{epoch}:stated", self.ledger.worker, stated)
        self.store.client.expire(f"tg:{epoch}:stated", ASSERTION_SECONDS)
        self._asserted = epoch

    def rebuild(self, epoch: str) -> None:
        """As the leader: wait for the others, add everything up, and put the epoch in force."""
        until = time.monotonic() + ASSERT_SECONDS
        while (missing := living_workers() - set(self.stated(epoch))) and time.monotonic() < until:
            time.sleep(0.05)
        stated = self.stated(epoch)
        open_attempts = [hold[0] for one in stated.values() for hold in one["open"]]
        settled = {attempt: (parts, spent) for one in stated.values() for attempt, parts, spent in one["settled"]}
        with one_moment():
            sums = opening_sums(time.time())
            booked = booked_attempts([*open_attempts, *settled])
            lost = exposures(set(stated))
        add_unbooked(sums, {attempt: each for attempt, each in settled.items() if attempt not in booked})
        self.take_over(epoch, sums)
        for worker, one in stated.items():
            holds = [hold for hold in one["open"] if hold[0] not in booked]
            if holds:
                self.store.run(["restore", epoch, worker, holds])
        for worker, parts in lost.items():
            log.warning("worker %s can't be reached; what it last told is held for a minute", worker)
            self.store.run(
                ["restore", epoch, f"lost:{worker}", [[f"lost:{worker}", parts, 0, "{}"]]],
                ["beat", f"lost:{worker}", LOST_LEASE_MS],
            )
        self.store.run(["open", epoch])
        self.store.client.delete("tg:rebuild")
        self.on_loop(lambda: self.enter(epoch))
        log.warning("the budgets' counters are made again; waited in vain for %s", sorted(missing) or "nobody")

    def stated(self, epoch: str) -> dict[str, Any]:
        """What workers have put down for the coming epoch."""
        raw: Any = self.store.client.hgetall(f"tg:{epoch}:stated")
        return {worker.decode(): decode(stated) for worker, stated in raw.items()}

    def take_over(self, epoch: str, sums: Mapping[str, tuple[int, int]]) -> None:
        """Put sums into the store where it knows less."""
        rows = [[name, spent, doubt, of_bucket(name)[1]] for name, (spent, doubt) in sums.items() if spent]
        for start in range(0, len(rows), AT_ONCE):
            self.store.run(["load", epoch, rows[start : start + AT_ONCE]])

    def correct(self, epoch: str, number: int, changes: Mapping[str, tuple[int, int]]) -> None:
        """Bring sums in the store down by what a repricing changed; whoever comes first does it for all."""
        rows = [[name, amount, least] for name, (amount, least) in changes.items()]
        self.store.run(["correct", epoch, number, rows])


def assertion(ledger: RedisLedger) -> dict[str, Any]:
    """What a worker holds and what it settled lately. On its event loop, so that nothing moves meanwhile.

    What is left of its slices is not held any more: nobody draws from them from here on.
    """
    ledger.slices.drop()
    return {
        "open": [[attempt, hold.parts, hold.output, hold.note] for attempt, hold in ledger.open.items()],
        "settled": [[attempt, hold.parts, spent] for attempt, (_, hold, spent) in ledger.settled.items()],
    }


def add_unbooked(sums: dict[str, tuple[int, int]], settled: Mapping[str, tuple[list[Part], Any]]) -> None:
    """Add to the sums what was settled and is not in the database yet."""
    for parts, given in settled.values():
        spent = Spent(*given)
        for name, _, counts_tokens in parts:
            amount = spent.tokens if counts_tokens else spent.nanos
            before = sums.get(name, (0, 0))
            sums[name] = (before[0] + amount, before[1] + (amount if spent.in_doubt else 0))


def booked_attempts(attempts: list[str]) -> set[str]:
    """Those of these attempts that have their line."""
    found: set[str] = set()
    for start in range(0, len(attempts), AT_ONCE):
        part = attempts[start : start + AT_ONCE]
        found.update(Entry.objects.filter(attempt__in=part).values_list("attempt", flat=True))
    return found


def living_workers() -> set[str]:
    """Workers that told of themselves within the lease."""
    since = timezone.now() - timedelta(milliseconds=LEASE_MS)
    return set(Exposure.objects.filter(bucket="", at__gte=since).values_list("worker", flat=True))


def exposures(known: set[str]) -> dict[str, list[Part]]:
    """What workers told last that they held, for those that are not among the known ones."""
    since = timezone.now() - timedelta(milliseconds=LEASE_MS)
    found: dict[str, list[Part]] = {}
    rows = Exposure.objects.filter(at__gte=since).exclude(bucket="").exclude(worker__in=known)
    for worker, name, held in rows.values_list("worker", "bucket", "held"):
        found.setdefault(worker, []).append((name, held, of_bucket(name)[0]))
    return found


def beat_in_database(worker: str) -> None:
    """Say that this worker lives, where it is known even when Redis is lost."""
    row = Exposure(worker=worker, bucket="", held=0, at=timezone.now())
    Exposure.objects.bulk_create(
        [row], update_conflicts=True, unique_fields=["worker", "bucket"], update_fields=["held", "at"]
    )
    Exposure.objects.filter(at__lt=timezone.now() - timedelta(hours=1)).delete()


class one_moment:
    """Reads of the database as of one moment."""

    def __init__(self) -> None:
        self.block = transaction.atomic()

    def __enter__(self) -> None:
        nested = connection.in_atomic_block
        self.block.__enter__()
        if connection.vendor == "postgresql" and not nested:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    def __exit__(self, *exc: Any) -> None:
        self.block.__exit__(*exc)
