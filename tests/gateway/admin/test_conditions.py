"""A target's conditions in a real browser: rows of dropdowns that write the JSON."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from gateway.models import Route
from tests import rows

CHROMIUM = "/usr/bin/chromium"
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
if not Path(CHROMIUM).exists() and shutil.which("chromium") is None:
    pytest.importorskip("a_browser", reason="needs Chromium")


def choose(base: str, session: str, path: str, picture: str) -> list[str]:
    """Give the first target two conditions and save; what the page complained about."""
    from playwright.sync_api import sync_playwright

    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM if Path(CHROMIUM).exists() else shutil.which("chromium"), args=["--no-sandbox"]
        )
        context = browser.new_context(viewport={"width": 1440, "height": 1100})
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": base}])
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(base + path, wait_until="load")
        box = page.locator(".cd-rows").first
        box.get_by_role("button", name="only when …").click()
        box.get_by_label("what").select_option("complexity")
        box.get_by_label("comparison").select_option("at_most")
        box.get_by_label("value").select_option("moderate")
        box.get_by_role("button", name="and …").click()
        box.get_by_label("what").nth(1).select_option("metadata.")
        box.get_by_label("name in metadata").fill("plan")
        box.get_by_label("comparison").nth(1).select_option("one_of")
        box.get_by_label("value").nth(1).fill("gold, silver")
        if picture:
            page.screenshot(path=picture, full_page=True)
        page.locator("[name=_continue], [name=_save]").first.click()
        page.wait_for_load_state("load")
        browser.close()
    return wrong


def test_conditions_are_chosen_from_dropdowns(live_server, client: Client, tmp_path) -> None:
    rows.platform()
    route = next(each for each in Route.objects.all() if each.targets.exists())
    client.force_login(rows.superuser())
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    path = reverse("admin:gateway_route_change", args=[route.pk])
    with ThreadPoolExecutor(1) as aside:
        wrong = aside.submit(choose, live_server.url, session, path, str(tmp_path / "page.png")).result()

    assert wrong == []
    assert route.targets.order_by("position", "id").first().conditions == [
        {"field": "complexity", "at_most": "moderate"},
        {"field": "metadata.plan", "one_of": ["gold", "silver"]},
    ]
