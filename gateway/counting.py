"""Opening what counts: in this process alone, or together with other workers in Redis."""

import logging
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from budgets.courier import Courier
from budgets.ledger.memory import MemoryLedger
from budgets.running import Watch
from gateway.counters.memory import MemoryCounters

if TYPE_CHECKING:
    from budgets.ledger.keeper import Keeper
    from budgets.ledger.redis import RedisLedger

log = logging.getLogger(__name__)

JOIN_SECONDS = 10.0  # a worker that starts while the counters are made again waits so long for them


@dataclass(frozen=True, slots=True)
class Counting:
    """Hand `counters` and `ledger` to the compilers, and stop every one of `background` at the end."""

    counters: Any
    ledger: Any
    background: list[Any]


def join(keeper: "Keeper", ledger: "RedisLedger") -> None:
    """Come to counters that can be trusted before the first call, also where another worker is making them just now."""
    from redis.exceptions import RedisError  # noqa: PLC0415 - optional: only where REDIS_URL is set

    until = time.monotonic() + JOIN_SECONDS
    try:
        keeper.turn()
        while ledger.is_fenced and time.monotonic() < until:
            time.sleep(0.05)
            keeper.turn()
    except RedisError as error:
        log.warning("Redis does not answer (%s); calls under budgets are refused until it does", error)


def start_counting(
    redis_url: str, *, workers: int = 1, journal: str = "", dead: Sequence[str] = (), holds_ahead: bool = True
) -> Counting:
    """Rate limits and budgets for this worker, one of so many. After the last fork; call `watch` once all is compiled.

    `journal` is the name of this worker's journal, `dead` the names of those whose workers are proved to be gone and
    which have been replayed; it grows. `holds_ahead`: see budgets/ledger/slices.py.
    """
    worker = f"{socket.gethostname()}.{os.getpid()}.{time.time_ns()}"
    if not redis_url:
        ledger = MemoryLedger()
        return Counting(MemoryCounters(), ledger, [Watch(ledger, worker), Courier()])
    from budgets.ledger.keeper import Keeper  # noqa: PLC0415 - optional: only where REDIS_URL is set
    from budgets.ledger.redis import LUA, RedisLedger  # noqa: PLC0415 - optional, as above
    from gateway.counters.batch import LIMITS, RedisBatch, script_of  # noqa: PLC0415 - optional, as above
    from gateway.counters.redis import RedisCounters  # noqa: PLC0415 - optional, as above

    script = script_of(LIMITS, LUA)
    batch = RedisBatch(redis_url, script)
    shared = RedisLedger(batch, worker, journal)
    shared.slices.is_on = holds_ahead
    batch.heard, batch.restarted, batch.gathering = shared.heard, shared.restarted, shared.slices.tell
    keeper = Keeper(shared, redis_url, script, lambda: batch.loop, dead)
    join(keeper, shared)
    return Counting(RedisCounters(batch, workers=workers), shared, [keeper, Watch(shared, worker), Courier()])
