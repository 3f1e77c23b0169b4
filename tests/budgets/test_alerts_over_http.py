"""Alerts of a running installation, over real calls, failures of the receiver, and kills of the whole server."""

import time

from tests.budgets.test_alerts import SECRET, receiving
from tests.installation import KEY
from tests.upstream.server import Upstream

CONFIGURATION = """
version: 1
providers:
  - name: upstream
    kind: openai
    base_url: {upstream}
    credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]
models:
  - {{name: chat, provider: upstream, upstream: gpt-test, price: {{input: "1.00", output: "2.00"}}}}
workspaces:
  - name: acme
    keys: [{{name: app, secret: {{env: APP_KEY}}}}]
    budgets: [{{name: month, of: workspace, per: month, limit_usd: "0.000055", mode: soft, alert_at: [50, 90, 100]}}]
    alerts: [{{kind: webhook, url: "{receiver}", secret: {{env: ALERT_SECRET}}}}]
"""


def until(holds, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_every_threshold_is_told_though_the_receiver_fails_and_the_server_is_killed(installation):
    installation.environment["PRIVATE_WEBHOOK_HOSTS"] = "127.0.0.1"
    with Upstream() as upstream, receiving() as receiver:
        receiver.answers = [503] * 3
        text = CONFIGURATION.format(upstream=upstream.url, receiver=receiver.url)
        installation.apply(text, UPSTREAM_SECRET="sk-upstream", APP_KEY=KEY, ALERT_SECRET=SECRET)
        installation.start()
        assert installation.chat("one two three", max_tokens=12).status_code == 200
        assert installation.chat("one two three", max_tokens=12).status_code == 200
        installation.kill()  # the calls are in the journal; whether they are booked, nobody knows
        installation.start()
        assert installation.chat("one two three", max_tokens=12).status_code == 200
        until(lambda: len(receiver.messages) >= 3)
        installation.kill()
        installation.start()
        until(lambda: receiver.answers == [] and {each["threshold"] for each in taken(receiver)} == {50, 90, 100})
    told = {each["threshold"]: each["id"] for each in receiver.told}
    assert {(each["threshold"], each["id"]) for each in receiver.told} == set(told.items())
    assert sorted(told) == [50, 90, 100]


def taken(receiver) -> list[dict]:
    """What came after the failures."""
    return receiver.told[3:]
