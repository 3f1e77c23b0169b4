"""Keeps Google's access tokens fresh, in a thread of its own, so that no call waits for one."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

import httpx

from gateway.core.call import Target
from gateway.core.egress import EgressRefused, check_url, literal
from gateway.providers.base import Outgoing
from gateway.providers.vertex_token import TOKENS, Account, Tokens, read_token, token_request

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # how soon a new credential is noticed
PAUSE_SECONDS = 5.0  # after a failure, doubled up to the longest
LONGEST_PAUSE_SECONDS = 120.0
ANSWER_SECONDS = 10.0

Ask = Callable[[Outgoing], bytes]


def ask(outgoing: Outgoing) -> bytes:
    """Google's answer, whatever its status. Raises EgressRefused, httpx.HTTPError.

    The address stands in the credential's own JSON, so it must be Google's, or a bare address that may be called: a
    name could resolve to something else when the connection is opened.
    """
    url = urlsplit(outgoing.url)
    host = url.hostname or ""
    if literal(host) is not None:
        check_url(outgoing.url)
    elif url.scheme != "https" or not f".{host}".endswith(".googleapis.com"):
        raise EgressRefused(f"tokens are not asked of {host!r}: it is not Google's")
    with httpx.Client(timeout=ANSWER_SECONDS, follow_redirects=False, trust_env=False) as client:
        return client.post(outgoing.url, content=outgoing.body, headers=outgoing.headers).content


class TokenRefresher:
    """Asks for tokens before they end. `targets` gives the targets of the running configuration."""

    def __init__(self, targets: Callable[[], Iterable[Target]], *, tokens: Tokens = TOKENS, ask: Ask = ask) -> None:
        self._targets, self._tokens, self._ask = targets, tokens, ask
        self._pauses: dict[
            str, tuple[float, float]
        ] = {}  # a secret's next attempt (monotonic), and the pause before it
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="vertex-tokens", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(ANSWER_SECONDS)

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Ask for every token that is due, and forget those whose credential is gone."""
        providers = {target.secret: target.provider for target in self._targets() if target.kind == "vertex"}
        self._tokens.keep_only(set(providers))
        for secret, provider in providers.items():
            after, pause = self._pauses.get(secret, (0.0, PAUSE_SECONDS))
            if not self._tokens.due(secret) or time.monotonic() < after:
                continue
            try:
                account = Account.parse(secret)
                if account is None:
                    continue
                body = self._ask(token_request(account, int(time.time())))
                self._tokens.put(secret, read_token(body, time.time()))
                self._pauses.pop(secret, None)
            except Exception as error:
                self._pauses[secret] = (time.monotonic() + pause, min(pause * 2, LONGEST_PAUSE_SECONDS))
                log.warning("No access token for the provider %s: %s", provider, error)
