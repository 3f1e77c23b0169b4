"""A product manager's day in a real browser, while an application calls in a loop with the official client.

Create a prompt, try it, save, publish, edit, compare, publish, undo. The application sees each change, in its order and
once, and no call fails or mixes two versions. SCREENSHOTS=DIR keeps pictures of the pages, by width and scheme.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import NotFoundError, OpenAI

from tests.installation import KEY, Installation
from tests.upstream.server import Upstream

CHROMIUM = "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]
EVIL = "<script>document.title = 'run'</script>{{secret}}"
CONFIGURATION = """
version: 1
providers:
  - {{name: up, kind: openai_compatible, base_url: {url}, credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]}}
models:
  - {{name: small, provider: up, upstream: small, price: {{input: "1.00", output: "2.00"}}}}
routes:
  - {{name: chat, strategy: priority, targets: [{{model: small}}]}}
workspaces:
  - name: acme
    keys: [{{name: web, secret: {{env: KEY}}}}]
"""
PERSON = """
from django.contrib.auth.models import User
User.objects.create_superuser("pam", "pam@example.com", "a-good-password")
"""


@pytest.fixture
def gateway(upstream: Upstream) -> Iterator[Installation]:
    with Installation() as installation:
        installation.apply(CONFIGURATION.format(url=upstream.url), KEY=KEY, UPSTREAM_SECRET="sk-upstream")
        installation.manage("shell", "-v", "0", "-c", PERSON)
        yield installation.start(*(["--workers", "2"] if os.environ.get("REDIS_URL") else []))


@pytest.fixture
def page(gateway: Installation) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.wrong = []

        def elsewhere(request: Any) -> None:
            if not request.url.startswith((gateway.url, "data:", "blob:")):
                page.wrong.append(f"asked {request.url}")

        page.on("request", elsewhere)
        page.on("console", lambda message: page.wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.goto(f"{gateway.url}/admin/")
        page.fill("input[name=username]", "pam")
        page.fill("input[name=password]", "a-good-password")
        page.press("input[name=password]", "Enter")
        page.wait_for_url("**/admin/")
        yield page
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{folder}/last.png", full_page=True)
        browser.close()


class Application(threading.Thread):
    """Calls without a pause, over one connection; the version that answered each call, or what went wrong."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.client = OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
        self.seen: list[str] = []
        self.running = True

    def run(self) -> None:
        extra = {"prompt": "welcome", "inputs": {"name": "Ada", "tone": "kind"}}
        while self.running:
            try:
                answer = self.client.chat.completions.with_raw_response.create(
                    model="chat", messages=[], extra_body=extra
                )
                self.seen.append(answer.headers["x-tollgate-prompt"])
            except Exception as error:
                self.seen.append(f"{type(error).__name__}: {error}")
            time.sleep(0.02)


def shoot(page: Any, name: str) -> None:
    """Pictures of the page as it is now, where they are asked for; and nothing is wider than the page."""
    for width, scheme in ((1440, "light"), (420, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("scheme => document.documentElement.classList.toggle('dark', scheme === 'dark')", scheme)
        too_wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert too_wide <= 0, (name, width, too_wide)
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{folder}/{name}-{width}-{scheme}.png", full_page=True)
    page.set_viewport_size({"width": 1440, "height": 900})
    page.evaluate("document.documentElement.classList.remove('dark')")


def write(page: Any, label: str, text: str) -> None:
    """Replace what an editor holds, by keyboard."""
    page.get_by_role("textbox", name=label, exact=True).click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def save(page: Any, message: str) -> None:
    page.fill("#message", message)
    page.keyboard.press("Control+s")
    page.wait_for_url("**/change/")


def publish(page: Any, number: int) -> None:
    version = page.locator("li", has=page.get_by_text(f"v{number}", exact=True)).first
    version.locator("summary", has_text="Publish").click()
    version.get_by_role("button", name=f"Publish v{number}").click()
    page.get_by_text(f"production serves version {number} from now on").wait_for()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)


def create_and_try(gateway: Installation, upstream: Upstream, page: Any) -> None:
    """A prompt, its first words, and what two models say to them."""
    page.goto(f"{gateway.url}/admin/prompts/prompt/add/")
    if page.locator("select[name=workspace] option[selected]").count() == 0:
        page.locator(".select2-selection").first.click()
        page.get_by_role("option", name="acme").click()
    page.fill("input[name=name]", "welcome")
    page.get_by_role("button", name="Save", exact=True).click()
    page.goto(f"{gateway.url}/admin/prompts/prompt/")
    page.get_by_role("link", name="welcome").first.click()
    shoot(page, "empty")

    page.get_by_role("link", name="Write").click()
    write(page, "Message 1", "You are {{tone}}.")
    write(page, "Message 2", "Welcome {{name}} as version one.")
    page.fill("#route", "chat")
    page.get_by_label("name", exact=True).fill(EVIL)
    page.get_by_label("tone", exact=True).fill("kind")
    page.get_by_text(f"Welcome {EVIL} as version one.").wait_for()
    page.get_by_text("The input tone stands in a system message").wait_for()
    page.get_by_text("small: $").wait_for()
    page.fill("#key", KEY)
    page.get_by_label("First to try").fill("small")
    page.get_by_label("Second to try").fill("chat")
    page.keyboard.press("Control+Enter")
    wait_until(lambda: page.locator("#tries > div").filter(has_text="$0.").count() == 2)
    assert page.title().startswith("Write welcome")
    shoot(page, "editor")
    tried = [reading.body["messages"] for reading in upstream.meter.readings]
    assert (
        tried
        == [
            [
                {"role": "system", "content": "You are kind."},
                {"role": "user", "content": f"Welcome {EVIL} as version one."},
            ]
        ]
        * 2
    )


def test_from_an_empty_page_to_a_rollback_while_an_application_calls(gateway, upstream, page) -> None:
    create_and_try(gateway, upstream, page)
    upstream.meter.clear()
    save(page, "the first words")
    publish(page, 1)

    application = Application(gateway.url)
    application.start()
    wait_until(lambda: application.seen[-1:] == ["welcome@1"])
    application.seen.clear()  # a worker may not have known of the first one yet
    page.get_by_role("link", name="Write").click()
    write(page, "Message 1", "You are very {{tone}}.")
    write(page, "Message 2", "Welcome {{name}} as version two.")
    page.get_by_label("First to try").fill("v1")
    save(page, "the second words")
    page.locator(".pr").get_by_role("link", name="Changes").first.click()
    page.get_by_text("Welcome {{name}} as version two.").wait_for()
    shoot(page, "diff")
    page.go_back()
    publish(page, 2)
    wait_until(lambda: application.seen[-1:] == ["welcome@2"])
    page.locator("summary", has_text="Undo").click()
    page.get_by_role("button", name="Put back v1").click()
    page.get_by_text("production serves version 1 from now on").wait_for()
    wait_until(lambda: application.seen[-1:] == ["welcome@1"])
    shoot(page, "prompt")
    page.locator(".pr").get_by_role("link", name="Review").first.click()
    shoot(page, "review")
    experiment(gateway, page)
    application.running = False
    application.join(20)

    changes = [each for at, each in enumerate(application.seen) if at == 0 or each != application.seen[at - 1]]
    assert changes == ["welcome@1", "welcome@2", "welcome@1"]
    said = [tuple(each["content"] for each in reading.body["messages"]) for reading in upstream.meter.readings]
    sent = {(first, second.replace("N", "").replace("  ", " Ada ")) for first, second in said}
    assert sent == {
        ("You are kind.", "Welcome Ada as version one."),
        ("You are very kind.", "Welcome Ada as version two."),
    }
    assert page.wrong == []


def reached(asked: Callable[[int], bool]) -> bool:
    """Whether a call is in the experiment yet; where nothing is served on the channel yet, none is."""
    try:
        return asked(0)
    except NotFoundError:
        return False


def experiment(gateway: Installation, page: Any) -> None:
    """Begin one on staging, call it as many users, look at its figures, and conclude it."""
    page.locator(".pr").get_by_role("link", name="welcome").click()
    page.get_by_role("link", name="Experiment", exact=True).click()
    page.fill("input[name=name]", "warmth")
    page.fill("input[name=channel]", "staging")
    page.select_option("select[name=version-1]", "2")
    page.select_option("select[name=version-0]", "1")
    page.fill("input[name=min_sample]", "5")
    page.select_option("select[name=metric]", "cost")
    shoot(page, "experiment-new")
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("No verdict yet: every arm needs 5 units").wait_for()
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY) as client:

        def asked(user: int) -> bool:
            """Call as this user; whether the experiment had reached the worker."""
            extra = {"prompt": "welcome@staging", "inputs": {"name": "N" * user, "tone": "kind"}}
            answer = client.chat.completions.with_raw_response.create(
                model="chat", messages=[], user=f"user{user}", extra_body=extra
            )
            return "x-tollgate-experiment" in answer.headers

        wait_until(lambda: reached(asked))
        for user in range(40):
            asked(user)
    wait_until(
        lambda: bool(page.reload()) and page.get_by_text("No difference in cost of a call is sure yet").count() == 1
    )
    shoot(page, "experiment")
    page.locator("summary", has_text="Conclude").click()
    page.select_option("select[name=winner]", "2")
    page.locator("details[open] input[name=reason]").fill("warmer")
    page.get_by_role("button", name="Conclude").click()
    page.get_by_text("staging serves version 2 from now on").wait_for()


FOCUSED = """() => {
  const at = document.activeElement, style = getComputedStyle(at), box = at.closest(".cm-editor");
  const seen = (each) => each.outlineStyle !== "none" || each.boxShadow !== "none";
  return {
    name: at.getAttribute("aria-label") || (at.labels && at.labels[0] && at.labels[0].innerText) || at.innerText || at.id,
    id: at.id,
    seen: seen(style) || (box !== null && seen(getComputedStyle(box))),
  };
}"""


def tab_to(page: Any, name: str) -> None:
    """Press Tab until what is called so, or has this id, has the focus. Wherever it stops on the way, that can be seen."""
    for _ in range(120):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        wait_until(
            lambda: page.evaluate(FOCUSED)["seen"]
        )  # an editor draws its outline a moment after it has the focus
        if name in (focused["name"].strip(), focused["id"]):
            return
    raise AssertionError(f"Tab never came to {name}")


def write_by_keyboard(page: Any, text: str, message: str) -> None:
    page.keyboard.press("w")
    page.get_by_role("textbox", name="Message 2", exact=True).wait_for()
    tab_to(page, "Message 2")
    page.keyboard.press("Control+a")
    page.keyboard.type(text)
    tab_to(page, "message")
    page.keyboard.type(message)
    page.keyboard.press("Control+s")
    page.wait_for_url("**/change/")


def test_everything_can_be_done_without_a_mouse(gateway, page) -> None:
    page.goto(f"{gateway.url}/admin/prompts/prompt/add/")
    page.wait_for_load_state()
    if page.locator("select[name=workspace] option[selected]").count() == 0:
        page.locator(".select2-selection").first.focus()
        page.keyboard.press("Enter")
        page.get_by_role("option", name="acme").wait_for()
        page.keyboard.press("Enter")
    tab_to(page, "id_name")
    page.keyboard.type("letter")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/add/" not in url)  # it was made
    page.goto(f"{gateway.url}/admin/prompts/prompt/")
    page.get_by_role("link", name="letter").first.focus()
    page.keyboard.press("Enter")
    page.locator("#keys").wait_for()
    assert "w write" in page.locator("#keys").inner_text()

    write_by_keyboard(page, "Dear reader", "the first words")
    page.keyboard.press("p")
    tab_to(page, "Publish v1")
    page.keyboard.press("Enter")
    page.get_by_text("production serves version 1 from now on").wait_for()
    write_by_keyboard(page, "Hello", "shorter")
    page.keyboard.press("p")
    page.keyboard.press("Escape")
    assert page.evaluate(FOCUSED)["name"] == "Publish"
    page.keyboard.press("p")
    tab_to(page, "Publish v2")
    page.keyboard.press("Enter")
    page.get_by_text("production serves version 2 from now on").wait_for()
    page.keyboard.press("u")
    page.keyboard.press("Enter")  # in the reason, which is filled in
    page.get_by_text("production serves version 1 from now on").wait_for()
    page.keyboard.press("d")
    page.get_by_text("Hello").first.wait_for()
    assert page.wrong == []
