"""A stream that breaks off and is gone on with by another target, over HTTP."""

import json

import pytest

from tests.installation import KEY, Installation

CONFIGURATION = """
version: 1
providers:
  - {{name: breaking, kind: openai_compatible, base_url: '{bad}', credentials: []}}
  - {{name: lasting, kind: openai_compatible, base_url: '{good}', credentials: [], quirks: {{prefill: message}}}}
models:
  - {{name: large, provider: breaking, upstream: m, price: {{input: "1.00", output: "2.00"}}}}
  - {{name: small, provider: lasting, upstream: m, price: {{input: "0.50", output: "1.00"}}}}
routes:
  - {{name: chat, strategy: priority, targets: [{{model: large}}, {{model: small}}], options: {{continue: true}}}}
workspaces:
  - {{name: acme, keys: [{{name: web, secret: {{env: KEY}}}}]}}
"""


@pytest.mark.timeout(300)
def test_the_caller_gets_one_whole_answer_that_says_who_went_on_with_it(upstreams):
    bad, good = upstreams(2)
    bad.always(fault="cut", at=3)
    good.always(text="fox jumps over")
    with Installation() as gateway:
        gateway.apply(CONFIGURATION.format(bad=bad.url, good=good.url), KEY=KEY)
        gateway.start()
        answer = gateway.chat("go", stream=True)
        (call,) = [json.loads(line) for line in gateway.manage("calls", "--jsonl").stdout.splitlines()]

    assert answer.text.endswith("data: [DONE]\n\n")
    chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    said = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert said.split() == ["the", "quick", "brown", "fox", "jumps", "over"]
    assert [chunk["tollgate"]["continued"]["model"] for chunk in chunks if "tollgate" in chunk] == ["small"]
    assert (call["outcome"], call["model"]) == ("answered", "small")
    attempts = [(each["model"], each["outcome"], each["cost_usd"] != "0") for each in call["attempts"]]
    assert attempts == [("large", "failed", True), ("small", "answered", True)]
