"""From a refusal to a grant that is in force at once and ends by itself, over HTTP."""

import time

import httpx

from tests.budgets.test_over_http import COST, key_of, serving, usd, workspace

GRANT = (
    "from datetime import timedelta; from django.utils import timezone; from budgets.models import Raise; "
    "from budgets.services.raises import grant; "
    "grant(row=Raise.objects.get(), amount={amount}, ends_at=timezone.now() + timedelta(seconds={seconds}), by='ann')"
)
GRANTED_SECONDS = 8
PATIENCE_SECONDS = 30  # on a busy machine


def test_a_refused_caller_asks_and_is_answered_after_the_grant_until_it_ends(upstream, installation):
    capped = workspace("asked", budgets=[{"name": "cap", "of": "key", "per": "month", "limit_usd": usd(COST)}])
    gateway = serving(upstream, installation, capped)

    def call() -> httpx.Response:
        return gateway.chat("one two three", max_tokens=12, key=key_of("asked"))

    refusal = call()
    assert refusal.status_code == 429  # its estimate is more than it will cost
    link = refusal.json()["error"]["hint"].rpartition(" ")[2]
    assert link.startswith("/ask/")
    assert httpx.get(gateway.url + link).status_code == 200
    wish = httpx.post(gateway.url + link, json={"amount_usd": "0.01", "reason": "a demo"})
    assert (wish.status_code, wish.json()["budget"]) == (201, "cap")
    gateway.manage("shell", "-v", "0", "-c", GRANT.format(amount=10**9, seconds=GRANTED_SECONDS))
    saved = time.monotonic()
    while (answer := call()).status_code != 200:
        assert time.monotonic() < saved + PATIENCE_SECONDS, answer.text
        time.sleep(0.02)
    assert call().status_code == 200
    ends = saved + GRANTED_SECONDS
    while call().status_code == 200:
        assert time.monotonic() < ends + PATIENCE_SECONDS
        time.sleep(0.1)
    assert call().json()["error"]["code"] == "budget_exceeded"
