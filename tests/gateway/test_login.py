"""Who gets in, and how slow guessing is."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client

from tests import rows

pytestmark = pytest.mark.django_db

PASSWORD = "a-long-enough-pass-phrase"


@pytest.fixture(autouse=True)
def nobody_has_failed_yet():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture(autouse=True)
def cheap_passwords(settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def person(role: str = "viewer"):
    user = rows.tenant("acme").person(role)
    user.set_password(PASSWORD)
    user.save()
    return user


def log_in(client: Client, name: str, password: str, address: str = "192.0.2.1"):
    return client.post("/admin/login/", {"username": name, "password": password}, REMOTE_ADDR=address)


def test_a_member_gets_in_without_being_staff(client: Client) -> None:
    user = person()

    assert log_in(client, user.username, PASSWORD).status_code == 302
    assert client.get("/admin/").status_code == 200
    assert user.is_staff is False


def test_an_account_without_a_role_is_told_whom_to_ask(client: Client) -> None:
    from django.contrib.auth.models import User

    User.objects.create_user("stranger", password=PASSWORD, is_staff=True)

    assert b"Ask an owner of yours to add you" in log_in(client, "stranger", PASSWORD).content


def test_after_five_failures_even_the_right_password_waits(client: Client) -> None:
    user = person()
    for _ in range(5):
        log_in(client, user.username, "wrong")

    locked = log_in(client, user.username, PASSWORD)
    assert b"Too many attempts. Try again in 15 minutes." in locked.content
    assert (
        log_in(client, user.username, PASSWORD, address="192.0.2.2").status_code == 302
    )  # nobody is locked out by others


def test_success_forgets_the_failures_of_this_name(client: Client) -> None:
    user = person()
    for _ in range(4):
        log_in(client, user.username, "wrong")
    log_in(client, user.username, PASSWORD)
    client.logout()
    for _ in range(4):
        log_in(client, user.username, "wrong")

    assert log_in(client, user.username, PASSWORD).status_code == 302


def test_one_address_cannot_try_many_names(client: Client) -> None:
    user = person()
    for number in range(20):
        log_in(client, f"name{number}", "wrong")

    assert b"Too many attempts" in log_in(client, user.username, PASSWORD).content


def test_a_session_ends_after_eight_hours() -> None:
    assert timedelta(seconds=settings.SESSION_COOKIE_AGE) == timedelta(hours=8)
    assert settings.SESSION_COOKIE_HTTPONLY is True
    assert settings.SESSION_COOKIE_SAMESITE == "Strict"


def test_pages_lead_to_the_login_and_back(client: Client) -> None:
    response = client.get("/admin/gateway/route/")

    assert (response.status_code, response.headers["location"]) == (302, "/admin/login/?next=/admin/gateway/route/")


def test_behind_a_trusted_proxy_each_address_is_counted_by_itself(client: Client, settings) -> None:
    settings.TRUSTED_PROXY_HOPS = 1
    user = person()
    for number in range(25):  # from one client, with whatever it claims to have come from before
        said = {"HTTP_X_FORWARDED_FOR": f"198.51.100.{number}, 203.0.113.9"}
        client.post("/admin/login/", {"username": f"guess-{number}", "password": "wrong"}, **said)
    right = {"username": user.username, "password": PASSWORD}

    assert b"Too many attempts" in client.post("/admin/login/", right, HTTP_X_FORWARDED_FOR="203.0.113.9").content
    assert client.post("/admin/login/", right, HTTP_X_FORWARDED_FOR="203.0.113.10").status_code == 302
