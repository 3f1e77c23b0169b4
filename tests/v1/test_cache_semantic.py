"""The semantic cache over HTTP: policy comes before the question is sent anywhere, and its vector is paid for."""

import json
from collections.abc import Iterator

import pytest

from tests.installation import Installation
from tests.upstream.server import Upstream
from tests.v1.test_cache import ask as ask_key
from tests.v1.test_cache import told, vectors

KEYS = {name: f"sk-test-cache-{name}-0001" for name in ("acme", "second", "other", "poor")}
CONFIGURATION = """
version: 1
providers:
  - name: upstream
    kind: openai
    base_url: {url}
    credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]
models:
  - {{name: one, provider: upstream, upstream: gpt-one, price: {{input: "1000.00", output: "1000.00"}}}}
  - {{name: vectors, provider: upstream, upstream: embed-test, kind: embedding, price: {{input: "100.00"}}}}
routes:
  - {{name: faq, strategy: priority, targets: [{{model: one}}], cache: {{mode: semantic, ttl_s: 600, threshold: 0.9}}}}
workspaces:
  - name: acme
    budgets:
      - {{name: poor, of: key, match: poor, per: day, limit_usd: "0.000001", mode: hard}}
    keys:
      - {{name: acme, secret: {{env: acme}}}}
      - {{name: poor, secret: {{env: poor}}}}
"""
KEPT = """
import json
from audit.models import CallRecord
from budgets.models import Entry
rest = json.loads(CallRecord.objects.get(pk="{kept}").rest)
booked = sum(Entry.objects.filter(attempt__startswith="{made}").values_list("nanos", flat=True))
print(json.dumps({{"rest": rest, "booked": booked}}))
"""


@pytest.fixture(scope="module")
def cached() -> Iterator[tuple[Installation, Upstream]]:
    with Upstream() as provider, Installation() as installation:
        installation.apply(CONFIGURATION.format(url=provider.url), UPSTREAM_SECRET="sk-upstream", **KEYS)
        yield installation.start(), provider


@pytest.fixture(autouse=True)
def plain_answers(cached) -> Iterator[None]:
    yield
    cached[1].forget()


def ask(installation: Installation, text: str, key: str = "acme", **fields):
    return ask_key(installation, text, key, **{"model": "faq", **fields})


def embeddings(provider: Upstream) -> int:
    return sum(reading.path.endswith("/embeddings") for reading in provider.meter.readings)


def test_a_call_that_the_budgets_refuse_sends_no_question_to_the_embedding_model(cached) -> None:
    installation, provider = cached
    refused = ask(installation, "who pays for the vector?", key="poor")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
    assert provider.meter.requests == 0


def test_a_vector_has_a_record_of_its_own_that_says_for_whom_and_what_it_cost(cached) -> None:
    installation, provider = cached
    vectors(provider, 0.0, 1.0, 0.0)
    first = ask(installation, "How long is the guarantee?", user="ann", metadata={"tags": ["shop"]})
    second = ask(installation, "Guarantee, how long?", user="ann", metadata={"tags": ["shop"]})
    assert (told(first), told(second)) == ((200, "miss"), (200, "hit-semantic"))
    assert embeddings(provider) == 2
    records: dict[str, dict] = {}
    while len(records) < 4:  # two calls and their vectors
        lines = installation.manage("calls", "--jsonl").stdout.splitlines()
        records = {each["call_id"]: each for each in map(json.loads, lines) if each["outcome"] == "answered"}
    asked, kept = (records[each.headers["x-request-id"]] for each in (first, second))
    assert (kept["cost_usd"], kept["attempts"], kept["model"]) == ("0", [], "one")
    assert [attempt["model"] for attempt in asked["attempts"]] == ["one"]
    made = [each for each in records.values() if each["metadata"].get("semantic_cache_of") == kept["call_id"]]
    assert [(each["model"], each["route"], each["outcome"], each["key"], each["cache"]) for each in made] == [
        ("vectors", "vectors", "answered", "acme", "off")
    ]
    assert len(made[0]["attempts"]) == 1
    assert made[0]["tags"] == ["shop"]
    asked_of_rows = KEPT.format(kept=kept["call_id"], made=made[0]["call_id"])
    rows = json.loads(installation.manage("shell", "-v", "0", "-c", asked_of_rows).stdout)
    assert rows["booked"] == round(float(made[0]["cost_usd"]) * 1e9) > 0
    assert rows["rest"]["likeness"] == {"likeness": 1.0, "threshold": 0.9, "call_id": asked["call_id"]}
    assert rows["rest"]["saved_nanos"] == round(float(asked["cost_usd"]) * 1e9) > 0
