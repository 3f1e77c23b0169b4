"""Questions in PostgreSQL, where its vector extension is: all workers find what any of them was asked.

For installations whose answers are shared already (Redis). Likeness is exact: the rows of one partition are found by the
primary key and compared one by one, so no index can leave a like question out. What stands there is as masked as what
went to the embedding model, and lives no longer than its answer. The database is asked in threads of its own; one that
is slow or away passes the cache by.
"""

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from gateway.caching.embedding import PAUSE_SECONDS
from gateway.caching.marks import are_opposed
from gateway.caching.semantic import OPPOSED_MOST, Place

log = logging.getLogger(__name__)

TABLE = "gateway_semantic_question"
CREATE = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    "CREATE TABLE IF NOT EXISTS gateway_semantic_question "
    "(workspace text NOT NULL, part bytea NOT NULL, key bytea NOT NULL, "
    "vector vector NOT NULL, sides text[] NOT NULL, expires timestamptz NOT NULL, PRIMARY KEY (workspace, part, key))",
    "CREATE INDEX IF NOT EXISTS gateway_semantic_question_expires ON gateway_semantic_question (expires)",
)
_NEAREST = (  # of unit vectors the cosine is the inner product, which <#> gives negated
    "SELECT key, -(vector <#> %(vector)s::vector), sides FROM gateway_semantic_question "
    "WHERE workspace = %(workspace)s AND part = %(part)s AND vector_dims(vector) = %(width)s AND expires > now() "
    "ORDER BY vector <#> %(vector)s::vector LIMIT %(most)s"
)
_ADD = (
    "INSERT INTO gateway_semantic_question (workspace, part, key, vector, sides, expires) VALUES "
    "(%(workspace)s, %(part)s, %(key)s, %(vector)s::vector, %(sides)s, to_timestamp(%(expires)s)) "
    "ON CONFLICT (workspace, part, key) DO UPDATE SET vector = EXCLUDED.vector, sides = EXCLUDED.sides, "
    "expires = EXCLUDED.expires"
)
_FORGET = "DELETE FROM gateway_semantic_question WHERE workspace = %(workspace)s AND part = %(part)s AND key = %(key)s"
_SWEEP = "DELETE FROM gateway_semantic_question WHERE expires < now()"
ERASE = "DELETE FROM gateway_semantic_question WHERE workspace = %s"

SECONDS = 0.25  # a cache that is slower than that is passed by
SWEEP_SECONDS = 60.0
THREADS = 4
_ITSELF = "postgresql"  # among the paused


class VectorTable:
    """As SemanticIndex, for all workers. `connect` is what psycopg connects by."""

    def __init__(self, connect: dict[str, Any]) -> None:
        self.paused: dict[str, float] = {}
        self._reading = ThreadPoolExecutor(THREADS, thread_name_prefix="vectors")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="vectors-written")  # one, so that order is kept
        milliseconds = int(SECONDS * 1000)
        options = {"autocommit": True, "connect_timeout": 2, "options": f"-c statement_timeout={milliseconds}"}
        self._pool = ConnectionPool(
            kwargs=connect | options, min_size=0, max_size=THREADS + 1, timeout=SECONDS, open=True, name="vectors"
        )
        self._swept_at = time.monotonic()

    def add(self, place: Place, key: bytes, expires: float) -> None:
        """Remember a question by the key of its answer until then (epoch seconds), without waiting for it."""
        self._post(_ADD, place, {"key": key, "sides": sorted(place.sides), "expires": expires})
        if time.monotonic() - self._swept_at > SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            self._post(_SWEEP, None, {})

    async def nearest(self, place: Place) -> tuple[bytes, float] | None:
        """The key of the most alike question and how alike it is (cosine); None where there is none, or not in time."""
        if self._is_paused():
            return None
        fields = {"width": len(place.vector), "most": OPPOSED_MOST}
        asking = asyncio.get_running_loop().run_in_executor(self._reading, self._run, _NEAREST, place, fields)
        try:
            async with asyncio.timeout(2 * SECONDS):
                rows = await asking
        except (TimeoutError, psycopg.Error, PoolTimeout) as error:
            self._pause(error)
            return None
        for key, likeness, sides in rows:
            if not are_opposed(frozenset(sides), place.sides):
                return bytes(key), float(likeness)
        return None

    def forget(self, place: Place, key: bytes) -> None:
        """Let a question go whose answer is gone."""
        self._post(_FORGET, place, {"key": key})

    def close(self) -> None:
        for threads in (self._reading, self._writing):
            threads.shutdown(wait=True, cancel_futures=True)
        self._pool.close()

    def _post(self, statement: str, place: Place | None, fields: dict[str, Any]) -> None:
        if not self._is_paused():
            self._writing.submit(self._quietly, statement, place, fields)

    def _quietly(self, statement: str, place: Place | None, fields: dict[str, Any]) -> None:
        try:
            self._run(statement, place, fields)
        except (psycopg.Error, PoolTimeout) as error:
            self._pause(error)

    def _run(self, statement: str, place: Place | None, fields: dict[str, Any]) -> list[tuple[Any, ...]]:
        if place is not None:
            fields = _fields(place) | fields
        with self._pool.connection() as connection:
            made = connection.execute(statement.encode(), fields)
            return made.fetchall() if made.description else []

    def _is_paused(self) -> bool:
        return time.monotonic() < self.paused.get(_ITSELF, 0.0)

    def _pause(self, error: Exception) -> None:
        if not self._is_paused():
            log.warning("the semantic cache is passed by: its questions can't be read (%s)", type(error).__name__)
        self.paused[_ITSELF] = time.monotonic() + PAUSE_SECONDS


def _fields(place: Place) -> dict[str, Any]:
    """What every statement about a place says. A thread writes the numbers: 1,536 of them take a millisecond."""
    numbers = np.char.mod("%.8g", place.vector)
    return {"workspace": place.workspace_id, "part": place.partition, "vector": f"[{','.join(numbers)}]"}
