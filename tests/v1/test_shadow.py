"""A share of a route's calls also goes to another model: kept, paid apart, never felt."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.installation import KEY, Installation
from tests.upstream.server import Upstream

CONFIGURATION = """
version: 1
providers:
  - {{name: first, kind: openai_compatible, base_url: {first}, credentials: []}}
  - {{name: second, kind: openai_compatible, base_url: {second}, credentials: []}}
models:
  - {{name: live, provider: first, upstream: live, price: {{input: "1.00", output: "2.00"}}}}
  - {{name: tried, provider: second, upstream: tried, price: {{input: "0", output: "20.00"}}}}
routes:
  - name: {route}
    strategy: priority
    targets: [{{model: live}}]
    options: {{shadow: {{model: tried, share_percent: {share}, daily_usd: "{daily}"}}}}
workspaces:
  - name: acme
    keys: [{{name: web, secret: {{env: KEY}}}}]
    budgets: [{{name: month, of: workspace, per: month, limit_usd: "5.00"}}]
    retention: {{store_bodies: true}}
"""
FINE = 12 * 20_000  # nano-dollars of one copy: twelve tokens out


Installed = tuple[Installation, Upstream, Upstream]


@pytest.fixture(scope="module")
def servers() -> Iterator[Installed]:
    with Upstream() as first, Upstream() as second, Installation() as installation:
        yield installation, first, second


@pytest.fixture
def installed(servers: Installed) -> Iterator[Installed]:
    yield servers
    servers[0].stop()
    servers[1].forget()
    servers[2].forget()


def configured(installed: Installed, route: str, *, share: float = 100, daily: str = "1.00") -> Installed:
    """The gateway with this route, serving, and the two upstreams. Each test has a route, and so a budget, of its own."""
    installation, first, second = installed
    text = CONFIGURATION.format(first=first.url, second=second.url, route=route, share=share, daily=daily)
    installation.apply(text, KEY=KEY)
    return installation.start(), first, second


def records(installation: Installation, route: str) -> list[dict[str, Any]]:
    """Of the route and its shadow, newest first."""
    found = [json.loads(line) for line in installation.manage("calls", "--jsonl").stdout.splitlines()]
    return [each for each in found if each["route"] in {route, f"shadow/{route}"}]


def until(expected: int, count: Any) -> int:
    """Wait for a number that comes by itself."""
    deadline = time.monotonic() + 10
    while (found := count()) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    return int(found)


def test_a_copy_goes_to_the_shadow_and_is_paid_from_its_own_budget(installed: Installed) -> None:
    gateway, first, second = configured(installed, "plain")
    for number, stream in enumerate((False, True), start=1):
        assert gateway.chat("hello", model="plain", stream=stream).status_code == 200
        assert until(number, lambda: sum(reading.finished for reading in second.meter.readings)) == number
    time.sleep(0.2)
    gateway.stop()

    found = records(gateway, "plain")
    copies = [each for each in found if each["route"] == "shadow/plain"]
    calls = [each for each in found if each["route"] == "plain"]
    assert [(each["model"], each["outcome"]) for each in calls] == [("live", "answered")] * 2
    assert [(each["model"], each["outcome"], each["tags"]) for each in copies] == [
        ("tried", "answered", ["shadow"])
    ] * 2
    assert {each["streamed"] for each in copies} == {False, True}
    assert second.meter.readings[0].body["messages"] == first.meter.readings[0].body["messages"]
    assert {float(each["cost_usd"]) for each in copies} == {FINE / 1e9}
    (month,) = json.loads(gateway.manage("budgets", "--json").stdout)
    every = [json.loads(line) for line in gateway.manage("calls", "--jsonl").stdout.splitlines()]
    own = [float(each["cost_usd"]) for each in every if not each["route"].startswith("shadow/")]
    assert float(month["spent_usd"]) == pytest.approx(sum(own), abs=1e-12)


def test_the_days_money_ends_the_copies_also_after_a_restart_and_no_call_feels_it(installed: Installed) -> None:
    gateway, first, second = configured(installed, "poor", daily=f"{3.5 * FINE / 1e9:.7f}")
    for number in range(1, 4):
        assert gateway.chat("hello", model="poor", max_tokens=12).status_code == 200
        assert until(number, lambda: sum(reading.finished for reading in second.meter.readings)) == number
    time.sleep(0.2)
    gateway.stop()
    gateway.start()
    for _ in range(5):
        assert gateway.chat("hello", model="poor", max_tokens=12).status_code == 200
    time.sleep(0.3)

    assert (len(first.meter.readings), len(second.meter.readings)) == (8, 3)
    gateway.stop()
    refused = [each for each in records(gateway, "poor") if each["outcome"] == "refused"]
    told = [(each["route"], each["code"]) for each in refused]
    assert told == [("shadow/poor", "budget_exceeded")]  # asked once, then left alone for a while


def test_a_shadow_that_hangs_delays_nobody_and_not_the_end_of_the_process(installed: Installed) -> None:
    gateway, first, second = configured(installed, "hanging")
    second.always(fault="hang")
    for _ in range(20):
        assert gateway.chat("hello", model="hanging").status_code == 200
    assert until(8, lambda: second.open) == 8  # no more at once
    stopping = time.monotonic()
    gateway.stop()
    assert time.monotonic() - stopping < 15  # and not two minutes

    copies = [each for each in records(gateway, "hanging") if each["route"] == "shadow/hanging"]
    assert [each["outcome"] for each in copies] == ["client_left"] * 8
    assert len(first.meter.readings) == 20


def test_about_the_share_is_copied_and_a_failing_shadow_opens_no_circuit_of_real_calls(installed: Installed) -> None:
    gateway, _, second = configured(installed, "some", share=30)
    second.always(fault="status", status=500)
    for _ in range(60):
        assert gateway.chat("hello", model="some").status_code == 200
    time.sleep(0.3)
    assert 1 <= len(second.meter.readings) <= 40
    second.forget()
    assert gateway.chat("hello", model="tried").headers["x-tollgate-attempts"] == "1"


def test_a_wrong_shadow_changes_nothing_and_its_line_is_named(installed: Installed) -> None:
    installation, first, second = installed
    text = CONFIGURATION.format(first=first.url, second=second.url, route="wrong", share=0, daily="1.00")
    installation.data_dir.joinpath("wrong.yaml").write_text(text)
    done = installation.manage("apply", str(installation.data_dir / "wrong.yaml"), check=False, KEY=KEY)
    assert done.returncode == 1
    assert "options.shadow.share_percent must be a number, above 0 and at most 100" in done.stderr + done.stdout
    text = text.replace("share_percent: 0", "share_percent: 5").replace("shadow: {model: tried", "shadow: {model: trid")
    installation.data_dir.joinpath("wrong.yaml").write_text(text)
    done = installation.manage("apply", str(installation.data_dir / "wrong.yaml"), check=False, KEY=KEY)
    assert "there is no model 'trid'" in done.stderr + done.stdout
