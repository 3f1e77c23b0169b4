"""What callers and operators say in confidence is nowhere to be read in what stays: database, files, Redis.

What the contract keeps on a call's record (end user, tags, metadata, session, the caller's address) is no secret there.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis

from tests.installation import KEY, Installation
from tests.upstream.server import Upstream

ROTATED_KEY = "tg-canary-second-key-01abcdef"
PROVIDER_SECRET = "sk-canary-provider-02abcdef"
ALERT_SECRET = "canary-alert-secret-03"
UNKNOWN_KEY = "sk-canary-unknown-04abcdef"
SAID = {
    "system": "canary-system-06",
    "user": "canary-user-07 canary-05 ann.canary08@example.com +27 82 555 0189 4111 1111 1111 1111 sk-canary-10abcdefghijkl",
    "assistant": "canary-assistant-11",
}
HEADERS = {
    "cookie": "sessionid=canary-cookie-12",
    "tracestate": "canary=state-13",
    "baggage": "user=canary-baggage-14",
    "user-agent": "canary-agent-15",
    "x-canary": "canary-header-16",
}
pytestmark = pytest.mark.timeout(300)  # an installation is started and asked, whatever else the machine does
CANARIES = [
    KEY,
    ROTATED_KEY,
    PROVIDER_SECRET,
    ALERT_SECRET,
    UNKNOWN_KEY,
    "canary-system-06",
    "canary-user-07",
    "canary-05",
    "ann.canary08@example.com",
    "555 0189",
    "4111 1111 1111 1111",
    "sk-canary-10abcdefghijkl",
    "canary-assistant-11",
    "canary-cookie-12",
    "state-13",
    "canary-baggage-14",
    "canary-agent-15",
    "canary-header-16",
    "canary-answer-17",
    "canary-streamed-18",
    "canary-tool-19",
    "canary-broken-20",
]
CONFIGURATION = """
version: 1
providers:
  - {{name: ours, kind: openai_compatible, base_url: "{url}", credentials: [{{name: main, secret: {{env: SECRET}}}}]}}
models: [{{name: good, provider: ours, upstream: gpt-good, price: {{input: "1.00", output: "2.00"}}}}]
routes: [{{name: chat, strategy: priority, targets: [{{model: good}}], cache: {{mode: exact, ttl_s: 600}}}}]
workspaces:
  - name: acme
    retention: {{store_bodies: true}}
    keys: [{{name: web, secret: {{env: KEY}}}}, {{name: other, secret: {{env: OTHER}}}}]
    budgets: [{{name: month, of: workspace, per: month, limit_usd: "5.00"}}]
    limits: [{{of: key, unit: requests, amount: 600, per: minute}}, {{of: user, unit: requests, amount: 600, per: minute}}]
    alerts: [{{kind: webhook, url: "http://127.0.0.1:9/alerts", secret: {{env: ALERTS}}}}]
"""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Installation]:
    """One that was asked everything, and has written down what it keeps. It still runs: Redis holds what it holds."""
    with Upstream() as provider, Installation() as installation:
        secrets = {"SECRET": PROVIDER_SECRET, "KEY": KEY, "OTHER": ROTATED_KEY, "ALERTS": ALERT_SECRET}
        installation.apply(CONFIGURATION.format(url=provider.url), **secrets)
        (installation.data_dir / "tollgate.yaml").unlink()
        installation.start()
        ask_everything(installation, provider)
        yield installation


def ask_everything(gateway: Installation, provider: Upstream) -> None:
    messages = [{"role": role, "content": text} for role, text in SAID.items()]
    tool = {"type": "function", "function": {"name": "look_up", "description": "canary-tool-19", "parameters": {}}}
    body: dict[str, Any] = {"model": "chat", "messages": messages}
    known = {"authorization": f"Bearer {KEY}", **HEADERS}
    provider.once(text="canary-answer-17")
    provider.once(text="canary-streamed-18")
    asked = [
        ask(gateway, known, json=body),
        ask(gateway, known, json={**body, "stream": True, "temperature": 0.3}),
        ask(gateway, known, json={**body, "tools": [tool], "user": "bob"}),
        ask(gateway, known, json=body),  # from the cache
        ask(gateway, {**HEADERS, "x-api-key": UNKNOWN_KEY}, json=body),
        ask(gateway, {"api-key": ROTATED_KEY}, json=body),
        ask(gateway, known, content=b'{"model": "canary-broken-20"'),
    ]
    assert [answer.status_code for answer in asked] == [200, 200, 200, 200, 401, 200, 400]
    assert [answer.headers["x-tollgate-cache"] for answer in asked[:4]] == ["miss", "miss", "miss", "hit-exact"]
    ids = {answer.headers["x-request-id"] for answer in asked}
    deadline = time.monotonic() + 120
    while ids - {json.loads(line)["call_id"] for line in gateway.manage("calls", "--jsonl").stdout.splitlines()}:
        assert time.monotonic() < deadline, "the records did not come"


def ask(gateway: Installation, headers: dict[str, str], **body: Any) -> httpx.Response:
    return httpx.post(f"{gateway.url}/v1/chat/completions", headers=headers, timeout=30, **body)


def found_in(sinks: dict[str, bytes]) -> list[tuple[str, str]]:
    """(sink, secret) of every secret that can be read there."""
    return [(name, secret) for name, data in sinks.items() for secret in CANARIES if secret.encode() in data]


def test_there_are_secrets_enough() -> None:
    assert len(set(CANARIES)) >= 20


def test_no_file_of_the_installation_holds_one(gateway: Installation) -> None:
    """Journal, seals, figures, the log, and where it is embedded the database with its write-ahead log."""
    files = [file for file in gateway.data_dir.rglob("*") if file.is_file()]
    sinks = {str(file.relative_to(gateway.data_dir)): file.read_bytes() for file in files}
    assert {Path(name).parts[0] for name in sinks} >= {"journal", "metrics", "serve.log"}
    assert found_in(sinks) == []


@pytest.mark.skipif("DATABASE_URL" not in os.environ, reason="needs PostgreSQL")
def test_no_table_of_postgresql_holds_one(gateway: Installation) -> None:
    sinks = {}
    with psycopg.connect(gateway.environment["DATABASE_URL"]) as connection:
        tables = connection.execute(
            "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(f"SELECT t::text FROM {table} t").fetchall()  # type: ignore[arg-type]
            sinks[table] = "\n".join(row for (row,) in rows).encode()
    assert sinks["audit_callrecord"].count(b"acme") >= 6
    assert sinks["audit_callbody"]
    assert found_in(sinks) == []


@pytest.mark.skipif("REDIS_URL" not in os.environ, reason="needs Redis")
def test_no_key_of_redis_holds_one(gateway: Installation) -> None:
    sinks = {}
    with redis.Redis.from_url(gateway.environment["REDIS_URL"]) as client:
        for name in client.scan_iter("*"):
            sinks[name.decode("latin-1")] = name + value_of(client, name)
    assert len(sinks) >= 3
    assert found_in(sinks) == []


def value_of(client: Any, name: bytes) -> bytes:
    """Everything that a key holds, one after the other."""
    match client.type(name):
        case b"string":
            return client.get(name) or b""
        case b"hash":
            return b"\n".join(part for pair in client.hgetall(name).items() for part in pair)
        case b"zset":
            return b"\n".join(client.zrange(name, 0, -1))
        case b"set":
            return b"\n".join(client.smembers(name))
        case b"list":
            return b"\n".join(client.lrange(name, 0, -1))
        case b"stream":
            return repr(client.xrange(name)).encode()
        case other:
            raise AssertionError(f"a key of Redis is of the kind {other!r}, which this test can't read")
