"""Two real workers of one installation: whichever is scraped tells of both, also when one of them dies."""

import os
import signal
import time
from collections.abc import Callable

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.installation import KEY, Installation

CALLS = 30
CONFIGURATION = """
version: 1
providers: [{name: demo, kind: demo}]
models: [{name: demo-chat, provider: demo, upstream: demo, price: {input: "1.00", output: "1.00"}}]
routes: [{name: chat, strategy: priority, targets: [{model: demo-chat}]}]
workspaces: [{name: acme, keys: [{name: web, secret: {env: KEY}}]}]
"""
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not {"DATABASE_URL", "REDIS_URL"} <= set(os.environ), reason="workers need PostgreSQL and Redis"
    ),
]


def scraped(gateway: Installation) -> dict[str, float]:
    """The sums, of what was answered, that any one worker tells over a connection of its own, as Prometheus reads them."""
    text = httpx.get(f"{gateway.url}/metrics", timeout=30).text
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("outcome", "answered") == "answered":
                found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


def until(fits: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not in_reach(fits):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)


def in_reach(fits: Callable[[], bool]) -> bool:
    try:
        return fits()
    except httpx.TransportError:  # it went to a worker that is gone
        return False


def test_any_worker_tells_of_all_and_no_count_falls_when_one_dies() -> None:
    with Installation() as gateway:
        gateway.apply(CONFIGURATION, KEY=KEY)
        gateway.start("--workers", "2")
        until(lambda: scraped(gateway)["tollgate_workers"] == 2)
        assert {gateway.chat(f"question {number}").status_code for number in range(CALLS)} == {200}
        until(lambda: all(scraped(gateway)["tollgate_calls_total"] == CALLS for _ in range(10)))
        before = scraped(gateway)
        assert before["tollgate_call_seconds_count"] == before["tollgate_attempts_total"] == CALLS
        assert before["tollgate_cost_usd_total"] > 0

        workers = sorted((gateway.data_dir / "metrics").glob("*.json"))
        assert len(workers) == 2
        os.kill(int(workers[0].name.split(".")[1]), signal.SIGKILL)

        def is_told(count: int) -> bool:
            seen = [scraped(gateway)["tollgate_calls_total"] for _ in range(10)]
            assert min(seen) >= CALLS
            return set(seen) == {count}

        until(lambda: gateway.chat("after").status_code == 200)
        until(lambda: is_told(CALLS + 1))
