"""What the browser is told about every page."""

import pytest
from django.test import Client

from tests import rows

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/admin/login/", "/admin/", "/api/workspaces/", "/api/docs/", "/nowhere"])
def test_every_page_forbids_other_hosts_frames_and_shared_caches(client: Client, path: str) -> None:
    client.force_login(rows.superuser())
    headers = client.get(path).headers

    assert headers["content-security-policy"] == (
        "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'none'"
    )
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "no-store" in headers["cache-control"]
