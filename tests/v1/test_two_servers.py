"""Two servers of one installation tell each other through Redis which provider is down, and that it is back."""

import os
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.installation import KEY, Installation
from tests.upstream.server import Upstream

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")), reason="needs PostgreSQL and Redis"
    ),
]
CONFIGURATION = """
version: 1
providers:
  - {{name: shaky, kind: openai_compatible, base_url: '{shaky}', credentials: []}}
  - {{name: steady, kind: openai_compatible, base_url: '{steady}', credentials: []}}
models:
  - {{name: first, provider: shaky, upstream: m, price: {{input: "0", output: "0"}}}}
  - {{name: second, provider: steady, upstream: m, price: {{input: "0", output: "0"}}}}
routes:
  - {{name: chat, strategy: priority, targets: [{{model: first}}, {{model: second}}], retries: 0}}
workspaces:
  - {{name: acme, keys: [{{name: web, secret: {{env: KEY}}}}]}}
"""
PATIENCE_SECONDS = 60


@pytest.fixture
def two(upstreams) -> Iterator[tuple[Installation, Installation, Upstream]]:
    shaky, steady = upstreams(2)
    with Installation() as installation:
        installation.apply(CONFIGURATION.format(shaky=shaky.url, steady=steady.url), KEY=KEY)
        other = installation.start().beside().start()
        yield installation, other, shaky
        other.stop()


def state_of(gateway: Installation, model: str) -> str:
    """The state of the model's circuit as this server tells it to Prometheus; "" where it knows none."""
    lines = httpx.get(f"{gateway.url}/metrics", timeout=10).text.splitlines()
    for line in lines:
        if line.startswith("tollgate_circuits{") and f'model="{model}"' in line and not line.endswith(" 0.0"):
            return line.split('state="')[1].split('"')[0]
    return ""


def until(gateway: Installation, state: str, *, calling: bool) -> None:
    """Wait for the first model's circuit to be in this state here, with calls to make it so or without."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := state_of(gateway, "first")) != state:
        assert time.monotonic() < deadline, f"it stayed {found!r}"
        if calling:
            assert gateway.chat("hello").status_code == 200
        time.sleep(0.05)


def test_what_one_server_finds_out_about_a_provider_the_other_knows(two) -> None:
    here, there, shaky = two
    known = there.chat("hello", prefer=["second"])  # names both targets there without an answer of the first
    assert known.headers["x-tollgate-model"] == "second"
    shaky.always(fault="status", status=500)

    until(here, "open", calling=True)
    until(there, "open", calling=False)
    assert there.chat("hello").headers["x-tollgate-model"] == "second"

    shaky.forget()
    until(here, "closed", calling=True)
    until(there, "closed", calling=True)
    assert there.chat("hello").headers["x-tollgate-model"] == "first"
