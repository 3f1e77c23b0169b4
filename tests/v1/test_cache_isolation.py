"""No answer crosses from one workspace, or where a call asks for it one end user, to another: whatever is asked.

Every answer of the scripted provider has an id of its own, so whoever is given an id that somebody else was given first
was given somebody else's answer. All questions have the same vector: to the semantic cache they are all alike.
"""

import asyncio
import json
import os
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.installation import Installation
from tests.upstream.server import Upstream

CALLS = int(os.environ.get("CALLS", "300"))  # more of them by hand: CALLS=10000
AT_ONCE = 24
KEYS = {name: f"sk-test-isolation-{name}-0001" for name in ("acme", "umbra")}
CONFIGURATION = """
version: 1
providers:
  - name: upstream
    kind: openai
    base_url: {url}
    credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]
models:
  - {{name: one, provider: upstream, upstream: gpt-one, price: {{input: "1", output: "1"}}}}
  - {{name: vectors, provider: upstream, upstream: embed-test, kind: embedding, price: {{input: "1"}}}}
routes:
  - {{name: exact, strategy: priority, targets: [{{model: one}}], cache: {{mode: exact, ttl_s: 600}}}}
  - {{name: semantic, strategy: priority, targets: [{{model: one}}], cache: {{mode: semantic, ttl_s: 600, threshold: 0.9}}}}
workspaces:
  - {{name: acme, keys: [{{name: acme, secret: {{env: acme}}}}]}}
  - {{name: umbra, keys: [{{name: umbra, secret: {{env: umbra}}}}]}}
"""
VECTOR = json.dumps(
    {"object": "list", "model": "e", "data": [{"object": "embedding", "index": 0, "embedding": [1, 0]}]}
)
QUESTIONS = ("How do I get my money back?", "how do I get my money back", "Money back: how?", "Where is my parcel?")
# What a caller could say to get into a partition that is not the own one, as any gateway would understand it.
HEADERS = {
    "x-portkey-cache-namespace": "acme",
    "helicone-cache-seed": "acme",
    "cf-aig-cache-key": "acme",
    "x-bf-cache-key": "acme",
    "x-tollgate-workspace": "acme",
    "x-tollgate-cache": "hit-exact",
    "openai-organization": "acme",
    "openai-project": "acme",
    "x-workspace": "acme",
    "if-none-match": "*",
}
FIELDS: tuple[dict[str, Any], ...] = (
    {"user": "ann", "cache_options": {"cache_by_customer": True}},
    {"customer_identifier": "ann"},
    {"safety_identifier": "ann"},
    {"prompt_cache_key": "acme"},
    {"metadata": {"workspace": "acme", "session_id": "acme", "tags": ["acme"]}},
    {"tollgate": {"user": "ann"}},
)
REFUSED: tuple[dict[str, Any], ...] = (
    {"cache_options": {"namespace": "acme"}},
    {"cache_options": {"cache_key": "acme"}},
    {"tollgate": {"workspace": "acme"}},
)


@pytest.fixture(scope="module")
def cached() -> Iterator[tuple[Installation, Upstream]]:
    with Upstream() as provider, Installation() as installation:
        installation.apply(CONFIGURATION.format(url=provider.url), UPSTREAM_SECRET="sk-upstream", **KEYS)
        provider.for_model("embed-test", fault="raw", status=200, body=VECTOR)
        yield installation.start(), provider


def body(route: str, question: str, user: str, *, stream: bool = False) -> dict[str, Any]:
    asked = {"model": route, "messages": [{"role": "user", "content": question}], "stream": stream}
    return {**asked, "user": user, "cache_options": {"cache_by_customer": True}}


def answer_id(answer: httpx.Response) -> str:
    """The id that the provider gave the answer."""
    first = answer.text.partition("\n\n")[0].removeprefix("data: ")
    return str(json.loads(first)["id"])


async def asked(installation: Installation, calls: int, rng: random.Random) -> tuple[dict[str, set[Any]], set[str]]:
    """Who was given each answer, and how the cache answered, over so many calls of four callers at once."""
    given: dict[str, set[Any]] = defaultdict(set)
    how: set[str] = set()
    left = iter(range(calls))

    async def caller(client: httpx.AsyncClient) -> None:
        for _ in left:
            workspace, user = rng.choice(("acme", "umbra")), rng.choice(("ann", "bob"))
            stream = rng.random() < 0.2
            # Now and then a question that nobody asked yet, by many at the same time.
            question = rng.choice((*QUESTIONS, f"Question {rng.randrange(calls // 40 + 1)}?"))
            asked = body(rng.choice(("exact", "semantic")), question, user, stream=stream)
            headers = {"authorization": f"Bearer {KEYS[workspace]}"}
            answer = await client.post(f"{installation.url}/v1/chat/completions", json=asked, headers=headers)
            assert answer.status_code == 200, answer.text
            given[answer_id(answer)].add((workspace, user))
            how.add(answer.headers["x-tollgate-cache"])

    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        await asyncio.gather(*(caller(client) for _ in range(AT_ONCE)))
    return given, how


async def test_no_answer_crosses_from_one_workspace_or_end_user_to_another(cached) -> None:
    installation, provider = cached
    provider.always(delay_s=0.02)  # so that identical calls meet while one of them is under way
    seed = random.randrange(10**6)
    given, how = await asked(installation, CALLS, random.Random(seed))
    assert {name: who for name, who in given.items() if len(who) > 1} == {}, f"seed {seed}"
    assert how == {"miss", "hit-exact", "hit-semantic"}
    assert len(given) < CALLS / 2  # most of them were answered from the cache, so there was something to cross


def test_no_field_and_no_header_opens_another_partition(cached) -> None:
    installation, _ = cached
    url, question = f"{installation.url}/v1/chat/completions", "What is in the other partition?"

    def ask(key: str, route: str, fields: dict[str, Any], **headers: str) -> httpx.Response:
        asked = {"model": route, "messages": [{"role": "user", "content": question}], **fields}
        return httpx.post(url, json=asked, headers={"authorization": f"Bearer {KEYS[key]}", **headers}, timeout=30)

    kept: set[str] = set()
    for route in ("exact", "semantic"):
        for fields in FIELDS:
            kept.add(answer_id(ask("acme", route, fields)))
    for route in ("exact", "semantic"):
        others = [ask("umbra", route, fields) for fields in FIELDS]
        others += [ask("umbra", route, {}, **{name: value}) for name, value in HEADERS.items()]
        assert {answer.status_code for answer in others} == {200}
        assert kept & {answer_id(answer) for answer in others} == set()
        for fields in REFUSED:
            assert ask("umbra", route, fields).status_code == 400
