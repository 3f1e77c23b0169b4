"""One running installation for all tests of /v1: the demo provider, and a scripted upstream."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.scenarios import SECRETS, configuration
from gateway.services.configuration.applying import apply_file
from tests.installation import KEY, Installation
from tests.upstream.server import Upstream

LIMITED_KEY = "sk-test-installation-limited"

CONFIGURATION = """
version: 1
providers:
  - {{name: demo, kind: demo}}
  - name: upstream
    kind: openai
    base_url: {url}
    credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]
models:
  - {{name: demo-chat, provider: demo, upstream: demo, price: {{input: "0", output: "0"}}}}
  - {{name: demo-embedding, provider: demo, upstream: demo-embedding, kind: embedding, price: {{input: "0", output: "0"}}}}
  - {{name: scripted, provider: upstream, upstream: gpt-test, price: {{input: "1.00", output: "2.00"}}}}
  - {{name: scripted-embedding, provider: upstream, upstream: embed-test, kind: embedding, price: {{input: "1.00"}}}}
routes:
  - {{name: chat, strategy: priority, targets: [{{model: demo-chat}}]}}
workspaces:
  - name: acme
    keys:
      - {{name: all, secret: {{env: KEY}}}}
      - {{name: limited, secret: {{env: LIMITED_KEY}}, models: [chat]}}
"""


@pytest.fixture(scope="session")
def scripted() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def gateway(scripted: Upstream) -> Iterator[Installation]:
    with Installation() as installation:
        installation.apply(
            CONFIGURATION.format(url=scripted.url), KEY=KEY, LIMITED_KEY=LIMITED_KEY, UPSTREAM_SECRET="sk-upstream"
        )
        yield installation.start()


@pytest.fixture
def configured(db: None, tmp_path: Path) -> None:
    """The bench's configuration in this process's own database."""
    file = tmp_path / "bench.yaml"
    file.write_text(configuration(mock=1, stream=1))
    apply_file(path=file, environment=SECRETS)
