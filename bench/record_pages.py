"""Time the pages of records, the retention job and `audit verify` on a filled database (see bench.fill_records).

python -m bench.record_pages
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.test import Client  # noqa: E402

from audit.models import CallRecord  # noqa: E402

LIST = "/admin/audit/callrecord/"
PAGES = (
    "",
    "?period=all",
    "?period=all&workspace=acme",
    "?period=all&workspace=acme&key=web",
    "?period=all&user=user-77",
    "?period=all&model=nova-lite&workspace=globex",
    "?period=30d&outcome=failed",
    "?period=30d&status=429",
    "?period=30d&prompt=summary@3",
    "?period=30d&tag=nightly",
    "?period=30d&min_cost=0.017",
    "?period=all&session=session-77",
    "?period=all&key=no-such-key",
    "?period=30d&code=no_such_code",
    "sessions/",
    "sessions/?period=24h",
    "runs/?period=30d",
    "live/",
)
DASHBOARDS = (
    *(f"/admin/?period={period}" for period in ("1h", "24h", "7d", "30d")),
    *(f"/admin/dashboards/?period={period}" for period in ("1h", "24h", "7d", "30d")),
    "/admin/dashboards/?since=2026-01-01",
    "/admin/dashboards/?period=30d&workspace=acme",
    "/admin/dashboards/?period=30d&workspace=acme&key=web",
    "/admin/dashboards/?period=30d&model=nova-lite",
    "/admin/dashboards/?period=30d&user=user-77",
)


def main() -> None:
    user, _ = get_user_model().objects.get_or_create(
        username="bench", defaults={"is_superuser": True, "is_staff": True}
    )
    client = Client()
    client.force_login(user)
    client.get(LIST)
    pages = [*DASHBOARDS, *(f"{LIST}{page}" for page in PAGES), "/admin/audit/auditevent/", deep(client)]
    pages.append(f"{LIST}{CallRecord.objects.order_by('-at').values_list('pk', flat=True)[500]}/change/")
    for page in pages:
        took = []
        for _ in range(3):
            began, cpu = time.perf_counter(), time.process_time()
            status = client.get(page).status_code
            took.append((time.perf_counter() - began, time.process_time() - cpu))
        wall, cpu = min(took)
        print(f"{wall * 1000:8.0f} ms  {cpu * 1000:8.0f} ms CPU  {status}  {page}")


def deep(client: Client) -> str:
    """A page in the middle of everything."""
    row = CallRecord.objects.order_by("at").values_list("at", "pk")[:1].get()
    middle = int((time.time() + row[0].timestamp()) / 2 * 1e6)
    return f"{LIST}?period=all&before={middle}.x"


if __name__ == "__main__":
    main()
