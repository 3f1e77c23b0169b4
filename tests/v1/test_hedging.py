"""A second target asked beside a slow one, over HTTP: what the caller, the record and the budget say of it."""

import json
import time

import pytest

from tests.installation import KEY, Installation

CONFIGURATION = """
version: 1
providers:
  - {{name: slow, kind: openai_compatible, base_url: '{slow}', credentials: []}}
  - {{name: quick, kind: openai_compatible, base_url: '{quick}', credentials: []}}
models:
  - {{name: large, provider: slow, upstream: m, price: {{input: "1.00", output: "2.00"}}}}
  - {{name: small, provider: quick, upstream: m, price: {{input: "0.50", output: "1.00"}}}}
routes:
  - {{name: chat, strategy: priority, targets: [{{model: large}}, {{model: small}}], options: {{hedge_after_s: 0.2}}}}
workspaces:
  - name: acme
    keys: [{{name: web, secret: {{env: KEY}}}}]
    budgets: [{{name: month, of: workspace, per: month, limit_usd: "1.00"}}]
"""
WON = 3 * 500 + 12 * 1000  # nano-dollars: what the second target's provider reported
LOST = (len("one two three") + 16 + 64) * 1000 + 50 * 2000  # all that the first one may have cost


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_both_attempts_stand_in_the_answer_the_record_and_the_budget(upstreams, stream):
    slow, quick = upstreams(2)
    slow.always(fault="hang", at="first_token")
    with Installation() as gateway:
        gateway.apply(CONFIGURATION.format(slow=slow.url, quick=quick.url), KEY=KEY)
        gateway.start()
        answer = gateway.chat("one two three", max_tokens=50, stream=stream)
        for _ in range(600):
            if all(reading.hung_up for reading in slow.meter.readings):  # none where a busy machine sent it too late
                break
            time.sleep(0.05)
        found = [json.loads(line) for line in gateway.manage("calls", "--jsonl").stdout.splitlines()]
        (budget,) = json.loads(gateway.manage("budgets", "--json").stdout)

    assert answer.status_code == 200
    assert (answer.headers["x-tollgate-model"], answer.headers["x-tollgate-attempts"]) == ("small", "2")
    assert quick.meter.requests == 1
    assert [reading.hung_up for reading in slow.meter.readings] in ([True], [])
    (call,) = found
    assert [(each["model"], each["outcome"]) for each in call["attempts"]] == [
        ("large", "in_doubt"),
        ("small", "answered"),
    ]
    nanos = [round(float(each["cost_usd"]) * 10**9) for each in call["attempts"]]
    assert nanos == [LOST, WON]
    assert (call["model"], round(float(call["cost_usd"]) * 10**9)) == ("small", WON + LOST)
    in_budget = [round(float(budget[name]) * 10**9) for name in ("spent_usd", "held_usd", "in_doubt_usd")]
    assert in_budget == [WON + LOST, 0, LOST]
