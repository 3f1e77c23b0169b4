"""What a report to Sentry holds: the mistake, and nothing that anybody said."""

import json
import os
import subprocess
import sys

import pytest

from gateway.telemetry.logs import HIDDEN
from gateway.telemetry.reports import cleaned
from tests.installation import ROOT

SECRETS = [
    "sk-canary-abcdefgh12345678",
    "ann.canary@example.com",
    "canary-cookie",
    "canary-query",
    "canary-body",
    "canary-local",
]


def test_request_and_person_go_and_secrets_are_hidden_all_the_way_down() -> None:
    event = {
        "request": {"url": "https://gw/admin/?q=canary-query", "cookies": "canary-cookie", "data": "canary-body"},
        "user": {"email": "ann.canary@example.com"},
        "exception": {
            "values": [{"type": "ValueError", "value": "Bearer sk-canary-abcdefgh12345678 of ann.canary@example.com"}]
        },
        "extra": {"call_id": "call-1", "sys.argv": ["serve", "canary-local"]},
        "logentry": {"params": ("key=sk-canary-abcdefgh12345678", 3)},
    }
    told = cleaned(event, {})
    assert told == {
        "exception": {"values": [{"type": "ValueError", "value": f"Bearer {HIDDEN} of {HIDDEN}"}]},
        "extra": {"call_id": "call-1"},
        "logentry": {"params": [f"key={HIDDEN}", 3]},
    }


REPORTING = """
import json, logging, sys
import sentry_sdk
from sentry_sdk.transport import Transport

class Kept(Transport):
    def capture_envelope(self, envelope):
        sys.stdout.write(envelope.serialize().decode("utf-8", "replace"))

began = sentry_sdk.init
sentry_sdk.init = lambda **options: began(**options, transport=Kept)
import django; django.setup()

def fail(secret):
    canary = "canary-local"
    raise ValueError(f"Bearer {secret} of ann.canary@example.com")

try:
    fail("sk-canary-abcdefgh12345678")
except ValueError:
    said = {"call_id": "call-1", "said": {"a": "canary-body"}}
    logging.getLogger("gateway.edge").exception("call %s failed", "call-1", extra=said)
from django.test import Client
import gateway.urls
from django.urls import path
gateway.urls.urlpatterns.insert(0, path("boom/", lambda request: fail("sk-canary-abcdefgh12345678")))
client = Client(raise_request_exception=False, headers={"cookie": "sessionid=canary-cookie"})
answer = client.post("/boom/?q=canary-query", {"a": "canary-body"})
assert answer.status_code == 500
"""


def test_a_mistake_is_reported_without_what_was_said(tmp_path) -> None:
    """With the real library and a transport that keeps what it is given."""
    pytest.importorskip("sentry_sdk")
    done = subprocess.run(
        [sys.executable, "-c", REPORTING],
        cwd=ROOT,
        env={
            **os.environ,
            "DATA_DIR": str(tmp_path),
            "DJANGO_SETTINGS_MODULE": "gateway.settings",
            "SENTRY_DSN": "https://key@sentry.invalid/1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    reports = [line for line in lines if "exception" in line]
    assert [report["exception"]["values"][-1]["type"] for report in reports] == ["ValueError", "ValueError"]
    assert [report.get("extra", {}).get("call_id") for report in reports] == ["call-1", None]
    assert [secret for secret in SECRETS if secret in done.stdout] == []
