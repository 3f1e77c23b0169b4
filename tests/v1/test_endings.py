"""A server that is stopped, clients that read nothing, more calls than it carries."""

import asyncio
import json
import os
import socket
import time
from pathlib import Path

import httpx
import pytest

from tests.installation import KEY, Installation

CONFIGURATION = """
version: 1
providers:
  - {{name: upstream, kind: openai_compatible, base_url: {url}, credentials: []}}
models:
  - {{name: chat, provider: upstream, upstream: m, price: {{input: "0", output: "0"}}}}
workspaces:
  - {{name: acme, keys: [{{name: web, secret: {{env: KEY}}}}]}}
  - {{name: other, keys: [{{name: web, secret: {{env: OTHER_KEY}}}}]}}
"""
GRACE_SECONDS = 4
EXIT_SECONDS = float(os.environ.get("EXIT_SECONDS", "12"))  # on a quiet machine it takes no more than 2


@pytest.fixture
def installed(upstream):
    with Installation() as installation:
        installation.apply(CONFIGURATION.format(url=upstream.url), KEY=KEY, OTHER_KEY=KEY + "-other")
        yield installation


def scripted(**fields) -> str:
    return json.dumps({"upstream": fields})


async def stream(client: httpx.AsyncClient, url: str, text: str) -> str:
    body = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": text}]}
    found = b""
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
        async for chunk in answer.aiter_raw():
            found += chunk
    return found.decode()


def calls(installation: Installation) -> list[dict]:
    return [json.loads(line) for line in installation.manage("calls", "--jsonl").stdout.splitlines()]


async def test_a_stop_lets_short_answers_finish_and_ends_long_ones_with_an_error_and_records_all(installed):
    installed.start(DRAIN_SECONDS=str(GRACE_SECONDS))
    kinds = {
        "short": scripted(tokens=10, token_delay_s=0.1),
        "long": scripted(tokens=1000, token_delay_s=0.1),
        "stalled": scripted(fault="hang", at=2),
    }
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(
        headers={"authorization": f"Bearer {KEY}"}, timeout=60, limits=limits, trust_env=False
    ) as client:
        running = {
            kind: [asyncio.create_task(stream(client, installed.url, text)) for _ in range(count)]
            for (kind, text), count in zip(kinds.items(), (20, 15, 15), strict=True)
        }
        await asyncio.sleep(1.0)
        process = installed.processes[0]
        stopped_at = time.monotonic()
        process.terminate()
        answers = {kind: await asyncio.gather(*tasks) for kind, tasks in running.items()}
        code = await asyncio.to_thread(process.wait, 30)
        took = time.monotonic() - stopped_at

    assert [text.endswith("data: [DONE]\n\n") for text in answers["short"]] == [True] * 20
    for text in answers["long"] + answers["stalled"]:
        assert "shutting_down" in text
        assert "[DONE]" not in text
        assert '"finish_reason":"stop"' not in text
    assert took <= GRACE_SECONDS + EXIT_SECONDS
    assert code in (0, -15)
    found = calls(installed)
    assert sorted(each["outcome"] for each in found) == ["answered"] * 20 + ["failed"] * 30


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_clients_that_read_nothing_do_not_fill_the_memory(installed, upstream):
    upstream.always(text=" ".join(["x" * 10_000] * 10_000))  # 100 MB for each
    installed.start()
    pid = installed.processes[0].pid
    installed.chat("warm", max_tokens=1)
    before = rss_bytes(pid)
    body = json.dumps({"model": "chat", "stream": True, "messages": [{"role": "user", "content": "go"}]}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode()
    clients = []
    for _ in range(20):
        client = socket.create_connection(("127.0.0.1", installed.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(head + body)
        clients.append(client)
    time.sleep(3)
    grown = rss_bytes(pid) - before
    healthy = httpx.get(f"{installed.url}/healthz", timeout=5, trust_env=False)
    for client in clients:
        client.close()

    assert grown <= 64 * 1024 * 1024
    assert healthy.status_code == 200


async def test_a_full_worker_refuses_quickly_and_stays_well(installed, upstream):
    upstream.always(token_delay_s=0.02, tokens=50)
    installed.start(MAX_CONCURRENT_CALLS="50")
    limits = httpx.Limits(max_connections=300)
    async with httpx.AsyncClient(timeout=60, limits=limits, trust_env=False) as client:

        async def ask(key: str) -> tuple[int, str | None]:
            body = {"model": "chat", "messages": [{"role": "user", "content": "go"}]}
            headers = {"authorization": f"Bearer {key}"}
            answer = await client.post(f"{installed.url}/v1/chat/completions", json=body, headers=headers)
            return answer.status_code, answer.headers.get("retry-after")

        flood = [asyncio.create_task(ask(KEY)) for _ in range(250)]
        await asyncio.sleep(0.5)
        others = await asyncio.gather(*(ask(KEY + "-other") for _ in range(5)))
        healthy = await client.get(f"{installed.url}/healthz")
        results = await asyncio.gather(*flood)

    statuses = [status for status, _ in results]
    assert set(statuses) == {200, 503}
    assert 30 <= statuses.count(200) <= 60
    assert all(wait for status, wait in results if status == 503)
    assert [status for status, _ in others] == [200] * 5
    assert healthy.status_code == 200
