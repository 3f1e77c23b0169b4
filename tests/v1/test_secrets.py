"""The guardrail against secrets over HTTP: keys as their makers write them, in and out, whole and streamed."""

import json
import random
import string
from collections.abc import Iterator

import httpx
import pytest

from tests.installation import Installation
from tests.upstream.server import Upstream

KEYS = {"blocked": "sk-test-secrets-blocked-0001", "flagged": "sk-test-secrets-flagged-0001"}
CONFIGURATION = """
version: 1
providers:
  - name: upstream
    kind: openai
    base_url: {url}
    credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]
models:
  - {{name: one, provider: upstream, upstream: gpt-one, price: {{input: "1", output: "1"}}}}
workspaces:
  - name: blocking
    keys: [{{name: blocked, secret: {{env: blocked}}}}]
    guardrails: [{{kind: secrets, action: block}}]
  - name: flagging
    keys: [{{name: flagged, secret: {{env: flagged}}}}]
    guardrails: [{{kind: secrets, action: flag}}]
"""
READ = """
import json
from audit.models import CallRecord
for record in CallRecord.objects.all():
    print(json.dumps([record.id, json.loads(record.rest).get("guardrails")]))
"""
CHANCE = random.Random(7)  # nobody's keys, made as their makers make them


def some(count: int, letters: str = string.ascii_letters + string.digits) -> str:
    return "".join(CHANCE.choice(letters) for _ in range(count))


SECRETS = {
    "OpenAI-like key": f"sk-proj-{some(48)}",
    "AWS key": f"AKIA{some(16, string.ascii_uppercase + string.digits)}",
    "GitHub token": f"ghp_{some(36)}",
    "Google API key": f"AIza{some(35)}",
    "Slack token": f"xoxb-{some(12, string.digits)}-{some(12, string.digits)}-{some(24)}",
    "private key": f"-----BEGIN RSA PRIVATE KEY-----\n{some(64)}\n{some(64)}\n-----END RSA PRIVATE KEY-----",
}


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[Installation, Upstream]]:
    with Upstream() as provider, Installation() as installation:
        installation.apply(CONFIGURATION.format(url=provider.url), UPSTREAM_SECRET="sk-upstream", **KEYS)
        yield installation.start(), provider


def ask(installation: Installation, key: str, text: str, *, stream: bool = False) -> httpx.Response:
    return installation.chat(text, key=KEYS[key], model="one", stream=stream)


def guardrails_of(installation: Installation, answers: list[httpx.Response]) -> list[list[dict]]:
    """What the records of these calls say of guardrails, once the writer has written them."""
    ids = [answer.headers["x-request-id"] for answer in answers]
    for _ in range(20):
        printed = installation.manage("shell", "--verbosity", "0", "-c", READ).stdout
        found = dict(map(json.loads, printed.splitlines()))
        if found.keys() >= set(ids):
            return [found[each] for each in ids]
    raise AssertionError("the records did not come")


def test_a_secret_never_reaches_the_provider_or_the_caller_where_it_is_blocked(guarded) -> None:
    installation, provider = guarded
    answers, told = [], []
    for name, secret in SECRETS.items():
        provider.always()
        before = provider.meter.requests
        refused = ask(installation, "blocked", f"Why does {secret} not work?")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "guardrail_blocked"), name
        assert provider.meter.requests == before
        provider.always(text=f"Take this one: {secret} and all is well")
        whole = ask(installation, "blocked", f"Give me one, {some(5)}")
        assert (whole.status_code, whole.json()["error"]["code"]) == (403, "guardrail_blocked"), name
        streamed = ask(installation, "blocked", f"Give me one, {some(5)}", stream=True)
        assert "guardrail_blocked" in streamed.text, name
        assert secret not in whole.text + streamed.text + refused.text
        for answer, side in ((refused, "input"), (whole, "output"), (streamed, "output")):
            answers.append(answer)
            told.append((side, name))
    provider.always()
    records = guardrails_of(installation, answers)
    for entries, (side, name) in zip(records, told, strict=True):
        entry = next(each for each in entries if each["on"] == side)
        assert (entry["kind"], entry["verdict"]) == ("secrets", "blocked")
        assert name in entry["found"]
    said = json.dumps(records)
    assert [name for name, secret in SECRETS.items() if secret in said] == []


def test_a_flagged_secret_passes_and_the_record_names_its_kind_on_both_sides(guarded) -> None:
    installation, provider = guarded
    secret = SECRETS["GitHub token"]
    provider.always(text=f"It is {secret} indeed")
    answers = [ask(installation, "flagged", f"{SECRETS['AWS key']}?", stream=stream) for stream in (False, True)]
    assert [answer.status_code for answer in answers] == [200, 200]
    for entries in guardrails_of(installation, answers):
        assert entries == [
            {"kind": "secrets", "on": "input", "count": 1, "found": {"AWS key": 1}, "verdict": "flagged"},
            {"kind": "secrets", "on": "output", "verdict": "flagged", "count": 1, "found": {"GitHub token": 1}},
        ]
