"""A saved change reaches every running call path within a second, without a restart and without a failed call."""

import os
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.installation import KEY, Installation
from tests.upstream.server import Upstream

SECOND = "sk-test-installation-0002"
CONFIGURATION = """
version: 1
providers:
  - name: one
    kind: openai_compatible
    base_url: {one}
    credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]
  - name: two
    kind: openai_compatible
    base_url: {two}
    credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]
models:
  - {{name: first, provider: one, upstream: m, price: {{input: "{price}", output: "{price}"}}}}
  - {{name: second, provider: two, upstream: m, price: {{input: "{price}", output: "{price}"}}}}
routes:
  - {{name: chat, strategy: priority, targets: [{{model: {target}}}]}}
workspaces:
  - name: acme
    keys:
      - {{name: kept, secret: {{env: KEY}}}}
      - {{name: revoked, secret: {{env: SECOND}}}}
"""


@pytest.fixture
def gateway(upstreams) -> Iterator[tuple[Installation, Upstream, Upstream]]:
    one, two = upstreams(2)
    workers = ["--workers", "2"] if os.environ.get("REDIS_URL") else []
    with Installation() as installation:
        configure(installation, one, two, price="1.00", target="first")
        yield installation.start(*workers), one, two


def configure(installation: Installation, one: Upstream, two: Upstream, *, price: str, target: str) -> None:
    text = CONFIGURATION.format(one=one.url, two=two.url, price=price, target=target)
    installation.apply(text, KEY=KEY, SECOND=SECOND, UPSTREAM_SECRET="sk-upstream")


class Load(threading.Thread):
    """Calls without a pause until stopped, and remembers what came back and when it was asked."""

    def __init__(self, installation: Installation, key: str) -> None:
        super().__init__(daemon=True)
        self.installation, self.key = installation, key
        self.seen: list[tuple[float, int, str, str]] = []
        self.running = True

    def run(self) -> None:
        body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
        while self.running:
            asked = time.monotonic()
            with httpx.Client(headers={"authorization": f"Bearer {self.key}"}) as client:  # any of the workers
                answer = client.post(f"{self.installation.url}/v1/chat/completions", json=body, timeout=20)
            told = answer.headers
            self.seen.append((asked, answer.status_code, told.get("x-tollgate-model", ""), told["x-tollgate-cost-usd"]))

    def since(self, moment: float) -> set[tuple[int, str, str]]:
        """What calls got that were asked later than a second after this moment."""
        return {(status, model, cost) for asked, status, model, cost in self.seen if asked > moment + 1.0}


def wait_for_calls(load: Load, moment: float, calls: int = 5) -> None:
    """Until so many calls have been asked later than a second after this moment."""
    deadline = time.monotonic() + 30
    while len([1 for asked, *_ in load.seen if asked > moment + 1.0]) < calls:
        assert time.monotonic() < deadline, "the load stands still"
        time.sleep(0.02)


def test_a_change_of_target_and_price_reaches_calls_within_a_second_under_load(gateway) -> None:
    installation, one, two = gateway
    load = Load(installation, KEY)
    load.start()
    began = time.monotonic() - 1.0
    wait_for_calls(load, began)
    assert {(status, model) for _, status, model, _ in load.seen} == {(200, "first")}
    configure(installation, one, two, price="2.00", target="second")
    moment = time.monotonic()
    wait_for_calls(load, moment)
    load.running = False
    load.join(20)
    costs = {cost for _, _, cost in load.since(moment)}
    assert {(status, model) for status, model, _ in load.since(moment)} == {(200, "second")}
    assert len(costs) == 1
    before = {cost for _, _, model, cost in load.seen if model == "first"}
    assert float(costs.pop()) == pytest.approx(2 * float(before.pop()))
    assert {status for _, status, _, _ in load.seen} == {200}


def test_a_revoked_key_is_refused_within_a_second_under_load(gateway) -> None:
    installation, _, _ = gateway
    load = Load(installation, SECOND)
    load.start()
    wait_for_calls(load, time.monotonic() - 1.0)
    installation.manage("keys", "revoke", "--workspace", "acme", "--name", "revoked")
    moment = time.monotonic()
    wait_for_calls(load, moment)
    load.running = False
    load.join(20)
    assert {status for status, _, _ in load.since(moment)} == {401}
    refused = installation.chat(key=SECOND)
    assert refused.json()["error"]["code"] == "revoked_api_key"
    assert installation.chat().status_code == 200
