"""Telling that a budget fills up: each threshold once, whoever books and whoever dies."""

import hashlib
import hmac
import json
import threading
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep, time

import pytest
from django.conf import settings
from django.core import mail
from django.db import connection, connections, transaction
from django.utils import timezone

from budgets.courier import Courier
from budgets.models import Alert, AlertChannel, Budget, Delivery
from budgets.services import alerts
from budgets.services.news import news
from budgets.services.spending import book
from tenants.models import Team, Workspace
from tenants.services import outbox
from tenants.services.posting import NotDelivered, post
from tests.budgets.test_spending import line

pytestmark = pytest.mark.django_db
SECRET = "a-secret-of-the-alerts"


class Receiver:
    """A webhook's other end. `answers` are the statuses of the next messages; then 200."""

    def __init__(self) -> None:
        self.messages: list[tuple[dict, str, bytes]] = []
        self.answers: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                signature = self.headers.get("x-tollgate-signature", "")
                outer.messages.append((json.loads(body), signature, body))
                self.send_response(outer.answers.pop(0) if outer.answers else 200)
                self.send_header("location", "http://169.254.169.254/")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Be quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/alerts"

    @property
    def told(self) -> list[dict]:
        return [message for message, _, _ in self.messages]


@contextmanager
def receiving():
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()


@pytest.fixture
def receiver(settings):
    settings.PRIVATE_WEBHOOK_HOSTS = ["127.0.0.1"]
    with receiving() as each:
        yield each


@pytest.fixture
def acme():
    return Workspace.objects.create(name="acme", timezone="Africa/Johannesburg")


def webhook(workspace, receiver, kind="webhook"):
    channel = AlertChannel(workspace=workspace, kind=kind, url=receiver.url)
    channel.sealed = settings.KEYRING.seal(SECRET.encode(), channel.seal_context)
    channel.save()
    return channel


def monthly(workspace, **fields):
    return Budget.objects.create(workspace=workspace, **{"name": "month", "of": "workspace", **fields})


def again_now():
    """As if the time of every waiting delivery had come."""
    Delivery.objects.filter(state="pending").update(next_at=timezone.now() - timedelta(seconds=1))


def test_a_webhook_is_told_what_the_contract_says_and_signed(acme, receiver):
    webhook(acme, receiver)
    monthly(acme, limit_nanos=10_000, alert_at=[80, 90])
    book([line(acme, nanos=8500)])

    assert alerts.deliver_alerts() == 1
    assert alerts.deliver_alerts() == 0

    ((message, signature, body),) = receiver.messages
    alert = Alert.objects.get()
    assert {name: value for name, value in message.items() if name != "runs_out_at"} == {
        "event": "budget.threshold",
        "workspace": "acme",
        "budget": "month",
        "scope": "workspace",
        "threshold": 80,
        "period_start": f"{alert.period_start:%Y-%m-%dT%H:%M:%SZ}",
        "spent_usd": "0.0000085",
        "limit_usd": "0.00001",
        "id": str(alert.pk),
    }
    at, code = signature.removeprefix("t=").split(",v1=")
    assert hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest() == code
    assert abs(int(at) - time()) < 60


def test_a_budget_of_tokens_tells_tokens(acme, receiver):
    webhook(acme, receiver)
    monthly(acme, name="tokens", of="team", per="total", limit_tokens=10, alert_at=[100])
    team = Team.objects.create(workspace=acme, name="search")
    book([line(acme, team=str(team.pk), tokens=12)])
    alerts.deliver_alerts()
    (message,) = receiver.told
    fields = ("scope", "period_start", "spent_usd", "limit_usd", "spent_tokens", "limit_tokens")
    assert [message[name] for name in fields] == ["team:search", None, None, None, 12, 10]


def test_a_receiver_that_fails_is_told_again_under_the_same_id_until_it_takes_the_message(acme, receiver):
    webhook(acme, receiver)
    monthly(acme, limit_nanos=10_000, alert_at=[80])
    book([line(acme, nanos=8500)])
    receiver.answers = [500, 302]

    taken = []
    for _ in range(4):
        taken.append(alerts.deliver_alerts())
        assert alerts.deliver_alerts() == 0  # not before its time
        again_now()

    assert taken == [0, 0, 1, 0]
    assert len({body for _, _, body in receiver.messages}) == 1
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts, delivery.last_answer) == ("sent", 3, "HTTP 200")


def test_a_receiver_that_never_answers_is_given_up_and_may_be_tried_again(acme, receiver):
    channel = webhook(acme, receiver)
    receiver.answers = [503] * outbox.ATTEMPTS_MOST
    delivery = alerts.send_test(channel)
    for _ in range(outbox.ATTEMPTS_MOST - 1):
        again_now()
        alerts.deliver_alerts()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == ("given_up", outbox.ATTEMPTS_MOST)
    assert outbox.try_again(Delivery.objects.all()) == 1
    assert alerts.deliver_alerts() == 1


def test_who_dies_between_sending_and_noting_it_is_followed_by_one_that_sends_the_same_id(acme, receiver, monkeypatch):
    webhook(acme, receiver)
    monthly(acme, limit_nanos=10_000, alert_at=[80])
    book([line(acme, nanos=8500)])

    class Killed(BaseException):
        """Nothing catches this, as nothing catches SIGKILL."""

    def send_and_die(delivery):
        alerts.post(delivery.channel.url, delivery.body.encode())
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(alerts, "send", send_and_die)
        with pytest.raises(Killed):
            alerts.deliver_alerts()
    assert alerts.deliver_alerts() == 0  # claimed still
    again_now()
    assert alerts.deliver_alerts() == 1
    assert [message["id"] for message in receiver.told] == [str(Alert.objects.get().pk)] * 2


def test_slack_and_people_are_told_in_words(acme, receiver):
    webhook(acme, receiver, kind="slack")
    AlertChannel.objects.create(workspace=acme, kind="email", to=["finance@acme.example"])
    monthly(acme, name="<month>\r\nBcc: x", limit_nanos=10_000, alert_at=[100])
    book([line(acme, nanos=10_000)])
    assert alerts.deliver_alerts() == 2
    (message,) = receiver.told
    assert list(message) == ["text"]
    assert message["text"].startswith(
        "The budget &lt;month&gt;\r\nBcc: x of acme (workspace) passed 100 %: $0.00001 of"
    )
    (sent,) = mail.outbox
    assert (sent.to, sent.subject) == (["finance@acme.example"], "acme: the budget <month> Bcc: x is at 100 %")
    assert sent.extra_headers == {"Message-ID": f"<{Alert.objects.get().pk}@tollgate>"}


def test_a_workspace_is_not_told_of_another_ones_budgets(acme, receiver):
    webhook(Workspace.objects.create(name="other"), receiver)
    monthly(acme, limit_nanos=10_000, alert_at=[80])
    book([line(acme, nanos=8500)])
    assert (alerts.deliver_alerts(), receiver.messages) == (0, [])
    assert Alert.objects.get().spread_at is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x",
        "http://localhost:1/x",
        "http://[::1]:1/x",
        "http://10.0.0.1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://2130706433/x",
        "file:///etc/passwd",
    ],
)
def test_no_webhook_goes_to_a_private_address_that_is_not_named(settings, url):
    settings.PRIVATE_WEBHOOK_HOSTS = []
    with pytest.raises(NotDelivered):
        post(url, b"{}")


def test_a_name_that_resolves_to_a_private_address_is_not_connected_to(settings, monkeypatch):
    settings.PRIVATE_WEBHOOK_HOSTS = []
    answer = [(2, 1, 6, "", ("127.0.0.1", 80))]
    monkeypatch.setattr("gateway.core.egress.socket.getaddrinfo", lambda *args: answer)
    with pytest.raises(NotDelivered, match="not a public address"):
        post("http://rebound.example/x", b"{}")


@pytest.mark.django_db(transaction=True)
def test_ten_that_book_and_ten_that_deliver_at_once_tell_each_threshold_once(receiver):
    acme = Workspace.objects.create(name="acme")
    webhook(acme, receiver)
    monthly(acme, limit_nanos=20_000, alert_at=[80, 90, 100])
    start = threading.Barrier(10)
    # The tests' SQLite lies in memory, where writers fail instead of waiting for each other.
    one_at_a_time = threading.Lock() if connection.vendor == "sqlite" else nullcontext()
    failures = []

    def work(number: int) -> None:
        try:
            start.wait()
            for turn in range(2):
                with one_at_a_time:
                    book([line(acme, f"{number}.{turn}", nanos=1000)])
                with one_at_a_time:
                    alerts.deliver_alerts()
        except Exception as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again_now()
    alerts.deliver_alerts()

    assert failures == []
    assert sorted(message["threshold"] for message in receiver.told) == [80, 90, 100]
    assert Delivery.objects.filter(state="sent").count() == 3


def test_an_alert_is_delivered_as_soon_as_its_lines_are_committed(django_capture_on_commit_callbacks, acme):
    monthly(acme, limit_nanos=10_000, alert_at=[80])
    news.clear()
    with django_capture_on_commit_callbacks(execute=True):
        book([line(acme, nanos=7900)])
    assert not news.is_set()
    with django_capture_on_commit_callbacks(execute=True):
        book([line(acme, "b.1", nanos=200)])
    assert news.is_set()
    news.clear()
    with django_capture_on_commit_callbacks(execute=True):
        book([line(acme, "c.1", nanos=200)])  # told already
    assert not news.is_set()


def test_the_courier_delivers_when_there_is_news_and_outlives_a_failure(monkeypatch):
    delivered, done = [], threading.Event()

    def deliver() -> int:
        delivered.append(1)
        if len(delivered) == 1:
            raise RuntimeError("a broken row")
        done.set()
        return 0

    monkeypatch.setattr("budgets.courier.deliver_alerts", deliver)
    courier = Courier()
    courier.start()
    for _ in range(200):
        news.set()
        if done.wait(0.02):
            break
    courier.stop()
    assert done.is_set()
    assert not courier.is_alive()


@pytest.mark.django_db(transaction=True)
def test_two_writers_of_two_days_of_one_month_do_not_both_miss_what_they_crossed_together():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer")
    workspace = Workspace.objects.create(name="acme", timezone="UTC")
    monthly(workspace, limit_nanos=10_000, alert_at=[80])
    first_booked, second_began = threading.Event(), threading.Event()

    def first() -> None:
        with transaction.atomic():
            book([line(workspace, "a.1", nanos=4500, at=datetime(2026, 5, 4, 23, 59, 59, tzinfo=UTC).timestamp())])
            first_booked.set()
            second_began.wait(5)
            sleep(0.3)  # the second one is in the middle of it, or waits
        connections.close_all()

    def second() -> None:
        first_booked.wait(5)
        second_began.set()
        book([line(workspace, "b.1", nanos=4500, at=datetime(2026, 5, 5, tzinfo=UTC).timestamp())])
        connections.close_all()

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Alert.objects.count() == 1
