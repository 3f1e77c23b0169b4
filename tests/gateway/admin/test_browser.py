"""In a real browser, at two widths, in light and dark: nothing wider than the page, no error, no other host."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from tests import rows

CHROMIUM = "/usr/bin/chromium"
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
if not Path(CHROMIUM).exists() and shutil.which("chromium") is None:
    pytest.importorskip("a_browser", reason="needs Chromium")


def pages() -> Iterator[str]:
    """Home, the API's documentation, every list, every form and the first row of each."""
    yield from ("/admin/", "/admin/?period=30d", "/api/docs/", "/admin/gateway/servedmodel/health/")
    for model, page in admin.site._registry.items():
        if model._meta.app_label == "django_celery_beat":
            continue  # superusers' rarest pages; their own library's
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        row = model._default_manager.first()
        if row is not None:
            yield reverse(f"{name}_change", args=[row.pk])
        if page.add_form_template is None and model._meta.label in (
            "tenants.ApiKey",
            "gateway.Route",
            "budgets.Budget",
        ):
            yield reverse(f"{name}_add")


def visit(base: str, session: str, paths: list[str], width: int, scheme: str) -> dict[str, list[str]]:
    """What is wrong with each page; nothing for pages that are right."""
    from playwright.sync_api import sync_playwright

    wrong: dict[str, list[str]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM if Path(CHROMIUM).exists() else shutil.which("chromium"), args=["--no-sandbox"]
        )
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": base}])
        page = context.new_page()
        found: list[str] = []

        def elsewhere(request: Any) -> None:
            if not request.url.startswith((base, "data:", "blob:")):
                found.append(f"asked {request.url}")

        page.on("request", elsewhere)
        page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: found.append(str(error)))
        for path in paths:
            found.clear()
            answer = page.goto(base + path, wait_until="load")
            if answer is None or answer.status != 200:
                found.append(f"status {answer.status if answer else None}")
            too_wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            if too_wide > 0:
                found.append(f"{too_wide} pixels too wide")
            if found:
                wrong[path] = list(found)
        browser.close()
    return wrong


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (420, "dark")])
def test_every_page_fits_and_asks_no_other_host(live_server, client: Client, width: int, scheme: str) -> None:
    rows.platform()
    rows.tenant("a-rather-long-name-of-a-workspace").person("owner")
    client.force_login(rows.superuser())
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    paths = list(pages())
    with ThreadPoolExecutor(1) as aside:  # the browser's driver has an event loop, beside which the ORM refuses to work
        wrong = aside.submit(visit, live_server.url, session, paths, width, scheme).result()

    assert wrong == {}
