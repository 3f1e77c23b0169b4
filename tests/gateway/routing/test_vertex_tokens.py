"""Google's tokens are asked for before they are needed."""

import pytest

from gateway.core.egress import EgressRefused
from gateway.providers.base import Outgoing
from gateway.providers.vertex_token import Tokens
from gateway.routing.vertex_tokens import TokenRefresher, ask
from tests.gateway.providers.replay import target
from tests.gateway.providers.test_vertex import ACCOUNT

VERTEX = target("vertex", "gemini-2.5-flash", secret=ACCOUNT)
RAW = target("vertex", "gemini-2.5-flash", secret="ya29.raw")
OTHER = target("openai", "gpt", secret="sk-x")


def test_each_service_account_gets_one_token_and_no_other_credential_is_sent():
    asked: list[Outgoing] = []

    def answer(outgoing: Outgoing) -> bytes:
        asked.append(outgoing)
        return b'{"access_token":"ya29.a","expires_in":3600}'

    targets = [VERTEX, VERTEX, RAW, OTHER]
    tokens = Tokens()
    refresher = TokenRefresher(lambda: targets, tokens=tokens, ask=answer)
    refresher.look()
    refresher.look()
    assert [outgoing.url for outgoing in asked] == ["https://oauth2.googleapis.com/token"]
    assert tokens.current(ACCOUNT) == "ya29.a"
    targets.clear()
    refresher.look()
    assert tokens.current(ACCOUNT) is None


def test_after_a_failure_it_waits_before_it_asks_again():
    asked: list[Outgoing] = []

    def fail(outgoing: Outgoing) -> bytes:
        asked.append(outgoing)
        return b'{"error":"invalid_grant"}'

    refresher = TokenRefresher(lambda: [VERTEX], tokens=Tokens(), ask=fail)
    refresher.look()
    refresher.look()
    assert len(asked) == 1


def test_the_thread_ends_when_it_is_stopped():
    refresher = TokenRefresher(lambda: [], tokens=Tokens())
    refresher.start()
    refresher.stop()
    assert refresher._thread is not None
    assert not refresher._thread.is_alive()


@pytest.mark.parametrize(
    "url", ["https://evil.example/token", "http://169.254.169.254/token", "http://a.googleapis.com/"]
)
def test_tokens_are_asked_of_google_only(url):
    with pytest.raises(EgressRefused):
        ask(Outgoing(url, {}, b""))
