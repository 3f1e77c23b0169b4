"""The health page in a real browser while a provider goes down and comes back, over the websocket."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installation import KEY, Installation
from tests.upstream.server import Upstream

CHROMIUM = "/usr/bin/chromium"
PASSWORD = "a-long-enough-pass-phrase"
PICTURES = os.environ.get("PICTURES", "")  # a directory for pictures of the page, to look at
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
if not Path(CHROMIUM).exists() and shutil.which("chromium") is None:
    pytest.importorskip("a_browser", reason="needs Chromium")

CONFIGURATION = """
version: 1
providers:
  - {{name: shaky, kind: openai_compatible, base_url: {shaky}, credentials: []}}
  - {{name: steady, kind: openai_compatible, base_url: {steady}, credentials: []}}
models:
  - {{name: first, provider: shaky, upstream: m, price: {{input: "0", output: "0"}}}}
  - {{name: second, provider: steady, upstream: m, price: {{input: "0", output: "0"}}}}
routes:
  - {{name: chat, strategy: priority, targets: [{{model: first}}, {{model: second}}]}}
workspaces:
  - {{name: acme, keys: [{{name: web, secret: {{env: KEY}}}}]}}
"""


@pytest.fixture
def served(upstreams) -> Iterator[tuple[Installation, Upstream]]:
    shaky, steady = upstreams(2)
    with Installation() as installation:
        installation.apply(CONFIGURATION.format(shaky=shaky.url, steady=steady.url), KEY=KEY)
        person = {"DJANGO_SUPERUSER_USERNAME": "root", "DJANGO_SUPERUSER_EMAIL": "root@example.com"}
        installation.manage("createsuperuser", "--noinput", **person, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
        yield installation.start(), shaky


def test_a_provider_goes_down_and_comes_back_before_ones_eyes(served: tuple[Installation, Upstream]) -> None:
    from playwright.sync_api import sync_playwright

    gateway, shaky = served
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM if Path(CHROMIUM).exists() else shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: None if gateway.url[7:] in asked.url else wrong.append(asked.url))
        page.goto(f"{gateway.url}/admin/login/?next=/admin/gateway/servedmodel/health/")
        page.fill("[name=username]", "root")
        page.fill("[name=password]", PASSWORD)
        page.click("[type=submit]")
        place = page.locator(".hl-place", has_text="first")

        def shown(state: str, name: str) -> None:
            """Call until the page shows this state by itself."""
            deadline = time.monotonic() + 60
            while place.get_attribute("data-state") != state and time.monotonic() < deadline:
                assert gateway.chat("hello").status_code == 200  # whatever the page shows
                page.wait_for_timeout(200)
            assert place.get_attribute("data-state") == state
            if PICTURES:
                page.screenshot(path=f"{PICTURES}/{name}.png")

        shown("closed", "1-well")
        shaky.down()
        shown("open", "2-down")
        shaky.up()
        shown("closed", "3-back")
        assert place.locator(".hl-history li").count() >= 3
        browser.close()
    assert wrong == []
