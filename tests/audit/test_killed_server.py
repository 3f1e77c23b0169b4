"""A whole server, killed under load: what its clients saw, its provider saw and its records say must agree."""

import json
import os
import random
import threading
import time
from contextlib import ExitStack

import httpx
import pytest

from tests.forked import Imported
from tests.installation import KEY, Installation

CONFIG = """
version: 1
providers:
  - {name: up, kind: openai_compatible, base_url: "URL", credentials: []}
models:
  - {name: m, provider: up, upstream: m, price: {input: "1", output: "2"}}
routes:
  - {name: chat, strategy: priority, targets: [{model: m}]}
workspaces:
  - name: acme
    retention: {records_days: 30, bodies_days: 3, store_bodies: true}
    keys: [{name: web, secret: {env: ACME_KEY}}]
"""
KILLS = int(os.environ.get("KILLS", "3"))  # more of them by hand: KILLS=200
CLIENTS = 4
ANSWERS_AT_LEAST = 10  # for each kill
PATIENCE_SECONDS = 30


class Load(threading.Thread):
    """One client, streaming and not, that remembers each call whose answer it saw to its end."""

    def __init__(self, url: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.url, self.chance = url, random.Random(seed)
        self.answered: list[str] = []
        self.stopping = False

    def run(self) -> None:
        with httpx.Client(headers={"authorization": f"Bearer {KEY}"}, timeout=10) as client:
            while not self.stopping:
                try:
                    self.call(client, stream=self.chance.random() < 0.5)
                except httpx.HTTPError:
                    time.sleep(0.02)

    def call(self, client: httpx.Client, *, stream: bool) -> None:
        body = {"model": "chat", "messages": [{"role": "user", "content": "count to three"}], "stream": stream}
        with client.stream("POST", f"{self.url}/v1/chat/completions", json=body) as answer:
            said = answer.read()
            if answer.status_code == 200 and (not stream or said.rstrip().endswith(b"data: [DONE]")):
                self.answered.append(answer.headers["x-request-id"])


def await_answers(load: list[Load]) -> None:
    """On a busy machine a server that was just started may need longer for its first answers."""
    until = time.monotonic() + PATIENCE_SECONDS
    while sum(len(client.answered) for client in load) <= ANSWERS_AT_LEAST and time.monotonic() < until:
        time.sleep(0.05)


@pytest.mark.timeout(1500)
def test_a_server_killed_under_load_has_one_final_record_for_each_answer_its_clients_saw(upstream):
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    answered: list[str] = []
    with Installation(ACME_KEY=KEY, LOG_LEVEL="WARNING") as gateway, ExitStack() as stack:
        gateway.apply(CONFIG.replace("URL", f"{upstream.url}/v1"))
        server: Installation | Imported = gateway
        for number in range(KILLS):
            if number == 1:  # the first one is started as an operator starts it
                server = stack.enter_context(Imported(gateway))
            server.start()
            load = [Load(gateway.url, chance.randrange(2**32)) for _ in range(CLIENTS)]
            for client in load:
                client.start()
            time.sleep(0.3 + chance.random())
            await_answers(load)
            server.kill()
            for client in load:
                client.stopping = True
            for client in load:
                client.join()
                answered += client.answered
        gateway.start()
        gateway.stop()
        lines = [json.loads(line) for line in gateway.manage("calls", "--jsonl").stdout.splitlines()]
        proof = gateway.manage("audit", "verify")
        left = [path.name for path in (gateway.data_dir / "journal").iterdir()]

    ended = {line["call_id"]: line["outcome"] for line in lines}
    assert len(answered) > ANSWERS_AT_LEAST * KILLS, f"seed {seed}"
    assert len(ended) == len(lines), f"seed {seed}"
    assert {call_id: ended.get(call_id) for call_id in answered if ended.get(call_id) != "answered"} == {}, (
        f"seed {seed}"
    )
    reached = sum(len(line["attempts"]) for line in lines)
    assert reached >= upstream.meter.requests >= len(answered), f"seed {seed}"
    assert proof.stdout.startswith("The audit trail holds"), f"seed {seed}"
    assert left == [], f"seed {seed}"
