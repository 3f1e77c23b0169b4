"""Fifty people publish at once, and a rollback while calls go on: one wins, all workers follow, no call is mixed."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.installation import KEY, Installation
from tests.upstream.server import Upstream

pytestmark = pytest.mark.timeout(900)
PEOPLE = int(os.environ.get("PEOPLE", "50"))
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
    prompts:
      - name: summary
        versions:
          - message: one
            parameters: {{temperature: 0.1}}
            messages: [{{role: system, content: "one {{{{x}}}}"}}, {{role: user, content: "one"}}]
          - message: two
            parameters: {{temperature: 0.2}}
            messages: [{{role: system, content: "two {{{{x}}}}"}}, {{role: user, content: "two"}}]
        channels: {{production: 1}}
"""
TOKEN = """
from django.contrib.auth.models import User
from tenants.services.tokens import issue_token
user = User.objects.create_superuser("root", "root@example.com")
print(issue_token(user=user, name="test").secret)
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Installation]:
    with Installation() as installation:
        installation.apply(CONFIGURATION.format(url=upstream.url), KEY=KEY, UPSTREAM_SECRET="sk-upstream")
        yield installation.start("--workers", "3") if os.environ.get("REDIS_URL") else installation.start()


@pytest.fixture(scope="module")
def api(gateway: Installation) -> Iterator[httpx.Client]:
    token = gateway.manage("shell", "-v", "0", "-c", TOKEN).stdout.strip().splitlines()[-1]
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{gateway.url}/api/", headers=headers, timeout=60) as client:
        yield client


def prompt_url(api: httpx.Client) -> str:
    found = api.get("prompts/", params={"name": "summary"}).json()
    return f"prompts/{found['results'][0]['id']}/"


PRODUCTION = {"prompt__name": "summary", "channel": "production", "page_size": 200}


def seqs(api: httpx.Client) -> list[int]:
    rows = api.get("deployments/", params=PRODUCTION).json()["results"]
    return sorted(row["seq"] for row in rows)


@pytest.mark.parametrize("sees", [True, False])
def test_of_fifty_who_publish_at_once_each_place_has_one_winner(gateway, api: httpx.Client, sees: bool) -> None:
    url, newest = prompt_url(api), seqs(api)[-1]

    def publish(person: int) -> int:
        told = {"version": 1 + person % 2, "reason": str(person)} | ({"expected_seq": newest} if sees else {})
        return api.post(f"{url}deploy/", json=told).status_code

    with ThreadPoolExecutor(PEOPLE) as together:
        got = Counter(together.map(publish, range(PEOPLE)))
    assert set(got) <= {201, 409}, gateway.log.read_text()[-4000:]
    after = seqs(api)
    assert after == list(range(1, 1 + len(after)))
    assert got[201] == len(after) - newest
    if sees:
        assert got == {201: 1, 409: PEOPLE - 1}


class Caller(threading.Thread):
    """Calls one worker without a pause, over one connection, and keeps what it was answered."""

    def __init__(self, gateway: Installation) -> None:
        super().__init__(daemon=True)
        self.gateway, self.running = gateway, True
        self.seen: list[tuple[int, str]] = []

    def run(self) -> None:
        body = {"model": "chat", "messages": [], "prompt": "summary", "inputs": {"x": "y"}}
        with httpx.Client(headers={"authorization": f"Bearer {KEY}"}, timeout=60) as client:
            while self.running:
                answer = client.post(f"{self.gateway.url}/v1/chat/completions", json=body)
                self.seen.append((answer.status_code, answer.headers.get("x-tollgate-prompt", "")))

    @property
    def changes(self) -> list[tuple[int, str]]:
        """What it was answered, each once for as long as it stayed the same."""
        return [each for at, each in enumerate(self.seen) if at == 0 or each != self.seen[at - 1]]


def wait_until_all_see(callers: list[Caller], version: str) -> None:
    deadline = time.monotonic() + 60
    while not all(caller.seen and caller.seen[-1] == (200, version) for caller in callers):
        assert time.monotonic() < deadline, [caller.seen[-1:] for caller in callers]
        time.sleep(0.05)


def test_a_rollback_reaches_every_worker_and_no_call_is_mixed(gateway, api, upstream) -> None:
    url, callers = prompt_url(api), [Caller(gateway) for _ in range(6)]
    api.post(f"{url}deploy/", json={"version": 2}).raise_for_status()
    api.post(f"{url}deploy/", json={"version": 1}).raise_for_status()
    for caller in callers:
        caller.start()
    wait_until_all_see(callers, "summary@1")
    begun = [len(caller.changes) for caller in callers]  # a worker may have begun with what was served before
    upstream.meter.clear()
    serves = []
    for deed, told in (
        ("deploy", {"version": 2}),
        ("undo", {"reason": "worse"}),
        ("undo", {"reason": "it was not"}),
        ("undo", {"reason": "it was"}),
    ):
        assert api.post(f"{url}{deed}/", json=told).status_code == 201
        serves.append(f"summary@{1 if serves and serves[-1] == 'summary@2' else 2}")
        wait_until_all_see(callers, serves[-1])
    for caller in callers:
        caller.running = False
    for caller in callers:
        caller.join(60)
    # Each worker takes each change once, in its order, and never goes back to what was served before it.
    for caller, start in zip(callers, begun, strict=True):
        assert caller.changes[start:] == [(200, version) for version in serves]
    sent = Counter(
        (body["messages"][0]["content"], body["messages"][1]["content"], body["temperature"])
        for body in (reading.body for reading in upstream.meter.readings)
    )
    assert set(sent) == {("one y", "one", 0.1), ("two y", "two", 0.2)}


def test_a_megabyte_of_template_syntax_and_script_stands_literally(gateway, api, upstream) -> None:
    upstream.meter.clear()
    text = "{{secret}}<script>alert('1')</script>\\{{ {{#x}}\n" * 22_000
    body = {"model": "chat", "messages": [], "prompt": "summary@1", "inputs": {"x": text}}
    head = {"authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=head, timeout=60)
    assert (answer.status_code, len(text) > 1_000_000) == (200, True), answer.text[:500]
    assert upstream.meter.readings[-1].body["messages"][0]["content"] == f"one {text}"


PEOPLE_SCRIPT = """
from django.contrib.auth.models import User
from tenants.services.tokens import issue_token
for number in range(8):
    user = User.objects.create_superuser(f"p{number}", f"p{number}@example.com", "a-good-password")
    print(issue_token(user=user, name="test").secret)
"""


@pytest.fixture(scope="module")
def people(gateway: Installation) -> Iterator[list[httpx.Client]]:
    """Eight people with a token each; p0 to p7."""
    tokens = gateway.manage("shell", "-v", "0", "-c", PEOPLE_SCRIPT).stdout.strip().splitlines()[-8:]
    clients = [
        httpx.Client(base_url=f"{gateway.url}/api/", headers={"authorization": f"Bearer {token}"}, timeout=60)
        for token in tokens
    ]
    yield clients
    for client in clients:
        client.close()


def page_of(gateway: Installation, person: str) -> httpx.Client:
    """The pages as this person sees them, signed in."""
    client = httpx.Client(base_url=gateway.url, timeout=60, follow_redirects=True)
    client.get("/admin/login/")
    told = {"username": person, "password": "a-good-password", "csrfmiddlewaretoken": client.cookies["csrftoken"]}
    client.post("/admin/login/?next=/admin/", data=told, headers={"referer": gateway.url}).raise_for_status()
    return client


def ask(client: httpx.Client, path: str, told: dict) -> httpx.Response:
    head = {"x-csrftoken": client.cookies["csrftoken"], "referer": str(client.base_url)}
    return client.post(path, json=told, headers=head)


def test_of_editors_who_save_on_top_of_the_same_version_one_wins_and_nobodys_words_are_lost(
    gateway, api, people
) -> None:
    url = prompt_url(api).replace("prompts/", "/admin/prompts/prompt/")
    versions = api.get("prompt-versions/", params={"prompt__name": "summary", "page_size": 200}).json()["results"]
    newest = max(row["number"] for row in versions)
    editors = [page_of(gateway, f"p{number}") for number in range(6)]

    def words(number: int) -> dict:
        return {"messages": [{"role": "user", "content": f"editor {number} says {{{{x}}}}"}], "route": "chat"}

    def keep(number: int) -> int:
        told = {"words": words(number), "sample": {}, "rev": 0, "base": newest}
        return ask(editors[number], f"{url}write/draft/", told).status_code

    def save(number: int) -> tuple[int, str]:
        told = {"words": words(number), "message": f"by p{number}", "base": newest}
        answer = ask(editors[number], f"{url}write/save/", told)
        return answer.status_code, answer.text

    with ThreadPoolExecutor(6) as together:
        assert set(together.map(keep, range(6))) == {200}
        got = list(together.map(save, range(6)))
    assert Counter(status for status, _ in got) == {201: 1, 409: 5}, got
    assert all("was saved meanwhile" in text for status, text in got if status == 409)
    for number, (status, _) in enumerate(got):
        if status == 409:  # the draft is still there, and can be saved to come after the winner's
            assert f"editor {number} says" in editors[number].get(f"{url}write/").text
            told = {"words": words(number), "message": "after it", "base": newest, "anyway": True}
            assert ask(editors[number], f"{url}write/save/", told).status_code == 201
    after = api.get("prompt-versions/", params={"prompt__name": "summary", "page_size": 200}).json()["results"]
    said = {row["messages"][0]["content"] for row in after}
    assert {f"editor {number} says {{{{x}}}}" for number in range(6)} <= said
    for editor in editors:
        editor.close()


def test_reviewers_who_decide_at_once_are_all_heard_and_one_who_asks_for_changes_holds_it_back(api, people) -> None:
    url = prompt_url(api)
    rules = {"workspace": "acme", "name": "guarded", "is_protected": True, "required_approvals": 2}
    api.post("channels/", json=rules).raise_for_status()

    def review(number: int) -> int:
        decision = {"decision": "change", "comment": "no"} if number == 3 else {"decision": "approve"}
        return people[number].post(f"{url}review/", json={"channel": "guarded", "version": 1, **decision}).status_code

    def publish() -> httpx.Response:
        return api.post(f"{url}deploy/", json={"channel": "guarded", "version": 1, "expected_seq": 0})

    with ThreadPoolExecutor(8) as together:
        assert list(together.map(review, range(8))) == [201] * 8
    refused = publish()
    assert (refused.status_code, "p3 asked for changes" in refused.text) == (400, True), refused.text
    people[3].post(f"{url}review/", json={"channel": "guarded", "version": 1, "decision": "approve"}).raise_for_status()
    with ThreadPoolExecutor(4) as together:
        got = Counter(each.status_code for each in together.map(lambda _: publish(), range(4)))
    assert got == {201: 1, 409: 3}
    found = api.get("deployments/", params={"prompt__name": "summary", "channel": "guarded"}).json()["results"]
    assert [(row["seq"], row["approvals"]) for row in found] == [(1, [f"p{number}" for number in range(8)])]
