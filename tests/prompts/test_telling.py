"""Webhooks are told of what happened and of nothing else, signed, again until it is taken; and who may act on a channel."""

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from prompts.models import Channel, Webhook, WebhookMessage
from prompts.services import telling
from prompts.services.publishing import point_channel, start_experiment, stop_experiment, undo
from prompts.services.reviewing import ask_for_review, give_review
from tenants.services import outbox
from tests.prompts.test_pages import acting  # noqa: F401 - a fixture
from tests.prompts.test_publishing import experiment

SECRET = b"a secret between the two"


class Receiver:
    """A webhook's other end: what it was sent, and the answers it gives."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.seen.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(outer.answers.pop(0) if outer.answers else 204)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook"

    @property
    def told(self) -> list[dict]:
        return [json.loads(body) for _, body in self.seen]


@pytest.fixture
def receiver(settings):
    settings.PRIVATE_WEBHOOK_HOSTS = ["127.0.0.1"]
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join(5)


@pytest.fixture
def hook(prompt, receiver) -> Webhook:
    made = Webhook(workspace=prompt.workspace, url=receiver.url)
    made.sealed = django_settings.KEYRING.seal(SECRET, made.seal_context)
    made.save()
    return made


def test_each_deed_is_told_once_with_what_was_before_and_after(prompt, versions, receiver, hook):
    first, second = versions
    point_channel(prompt=prompt, channel="production", version=first, actor="ada", reason="go")
    point_channel(prompt=prompt, channel="production", version=second, actor="ada")
    undo(prompt=prompt, channel="production", actor="bob", reason="worse")
    started = experiment(prompt)
    start_experiment(experiment=started, actor="ada")
    stop_experiment(experiment=started, actor="bob", reason="enough")
    point_channel(prompt=prompt, channel="production", version=None, actor="ada")
    ask_for_review(version=first, channel="production", asked_by="ada", note="please")
    ask_for_review(version=first, channel="production", asked_by="ada", note="again")
    give_review(version=first, channel="production", reviewer="bob", decision="change", comment="shorter")
    assert telling.deliver() == 8
    assert telling.deliver() == 0
    told = [(each["event"], each.get("before"), each.get("after"), each["actor"]) for each in receiver.told]
    one, two = ({"version": version.number, "digest": version.digest} for version in versions)
    assert told == [
        ("prompt.published", None, one, "ada"),
        ("prompt.published", one, two, "ada"),
        ("prompt.rolled_back", two, one, "bob"),
        ("prompt.experiment_started", one, one, "ada"),
        ("prompt.rolled_back", one, one, "bob"),
        ("prompt.withdrawn", one, None, "ada"),
        ("prompt.review_asked", None, None, "ada"),
        ("prompt.reviewed", None, None, "bob"),
    ]
    assert {(each["workspace"], each["prompt"], each["channel"]) for each in receiver.told} == {
        ("acme", "summary", "production")
    }
    assert len({each["id"] for each in receiver.told}) == 8


def test_a_message_is_signed_and_told_again_until_it_is_taken(prompt, versions, receiver, hook):
    receiver.answers = [500, 302]
    point_channel(prompt=prompt, channel="production", version=versions[0])
    assert [telling.deliver(), telling.deliver()] == [0, 0]  # it waits before it is tried again
    for taken in (0, 1):
        WebhookMessage.objects.update(next_at=timezone.now())
        assert telling.deliver() == taken
    assert len({body for _, body in receiver.seen}) == 1
    head, body = receiver.seen[-1]
    stamp, mark = (part.partition("=")[2] for part in head["x-tollgate-signature"].split(","))
    assert mark == hmac.new(SECRET, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert abs(time() - int(stamp)) < 60
    row = WebhookMessage.objects.get()
    assert (row.state, row.attempts, row.last_answer) == ("sent", 3, "HTTP 204")


def test_what_was_taken_back_is_not_told(prompt, versions, receiver, hook):
    def broken_off():
        point_channel(prompt=prompt, channel="production", version=versions[0])
        raise RuntimeError

    with pytest.raises(RuntimeError), transaction.atomic():
        broken_off()
    with pytest.raises(ValidationError):
        point_channel(prompt=prompt, channel="2", version=versions[0])
    assert (telling.deliver(), WebhookMessage.objects.count()) == (0, 0)


def test_only_webhooks_that_want_an_event_are_told_and_only_of_their_workspace(prompt, versions, receiver, hook):
    hook.events = ["prompt.rolled_back"]
    hook.save()
    other = type(prompt.workspace).objects.create(name="umbra")
    Webhook.objects.create(workspace=other, url=receiver.url)
    Webhook.objects.create(workspace=prompt.workspace, url=f"{receiver.url}/off", is_enabled=False)
    for version in versions:
        point_channel(prompt=prompt, channel="production", version=version)
    undo(prompt=prompt, channel="production", actor="a", reason="r")
    telling.deliver()
    assert [each["event"] for each in receiver.told] == ["prompt.rolled_back"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://169.254.169.254/latest", "http://[::1]/", "http://0x7f.1/"]
)
def test_nothing_is_told_to_an_address_inside(prompt, versions, settings, url):
    settings.PRIVATE_WEBHOOK_HOSTS = []
    Webhook.objects.create(workspace=prompt.workspace, url=url)
    point_channel(prompt=prompt, channel="production", version=versions[0])
    assert telling.deliver() == 0
    row = WebhookMessage.objects.get()
    assert (row.state, "calls never go there" in row.last_answer) == ("pending", True)


def test_a_message_is_given_up_in_the_end_and_sent_again_when_asked(prompt, versions, receiver, hook):
    receiver.answers = [503] * outbox.ATTEMPTS_MOST
    point_channel(prompt=prompt, channel="production", version=versions[0])
    for _ in range(outbox.ATTEMPTS_MOST):
        WebhookMessage.objects.update(next_at=timezone.now())
        telling.deliver()
    assert WebhookMessage.objects.get().state == "given_up"
    assert (outbox.try_again(WebhookMessage.objects.all()), telling.deliver()) == (1, 1)


def test_the_form_refuses_an_address_inside_and_never_shows_the_secret(prompt, acting, settings, receiver, hook):  # noqa: F811
    settings.PRIVATE_WEBHOOK_HOSTS = []
    owner = acting("owner")
    told = owner.post(
        "/admin/prompts/webhook/add/",
        {"workspace": prompt.workspace_id, "url": "http://10.0.0.1/", "secret": "s", "is_enabled": "on"},
    ).content.decode()
    assert "not a public address" in told
    settings.PRIVATE_WEBHOOK_HOSTS = ["127.0.0.1"]
    form = {"workspace": prompt.workspace_id, "url": f"{receiver.url}2", "secret": "hush", "is_enabled": "on"}
    assert owner.post("/admin/prompts/webhook/add/", form).status_code == 302
    made = Webhook.objects.get(url=f"{receiver.url}2")
    assert django_settings.KEYRING.open(bytes(made.sealed), made.seal_context) == b"hush"
    shown = owner.get(f"/admin/prompts/webhook/{made.pk}/change/").content.decode()
    assert "hush" not in shown
    owner.post(f"/admin/prompts/webhook/{made.pk}/test/")
    assert [each["event"] for each in receiver.told] == ["prompt.test"]
    assert acting("editor").get("/admin/prompts/webhook/add/").status_code == 403


def test_only_those_whom_a_channel_names_publish_and_review(prompt, versions):
    rules = Channel.objects.create(workspace=prompt.workspace, name="production", publishers=["pat"], reviewers=["rob"])
    with pytest.raises(ValidationError, match="Only pat may change what production serves"):
        point_channel(prompt=prompt, channel="production", version=versions[0], actor="ada")
    with pytest.raises(ValidationError, match="Only rob may review for production"):
        give_review(version=versions[0], channel="production", reviewer="bob", decision="approve")
    give_review(version=versions[0], channel="production", reviewer="rob", decision="approve")
    point_channel(prompt=prompt, channel="staging", version=versions[0], actor="ada")
    for version in versions:
        point_channel(prompt=prompt, channel="production", version=version, actor="pat")
    with pytest.raises(ValidationError, match="Only pat"):
        undo(prompt=prompt, channel="production", actor="ada", reason="mine")
    started = experiment(prompt)
    with pytest.raises(ValidationError, match="Only pat"):
        start_experiment(experiment=started, actor="ada")
    rules.delete()
    point_channel(prompt=prompt, channel="production", version=versions[0], actor="ada")
