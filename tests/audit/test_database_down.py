"""The database goes away under load and comes back: nobody who calls notices, and every record is there once."""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext

import httpx
import psycopg
import pytest

from tests import postgres_server
from tests.audit.test_killed_server import CLIENTS, CONFIG, Load
from tests.installation import KEY, Installation
from tests.postgres_server import PostgresServer

DOWN_SECONDS = float(os.environ.get("DOWN_SECONDS", "2"))  # by hand: DOWN_SECONDS=60
ON_POSTGRESQL = bool(os.environ.get("DATABASE_URL"))
DEADLINE_SECONDS = 300.0


class Watched(Load):
    """A client that also remembers what went wrong."""

    def __init__(self, url: str, seed: int) -> None:
        super().__init__(url, seed)
        self.failed: list[str] = []

    def run(self) -> None:
        with httpx.Client(headers={"authorization": f"Bearer {KEY}"}, timeout=60) as client:
            while not self.stopping:
                before = len(self.answered)
                try:
                    self.call(client, stream=self.chance.random() < 0.5)
                except httpx.HTTPError as error:
                    self.failed.append(repr(error))
                else:
                    if len(self.answered) == before:
                        self.failed.append("an answer that was not one")
                time.sleep(0.01)


@contextmanager
def away(gateway: Installation, server: PostgresServer | None) -> Iterator[None]:
    """The database is stopped, or, SQLite's, locked by somebody else."""
    if server is not None:
        server.stop()
        try:
            yield
        finally:
            server.start()
        return
    locker = sqlite3.connect(gateway.data_dir / "tollgate.sqlite3", timeout=DEADLINE_SECONDS, isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        locker.execute("ROLLBACK")
        locker.close()


def stored(gateway: Installation) -> int:
    """How many records the database has."""
    query = "SELECT count(*) FROM audit_callrecord"
    if ON_POSTGRESQL:
        with psycopg.connect(gateway.environment["DATABASE_URL"]) as connection:
            return connection.execute(query).fetchone()[0]
    with closing(sqlite3.connect(gateway.data_dir / "tollgate.sqlite3", timeout=DEADLINE_SECONDS)) as connection:
        return connection.execute(query).fetchone()[0]


def eventually(what: Callable[[], str] | str, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline, what if isinstance(what, str) else what()
        time.sleep(0.05)


@pytest.mark.timeout(900)
def test_the_database_may_go_away_under_load(upstream, monkeypatch):
    if ON_POSTGRESQL and postgres_server.found() is None:
        pytest.skip("needs PostgreSQL's programs")
    with PostgresServer() if ON_POSTGRESQL else nullcontext() as server:
        if server is not None:
            monkeypatch.setenv("DATABASE_URL", server.url)
        with Installation(ACME_KEY=KEY, LOG_LEVEL="WARNING") as gateway:
            gateway.apply(CONFIG.replace("URL", f"{upstream.url}/v1"))
            gateway.start()
            load = [Watched(gateway.url, seed) for seed in range(CLIENTS)]
            for client in load:
                client.start()

            def answered() -> int:
                return sum(len(client.answered) for client in load)

            eventually("answers", lambda: answered() > 10 * CLIENTS)
            readiness: list[int] = []
            with away(gateway, server):
                before, until = answered(), time.monotonic() + DOWN_SECONDS
                while time.monotonic() < until or len(readiness) < 3:
                    readiness.append(httpx.get(f"{gateway.url}/readyz", timeout=30).status_code)
                    time.sleep(0.2)
                eventually("answers while it is away", lambda: answered() > before + 10 * CLIENTS)
            after = answered()
            eventually("answers afterwards", lambda: answered() > after + 10 * CLIENTS)
            for client in load:
                client.stopping = True
            for client in load:
                client.join()
            eventually(lambda: gateway.log.read_text()[-4000:], lambda: stored(gateway) >= answered())
            gateway.stop()
            lines = [json.loads(line) for line in gateway.manage("calls", "--jsonl").stdout.splitlines()]
            proof = gateway.manage("audit", "verify")
            left = [path.name for path in (gateway.data_dir / "journal").iterdir()]

    assert [told for client in load for told in client.failed] == []
    assert set(readiness) == {200}
    outcomes = {line["call_id"]: line["outcome"] for line in lines}
    assert len(outcomes) == len(lines)
    assert outcomes == dict.fromkeys((call_id for client in load for call_id in client.answered), "answered")
    assert proof.stdout.startswith("The audit trail holds")
    assert left == []
