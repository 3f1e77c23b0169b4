"""A process that is to end: what it refuses has its record too, and a worker goes when its supervisor has gone."""

import asyncio
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from gateway.core.call import Call
from gateway.edge import drain
from tests.in_process import InProcess, Line
from tests.installation import KEY, Installation
from tests.rows import tenant

BODY = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "hello"}]}).encode()


@pytest.fixture
def ended(db: None) -> list[Call]:
    return []


@pytest.fixture
def draining(db: None, tmp_path, ended):
    """An edge that takes no more calls, and the key of a tenant."""
    secret = tenant("acme").secret
    running = InProcess(tmp_path / "journal", metrics=SimpleNamespace(note=ended.append))
    running.edge.draining = True
    yield running, secret
    running.journal.close(remove=True)


async def test_a_call_that_is_refused_because_the_process_ends_has_its_record(draining, ended):
    running, secret = draining
    line = await running.run(Line(secret, BODY))
    assert (line.status, json.loads(line.answer)["error"]["code"]) == (503, "shutting_down")
    assert (b"retry-after", b"1") in line.sent[0]["headers"]
    (call,) = ended
    assert (call.outcome, call.code, call.status, call.caller.workspace) == ("refused", "shutting_down", 503, "acme")
    assert running.edge.overload.running == 0


async def test_a_worker_stops_as_by_sigterm_once_its_supervisor_is_gone(monkeypatch):
    parents, sent = iter([7, 7, 1]), []
    monkeypatch.setattr(drain, "LOOK_SECONDS", 0)
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    monkeypatch.setattr(os, "kill", lambda *given: sent.append(given))
    await drain.end_with(7)
    assert sent == [(os.getpid(), signal.SIGTERM)]


def is_running(pid: int) -> bool:
    """Whether the process is there, and no zombie that waits for somebody to take note of its end."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


CONFIGURATION = """
version: 1
providers:
  - {{name: upstream, kind: openai_compatible, base_url: {url}, credentials: []}}
models:
  - {{name: chat, provider: upstream, upstream: m, price: {{input: "0", output: "0"}}}}
workspaces:
  - {{name: acme, keys: [{{name: web, secret: {{env: KEY}}}}]}}
"""


@pytest.mark.timeout(300)
@pytest.mark.skipif(not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")), reason="several workers")
async def test_workers_whose_supervisor_was_killed_finish_their_answers_and_end(upstream):
    upstream.always(tokens=60, token_delay_s=0.1)
    with Installation() as installation:
        installation.apply(CONFIGURATION.format(url=upstream.url), KEY=KEY)
        installation.start("--workers", "2")
        (supervisor,) = installation.processes
        workers = installation.workers
        assert len(workers) == 2
        body = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "go"}]}
        headers = {"authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=installation.url, headers=headers, timeout=30, trust_env=False) as http:
            found = b""
            async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
                async for chunk in answer.aiter_raw():
                    if not found:
                        os.kill(supervisor.pid, signal.SIGKILL)
                    found += chunk
        assert found.endswith(b"data: [DONE]\n\n")
        for _ in range(300):
            if not any(map(is_running, workers)):
                break
            await asyncio.sleep(0.1)
        assert [pid for pid in workers if is_running(pid)] == []
