"""The exact cache over HTTP: whom a kept answer serves, whom it never serves, and what comes before it."""

import json
import os
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from openai import OpenAI

from tests.installation import Installation
from tests.upstream.server import Upstream

KEYS = {name: f"sk-test-cache-{name}-0001" for name in ("acme", "second", "other", "revoked", "poor", "limited", "few")}
CONFIGURATION = """
version: 1
providers:
  - name: upstream
    kind: openai
    base_url: {url}
    credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]
models:
  - {{name: one, provider: upstream, upstream: gpt-one, price: {{input: "1000.00", output: "1000.00"}}}}
  - {{name: two, provider: upstream, upstream: gpt-two, price: {{input: "1000.00", output: "1000.00"}}}}
  - {{name: vectors, provider: upstream, upstream: embed-test, kind: embedding, price: {{input: "1.00"}}}}
routes:
  - {{name: chat, strategy: priority, targets: [{{model: one}}], cache: {{mode: exact, ttl_s: 600}}}}
  - {{name: plain, strategy: priority, targets: [{{model: one}}]}}
  - {{name: lists, strategy: priority, targets: [{{model: vectors}}], cache: {{mode: exact, ttl_s: 600}}}}
  - {{name: faq, strategy: priority, targets: [{{model: one}}], cache: {{mode: semantic, ttl_s: 600, threshold: 0.9}}}}
workspaces:
  - name: acme
    redaction: {{detect: [{detect}], action: restore}}
    limits:
      - {{of: key, name: few, unit: requests, per: minute, amount: 2}}
    budgets:
      - {{name: poor, of: key, match: poor, per: day, limit_usd: "{poor}", mode: hard}}
    keys:
      - {{name: acme, secret: {{env: acme}}}}
      - {{name: second, secret: {{env: second}}}}
      - {{name: revoked, secret: {{env: revoked}}}}
      - {{name: poor, secret: {{env: poor}}}}
      - {{name: few, secret: {{env: few}}}}
      - {{name: limited, secret: {{env: limited}}, models: [plain]}}
  - name: other
    keys: [{{name: other, secret: {{env: other}}}}]
"""


def configure(installation: Installation, upstream: Upstream, **changed: str) -> None:
    fields = {"detect": "email", "poor": "1000.00", **changed}
    installation.apply(CONFIGURATION.format(url=upstream.url, **fields), UPSTREAM_SECRET="sk-upstream", **KEYS)


@pytest.fixture(scope="module")
def cached() -> Iterator[tuple[Installation, Upstream]]:
    """A gateway whose route `chat` caches, and the provider behind it."""
    with Upstream() as provider, Installation() as installation:
        configure(installation, provider)
        yield installation.start(), provider


@pytest.fixture(autouse=True)
def plain_answers(cached) -> Iterator[None]:
    """Each test scripts the provider for itself alone."""
    yield
    cached[1].forget()


def ask(installation: Installation, text: str, key: str = "acme", **fields) -> httpx.Response:
    headers = fields.pop("headers", {})
    body = {"model": "chat", "messages": [{"role": "user", "content": text}], **fields}
    headers = {"authorization": f"Bearer {KEYS[key]}", **headers}
    return httpx.post(f"{installation.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.headers["x-tollgate-cache"]


def test_the_same_question_is_answered_from_the_cache_and_costs_nothing(cached) -> None:
    installation, provider = cached
    first = ask(installation, "what is kept?")
    before = provider.meter.requests
    second = ask(installation, "what is kept?")
    assert (told(first), told(second)) == ((200, "miss"), (200, "hit-exact"))
    assert second.content == first.content
    assert provider.meter.requests == before
    heads = ("x-tollgate-cost-usd", "x-tollgate-attempts", "x-tollgate-model", "x-tollgate-provider", "age")
    assert [second.headers[name] for name in heads] == ["0", "0", "one", "upstream", "0"]
    assert "age" not in first.headers


def test_a_key_of_the_same_workspace_shares_and_another_workspace_never_does(cached) -> None:
    installation, _ = cached
    ask(installation, "whose is it?")
    assert told(ask(installation, "whose is it?", key="second")) == (200, "hit-exact")
    assert told(ask(installation, "whose is it?", key="other")) == (200, "miss")


def test_a_stream_is_replayed_as_a_stream_with_its_shape(cached) -> None:
    installation, provider = cached

    def chunks() -> list[dict]:
        with (
            OpenAI(base_url=f"{installation.url}/v1", api_key=KEYS["acme"]) as client,
            client.chat.completions.create(
                model="chat",
                messages=[{"role": "user", "content": "stream it"}],
                stream=True,
                stream_options={"include_usage": True},
            ) as stream,
        ):
            return [chunk.model_dump() for chunk in stream]

    first = chunks()
    before = provider.meter.requests
    second = chunks()
    costs = [chunk["usage"].pop("cost_usd") for chunk in (first[-1], second[-1])]
    assert second == first
    assert len(first) > 5
    assert (provider.meter.requests, costs[1]) == (before, "0")
    assert float(costs[0]) > 0


DIFFERENT = {
    "a system prompt": {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "Q"}]},
    "tools": {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
    "temperature": {"temperature": 0.7},
    "another temperature": {"temperature": 0.71},
    "a seed": {"seed": 1},
    "the most tokens": {"max_tokens": 99},
    "the model": {"model": "one", "cache": "exact"},
    "another model": {"model": "two", "cache": "exact"},
    "another first target": {"prefer": ["two"]},
    "a response format": {"response_format": {"type": "json_object"}},
    "a user of its own": {"user": "ann", "cache_options": {"cache_by_customer": True}},
    "another user": {"user": "bob", "cache_options": {"cache_by_customer": True}},
    "what is redacted": {"redact": ["pii"]},
}


def test_whatever_shapes_the_answer_makes_another_answer(cached) -> None:
    installation, _ = cached
    assert told(ask(installation, "Q")) == (200, "miss")
    seen = {name: told(ask(installation, "Q", **fields)) for name, fields in DIFFERENT.items()}
    assert seen == dict.fromkeys(DIFFERENT, (200, "miss"))
    again = {name: told(ask(installation, "Q", **fields)) for name, fields in DIFFERENT.items()}
    assert again == dict.fromkeys(DIFFERENT, (200, "hit-exact"))


def test_the_order_of_fields_and_who_asks_shape_nothing(cached) -> None:
    installation, _ = cached
    ask(installation, "order", temperature=0.5, top_p=0.9, user="ann")
    again = ask(installation, "order", top_p=0.9, temperature=0.5, user="bob", metadata={"tags": ["x"]})
    assert told(again) == (200, "hit-exact")


def test_the_controls_do_what_the_contract_says(cached) -> None:
    installation, _ = cached
    ask(installation, "controls")
    asked = [
        {"cache": "off"},
        {"cache_enabled": False},
        {"headers": {"cache-control": "no-store"}},
        {"headers": {"cache-control": "no-cache"}},
        {"cache_options": {"force_refresh": True}},
        {"headers": {"cache-control": "max-age=0"}},
        {"cache": "exact"},
        {"cache_enabled": True},
        {"cache_ttl": 60},
    ]
    seen = [told(ask(installation, "controls", **fields))[1] for fields in asked]
    assert seen == ["off", "off", "off", "refresh", "refresh", "miss", "hit-exact", "hit-exact", "hit-exact"]
    assert [told(ask(installation, "plain", model="plain"))[1] for _ in range(2)] == ["off", "off"]
    enabled = {"model": "plain", "cache_enabled": True}
    assert [told(ask(installation, "plain", **enabled))[1] for _ in range(2)] == ["miss", "hit-exact"]


@pytest.mark.parametrize(
    "fault", [{"finish": "length"}, {"finish": "content_filter"}, {"fault": "status", "status": 400}]
)
def test_only_complete_good_answers_are_kept(cached, fault) -> None:
    installation, provider = cached
    provider.once(**fault)
    ask(installation, f"bad {fault}")
    assert told(ask(installation, f"bad {fault}")) == (200, "miss")
    assert told(ask(installation, f"bad {fault}")) == (200, "hit-exact")


def test_a_stream_that_breaks_off_is_not_kept(cached) -> None:
    installation, provider = cached
    provider.once(fault="cut", at=5)
    assert b"[DONE]" not in ask(installation, "broken", stream=True).content
    assert told(ask(installation, "broken", stream=True)) == (200, "miss")


def test_identical_calls_in_flight_are_answered_by_one_upstream_call(cached) -> None:
    installation, provider = cached
    provider.once(delay_s=1.0)
    before, answers = provider.meter.requests, []
    threads = [threading.Thread(target=lambda: answers.append(ask(installation, "at once"))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert provider.meter.requests == before + 1
    assert sorted(told(answer) for answer in answers) == [(200, "hit-exact")] * 11 + [(200, "miss")]
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["x-request-id"] for answer in answers}) == 12


def test_a_leader_that_fails_or_leaves_costs_nobody_the_answer(cached) -> None:
    installation, provider = cached
    provider.once(delay_s=0.7, fault="status", status=400)
    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(installation, "leader"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 400]
    provider.once(delay_s=1.5)
    leaving = threading.Thread(target=lambda: leave(installation, "leaver"))
    leaving.start()
    answers.clear()
    leaving.join()
    assert told(ask(installation, "leaver"))[0] == 200


def leave(installation: Installation, text: str) -> None:
    try:
        body = {"model": "chat", "messages": [{"role": "user", "content": text}]}
        headers = {"authorization": f"Bearer {KEYS['acme']}"}
        httpx.post(f"{installation.url}/v1/chat/completions", json=body, headers=headers, timeout=0.3)
    except httpx.TimeoutException:
        return


def test_what_is_kept_is_masked_and_each_caller_gets_the_own_originals_back(cached) -> None:
    installation, provider = cached
    provider.once(text="I wrote to <EMAIL_1>.")
    first = ask(installation, "write to ann@example.org")
    second = ask(installation, "write to bob@example.org", key="second")
    assert (told(first), told(second)) == ((200, "miss"), (200, "hit-exact"))
    said = [answer.json()["choices"][0]["message"]["content"] for answer in (first, second)]
    assert said == ["I wrote to ann@example.org.", "I wrote to bob@example.org."]


def test_other_forms_are_kept_too(cached) -> None:
    installation, _ = cached
    asked = {
        "/v1/embeddings": {"model": "lists", "input": "text"},
        "/v1/messages": {"model": "chat", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]},
    }
    headers = {"x-api-key": KEYS["acme"]}
    for path, body in asked.items():
        answers = [httpx.post(f"{installation.url}{path}", json=body, headers=headers) for _ in range(2)]
        assert [told(each) for each in answers] == [(200, "miss"), (200, "hit-exact")]
        assert answers[0].json() == answers[1].json()


def test_every_hit_has_its_own_record(cached) -> None:
    installation, _ = cached
    ids = [ask(installation, "recorded").headers["x-request-id"] for _ in range(3)]
    records = records_of(installation, ids)
    assert [each["cache"] for each in records] == ["miss", "hit-exact", "hit-exact"]
    assert [each["cost_usd"] == "0" for each in records] == [False, True, True]
    assert [(each["model"], each["outcome"], each["output_tokens"]) for each in records] == [
        ("one", "answered", records[0]["output_tokens"])
    ] * 3


def records_of(installation: Installation, ids: list[str]) -> list[dict]:
    for _ in range(20):
        lines = installation.manage("calls", "--jsonl").stdout.splitlines()
        found = {each["call_id"]: each for each in map(json.loads, lines)}
        if found.keys() >= set(ids):
            return [found[each] for each in ids]
    raise AssertionError("the records did not come")


def test_hits_count_against_rate_limits(cached) -> None:
    installation, _ = cached
    ask(installation, "limited")
    seen = [ask(installation, "limited", key="few").status_code for _ in range(3)]
    assert seen == [200, 200, 429]


def test_a_key_that_may_not_call_the_route_gets_nothing_from_its_cache(cached) -> None:
    installation, _ = cached
    ask(installation, "allowed?")
    assert ask(installation, "allowed?", key="limited").status_code == 403


def test_a_revoked_key_is_refused_although_the_answer_is_kept(cached) -> None:
    installation, _ = cached
    assert told(ask(installation, "revoked?", key="revoked")) == (200, "miss")
    installation.manage("keys", "revoke", "--workspace", "acme", "--name", "revoked")
    wait_until(lambda: ask(installation, "revoked?", key="revoked").status_code == 401)
    assert told(ask(installation, "revoked?")) == (200, "hit-exact")


def vectors(provider: Upstream, *vector: float) -> None:
    """The next questions lie here."""
    answer = {"object": "list", "model": "e", "data": [{"object": "embedding", "index": 0, "embedding": vector}]}
    provider.for_model("embed-test", fault="raw", status=200, body=json.dumps(answer))


def test_a_like_question_is_answered_by_the_semantic_cache_which_is_passed_by_without_vectors(cached) -> None:
    installation, provider = cached
    vectors(provider, 1.0, 0.0, 0.0)
    first = ask(installation, "How do I reset my password?", model="faq")
    vectors(provider, 0.95, 0.05, 0.0)
    alike = ask(installation, "Password reset, how?", model="faq")
    assert (told(first), told(alike)) == ((200, "miss"), (200, "hit-semantic"))
    assert alike.json()["choices"] == first.json()["choices"]
    assert (alike.headers["x-tollgate-cost-usd"], alike.headers["x-tollgate-model"]) == ("0", "one")
    assert told(ask(installation, "How do I reset my password?", model="faq")) == (200, "hit-exact")
    others = {
        "another workspace": {"key": "other"},
        "another system prompt": {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "P?"}]},
        "an earlier turn": {
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": "y"},
                {"role": "user", "content": "P?"},
            ]
        },
        "another parameter": {"temperature": 0.3},
        "a high temperature": {"temperature": 0.9},
        "tools": {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
        "its own user": {"user": "ann", "cache_options": {"cache_by_customer": True}},
        "another user": {"user": "bob", "cache_options": {"cache_by_customer": True}},
        "exact only": {"cache": "exact"},
    }
    seen = {name: told(ask(installation, f"P {name}", model="faq", **fields)) for name, fields in others.items()}
    assert seen == dict.fromkeys(others, (200, "miss"))
    vectors(provider, 0.5, 0.5, 0.0)
    assert told(ask(installation, "Something else?", model="faq")) == (200, "miss")
    provider.for_model("embed-test", fault="status", status=500)
    assert told(ask(installation, "no vector", model="faq")) == (200, "miss")
    assert told(ask(installation, "no vector", model="faq")) == (200, "hit-exact")


def test_a_change_of_the_redaction_policy_never_hits(cached) -> None:
    installation, provider = cached
    ask(installation, "policy")
    configure(installation, provider, detect="email, phone")
    wait_until(lambda: told(ask(installation, "policy"))[1] == "miss")


def wait_until(holds) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


PURGED = (
    "from gateway.services.cache import Workspace, purge_cache; "
    "purge_cache(workspace=Workspace.objects.get(name='acme'), what='{}', name='{}')"
)


def test_what_was_purged_is_asked_anew(cached) -> None:
    installation, _ = cached

    def seen() -> list[str]:
        time.sleep(1.0)
        return [told(ask(installation, f"purge {user}", user=user))[1] for user in ("cleo", "dora")]

    assert [seen(), seen()] == [["miss", "miss"], ["hit-exact", "hit-exact"]]
    installation.manage("shell", "-v", "0", "-c", PURGED.format("user", "cleo"))
    others = "miss" if os.environ.get("REDIS_URL") else "hit-exact"  # in Redis a purge empties the whole workspace
    assert seen() == ["miss", others]
    installation.manage("shell", "-v", "0", "-c", PURGED.format("all", ""))
    assert seen() == ["miss", "miss"]
