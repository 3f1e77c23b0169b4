"""Rows → Configuration → swap: how a saved change reaches the calls.

A change raises the Revision row in its own transaction (receivers.py). After the commit the same process compiles and
swaps at once; other processes are told through Redis where there is one, and poll the row in any case. A snapshot
that does not compile never replaces the last good one: `status` says so to /readyz, the admin and the log.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db import close_old_connections, connection

from gateway.compiler import compile_configuration
from gateway.configuration import Services, current

log = logging.getLogger(__name__)

# Append-only, so no configuration rows, but compiled.
ALSO_COMPILED = ("prompts.PromptVersion", "prompts.Deployment", "evals.Scoring")
CHANNEL = "tollgate:revision"


@dataclass(slots=True)
class Status:
    """How the last compilation went. `error` is empty when the running configuration is the newest."""

    revision: int = -1
    error: str = ""
    failed_revision: int = -1
    at: float = 0.0
    seen_at: float = 0.0  # when the database last answered with its revision


status = Status()
_lock = threading.Lock()
_services: Services | None = None


def start(services: Services) -> None:
    """Compile for the first time and serve from now on. Raises when there is no good configuration to begin with."""
    global _services
    _services = services
    reload(force=True)
    if status.error:
        raise RuntimeError(f"the configuration does not compile: {status.error}")


def stop() -> None:
    """Forget the services; later announcements are for other processes only."""
    global _services
    _services = None


def announce() -> None:
    """Tell every process that the configuration changed; in a serving process, take it over before returning."""
    if _services is not None:
        reload()
    if settings.REDIS_URL:
        _publish()


def reload(*, force: bool = False) -> bool:
    """Compile and swap if the database is ahead of us. Returns whether a new configuration is in place."""
    with _lock:
        if _services is None:
            return False
        with _one_view_of_the_database():
            number = revision_in_database()
            status.seen_at = time.time()
            if not force and number in (status.revision, status.failed_revision):
                return False
            try:
                fresh = compile_configuration(_services, revision=number)
            except Exception as error:
                status.error = f"{type(error).__name__}: {error}"
                status.failed_revision = number
                log.exception("configuration %s does not compile; %s stays in force", number, status.revision)
                return False
        current.swap(fresh)
        status.revision, status.error, status.failed_revision, status.at = number, "", -1, time.time()
        log.info("configuration %s is in force", number)
        return True


def revision_in_database() -> int:
    """The newest revision's number, 0 before the first change."""
    with connection.cursor() as cursor:  # four times a second: the ORM would cost ten times the query
        cursor.execute("SELECT number FROM gateway_revision WHERE id = 1")
        row = cursor.fetchone()
    return int(row[0]) if row else 0


@contextlib.contextmanager
def _one_view_of_the_database() -> Iterator[None]:
    """Read all tables as of one moment, so that no call sees a route of one revision with a budget of another."""
    if connection.in_atomic_block:  # a test's transaction: it is one view already
        yield
        return
    opening = "BEGIN DEFERRED" if connection.vendor == "sqlite" else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    with connection.cursor() as cursor:
        cursor.execute(opening)
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


class Follower(threading.Thread):
    """Watches for changes made by other processes: polls the revision, and is woken by Redis where there is one."""

    def __init__(self) -> None:
        super().__init__(name="configuration-follower", daemon=True)
        self._wake = threading.Event()
        self._stopping = False

    def run(self) -> None:
        if settings.REDIS_URL:
            threading.Thread(target=self._listen, name="configuration-listener", daemon=True).start()
        while not self._stopping:
            self._wake.wait(settings.CONFIG_POLL_SECONDS)
            self._wake.clear()
            try:
                if revision_in_database() not in (status.revision, status.failed_revision):
                    reload()
                status.seen_at = time.time()
            except Exception:
                log.warning("can't read the configuration's revision; the last one stays in force", exc_info=True)
                close_old_connections()
                time.sleep(1)
        connection.close()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def _listen(self) -> None:
        import redis  # noqa: PLC0415 - optional: only where REDIS_URL is set

        while not self._stopping:
            try:
                subscription = redis.Redis.from_url(settings.REDIS_URL).pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
                subscription.subscribe(CHANNEL)
                self._wake.set()  # what was said while we were not listening
                for _ in subscription.listen():
                    self._wake.set()
            except redis.RedisError:
                time.sleep(1)  # polling goes on meanwhile


def _publish() -> None:
    import redis  # noqa: PLC0415 - optional: only where REDIS_URL is set

    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1) as client:
            client.publish(CHANNEL, "changed")
    except redis.RedisError:
        log.warning("can't announce the change through Redis; other processes see it by polling")
