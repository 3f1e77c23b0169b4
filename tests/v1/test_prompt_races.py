"""Fifty people publish at once, and a rollback while calls go on: one wins, all workers follow, no call is mixed."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.installation import KEY, Installation
from tests.upstream.server import Upstream

pytestmark = pytest.mark.timeout(300)
PEOPLE = int(os.environ.get("PEOPLE", "50"))
CONFIGURATION = """
version: 1
providers:
  - {{name: up, kind: openai_compatible, base_url: {url}, credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]}}
models:
  - {{name: small, provider: up, upstream: small, price: {{input: "1.00", output: "2.00"}}}}
routes:
  - {{name: chat, strategy: priority, targets: [{{model: small}}]}}
workspaces:
  - name: acme
    keys: [{{name: web, secret: {{env: KEY}}}}]
    prompts:
      - name: summary
        versions:
          - message: one
            parameters: {{temperature: 0.1}}
            messages: [{{role: system, content: "one {{{{x}}}}"}}, {{role: user, content: "one"}}]
          - message: two
            parameters: {{temperature: 0.2}}
            messages: [{{role: system, content: "two {{{{x}}}}"}}, {{role: user, content: "two"}}]
        channels: {{production: 1}}
"""
TOKEN = """
from django.contrib.auth.models import User
from tenants.services.tokens import issue_token
user = User.objects.create_superuser("root", "root@example.com")
print(issue_token(user=user, name="test").secret)
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Installation]:
    with Installation() as installation:
        installation.apply(CONFIGURATION.format(url=upstream.url), KEY=KEY, UPSTREAM_SECRET="sk-upstream")
        yield installation.start("--workers", "3") if os.environ.get("REDIS_URL") else installation.start()


@pytest.fixture(scope="module")
def api(gateway: Installation) -> Iterator[httpx.Client]:
    token = gateway.manage("shell", "-v", "0", "-c", TOKEN).stdout.strip().splitlines()[-1]
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{gateway.url}/api/", headers=headers, timeout=60) as client:
        yield client


def prompt_url(api: httpx.Client) -> str:
    found = api.get("prompts/", params={"name": "summary"}).json()
    return f"prompts/{found['results'][0]['id']}/"


def seqs(api: httpx.Client) -> list[int]:
    rows = api.get("deployments/", params={"prompt__name": "summary", "page_size": 200}).json()["results"]
    return sorted(row["seq"] for row in rows)


@pytest.mark.parametrize("sees", [True, False])
def test_of_fifty_who_publish_at_once_each_place_has_one_winner(gateway, api: httpx.Client, sees: bool) -> None:
    url, newest = prompt_url(api), seqs(api)[-1]

    def publish(person: int) -> int:
        told = {"version": 1 + person % 2, "reason": str(person)} | ({"expected_seq": newest} if sees else {})
        return api.post(f"{url}deploy/", json=told).status_code

    with ThreadPoolExecutor(PEOPLE) as together:
        got = Counter(together.map(publish, range(PEOPLE)))
    assert set(got) <= {201, 409}, gateway.log.read_text()[-4000:]
    after = seqs(api)
    assert after == list(range(1, 1 + len(after)))
    assert got[201] == len(after) - newest
    if sees:
        assert got == {201: 1, 409: PEOPLE - 1}


class Caller(threading.Thread):
    """Calls one worker without a pause, over one connection, and keeps what it was answered."""

    def __init__(self, gateway: Installation) -> None:
        super().__init__(daemon=True)
        self.gateway, self.running = gateway, True
        self.seen: list[tuple[int, str]] = []

    def run(self) -> None:
        body = {"model": "chat", "messages": [], "prompt": "summary", "inputs": {"x": "y"}}
        with httpx.Client(headers={"authorization": f"Bearer {KEY}"}, timeout=60) as client:
            while self.running:
                answer = client.post(f"{self.gateway.url}/v1/chat/completions", json=body)
                self.seen.append((answer.status_code, answer.headers.get("x-tollgate-prompt", "")))

    @property
    def changes(self) -> list[tuple[int, str]]:
        """What it was answered, each once for as long as it stayed the same."""
        return [each for at, each in enumerate(self.seen) if at == 0 or each != self.seen[at - 1]]


def wait_until_all_see(callers: list[Caller], version: str) -> None:
    deadline = time.monotonic() + 60
    while not all(caller.seen and caller.seen[-1] == (200, version) for caller in callers):
        assert time.monotonic() < deadline, [caller.seen[-1:] for caller in callers]
        time.sleep(0.05)


def test_a_rollback_reaches_every_worker_and_no_call_is_mixed(gateway, api, upstream) -> None:
    url, callers = prompt_url(api), [Caller(gateway) for _ in range(6)]
    api.post(f"{url}deploy/", json={"version": 2}).raise_for_status()
    api.post(f"{url}deploy/", json={"version": 1}).raise_for_status()
    for caller in callers:
        caller.start()
    wait_until_all_see(callers, "summary@1")
    begun = [len(caller.changes) for caller in callers]  # a worker may have begun with what was served before
    upstream.meter.clear()
    serves = []
    for deed, told in (
        ("deploy", {"version": 2}),
        ("undo", {"reason": "worse"}),
        ("undo", {"reason": "it was not"}),
        ("undo", {"reason": "it was"}),
    ):
        assert api.post(f"{url}{deed}/", json=told).status_code == 201
        serves.append(f"summary@{1 if serves and serves[-1] == 'summary@2' else 2}")
        wait_until_all_see(callers, serves[-1])
    for caller in callers:
        caller.running = False
    for caller in callers:
        caller.join(60)
    # Each worker takes each change once, in its order, and never goes back to what was served before it.
    for caller, start in zip(callers, begun, strict=True):
        assert caller.changes[start:] == [(200, version) for version in serves]
    sent = Counter(
        (body["messages"][0]["content"], body["messages"][1]["content"], body["temperature"])
        for body in (reading.body for reading in upstream.meter.readings)
    )
    assert set(sent) == {("one y", "one", 0.1), ("two y", "two", 0.2)}


def test_a_megabyte_of_template_syntax_and_script_stands_literally(gateway, api, upstream) -> None:
    upstream.meter.clear()
    text = "{{secret}}<script>alert('1')</script>\\{{ {{#x}}\n" * 22_000
    body = {"model": "chat", "messages": [], "prompt": "summary@1", "inputs": {"x": text}}
    head = {"authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=head, timeout=60)
    assert (answer.status_code, len(text) > 1_000_000) == (200, True), answer.text[:500]
    assert upstream.meter.readings[-1].body["messages"][0]["content"] == f"one {text}"
