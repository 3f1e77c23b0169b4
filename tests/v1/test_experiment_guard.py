"""A running experiment whose arm fails a fifth more: the guard stops it, and every caller is served the control."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.installation import KEY, Installation
from tests.upstream.server import Upstream
from tests.v1.test_prompt_races import TOKEN, prompt_url

PEOPLE_MOST = 1_200
SECONDS_MOST = 20.0
CONFIGURATION = """
version: 1
providers:
  - {{name: up, kind: openai_compatible, base_url: {url}, credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]}}
models:
  - {{name: small, provider: up, upstream: small, price: {{input: "1.00", output: "2.00"}}}}
  - {{name: large, provider: up, upstream: large, price: {{input: "1.00", output: "2.00"}}}}
routes:
  - {{name: good, strategy: priority, targets: [{{model: small}}]}}
  - {{name: bad, strategy: priority, targets: [{{model: large}}]}}
workspaces:
  - name: acme
    keys: [{{name: web, secret: {{env: KEY}}}}]
    prompts:
      - name: summary
        versions:
          - {{message: one, route: good, messages: [{{role: user, content: "{{{{x}}}}"}}]}}
          - {{message: two, route: bad, messages: [{{role: user, content: "{{{{x}}}}"}}]}}
        channels: {{production: 1}}
"""
FAILS_ON_LARGE = json.dumps({"upstream": {"large": {"fault": "status", "status": 400}, "*": {}}})


@pytest.fixture
def gateway(upstream: Upstream) -> Iterator[Installation]:
    with Installation() as installation:
        installation.apply(CONFIGURATION.format(url=upstream.url), KEY=KEY, UPSTREAM_SECRET="sk-upstream")
        yield installation.start(*(["--workers", "2"] if os.environ.get("REDIS_URL") else []))


@pytest.mark.timeout(240)
def test_an_arm_that_fails_a_fifth_more_is_stopped_by_the_guard(gateway: Installation) -> None:
    token = gateway.manage("shell", "-v", "0", "-c", TOKEN).stdout.strip().splitlines()[-1]
    head = {"authorization": f"Bearer {token}"}
    with (
        httpx.Client(base_url=f"{gateway.url}/api/", headers=head, timeout=60) as api,
        httpx.Client(base_url=f"{gateway.url}/v1/", headers={"authorization": f"Bearer {KEY}"}, timeout=60) as calls,
    ):
        arms = [{"name": "control", "version": 1, "weight": 5_000}, {"name": "fast", "version": 2, "weight": 5_000}]
        begun = api.post(f"{prompt_url(api)}experiment/", json={"name": "speed", "arms": arms})
        assert begun.status_code == 201, begun.text
        experiment = f"experiments/{begun.json()['id']}/"
        time.sleep(1.0)

        def call(person: int) -> tuple[str, int]:
            said = FAILS_ON_LARGE if person % 5 == 0 else "hello"
            body = {"model": "prompt/summary", "inputs": {"x": said}, "user": f"person{person}"}
            answer = calls.post("chat/completions", json=body)
            return answer.headers.get("x-tollgate-experiment", ""), answer.status_code

        seen: Counter[tuple[str, int]] = Counter()
        with ThreadPoolExecutor(8) as together:
            for first in range(0, PEOPLE_MOST, 100):
                seen.update(together.map(call, range(first, first + 100)))
                if api.get(experiment).json()["state"] != "running":
                    break
        until = time.monotonic() + SECONDS_MOST
        while api.get(experiment).json()["state"] == "running" and time.monotonic() < until:
            time.sleep(0.5)
        told = api.get(experiment).json()
        assert told["state"] == "aborted", (seen, api.get(f"{experiment}figures/").json())
        assert "fast (version 2) breaks the guard of failed calls" in told["outcome"]
        assert {(arm, status) for arm, status in seen if arm} == {
            ("speed/control", 200),
            ("speed/fast", 200),
            ("speed/fast", 400),
        }
        time.sleep(1.0)
        assert {call(person) for person in range(2_000, 2_030)} == {("", 200)}
        newest = api.get("deployments/", params={"prompt__name": "summary"}).json()["results"][0]
        assert (newest["action"], newest["actor"], newest["version"]) == ("rollback", "experiment guard", 1)
