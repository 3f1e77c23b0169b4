"""Bringing one message to where it goes: a webhook by POST, an address by e-mail. Shared by all that tell.

A webhook's name is resolved here, each address checked, and the connection made to a checked address and not to the
name: a resolver may answer differently the second time. Redirects are not followed, for they would lead around that.
"""

import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from gateway.core import egress

SECONDS = 10.0  # for connecting, and for each read
SECONDS_IN_ALL = 20.0
ANSWER_MOST = 2000  # bytes of an answer that are looked at


class NotDelivered(Exception):
    """The message was not taken. The text says why, for the page of what was sent."""


def private_hosts() -> frozenset[str]:
    return frozenset(settings.PRIVATE_WEBHOOK_HOSTS)


def check_address(url: str) -> None:
    """Raise EgressRefused for an address to which no webhook is ever sent. For forms; sending asks the resolver too."""
    try:
        egress.check_url(url, public_only=True, allowed_hosts=private_hosts())
    except egress.EgressRefused as refused:
        raise egress.EgressRefused(
            f"{refused}. Use a public address, or name the host in PRIVATE_WEBHOOK_HOSTS."
        ) from None


def signature(secret: bytes, body: bytes, at: int) -> str:
    """The value of `x-tollgate-signature`: HMAC-SHA-256 of "UNIX.BODY" under the channel's secret."""
    digest = hmac.new(secret, b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def post(url: str, body: bytes, secret: bytes = b"") -> str:
    """POST a JSON body, signed where there is a secret; returns the answer's status in words. Raises NotDelivered."""
    headers = {"content-type": "application/json", "user-agent": "tollgate"}
    if secret:
        headers["x-tollgate-signature"] = signature(secret, body, int(time.time()))
    try:
        check_address(url)
        connection = pinned(url)
    except (egress.EgressRefused, OSError) as error:
        raise NotDelivered(str(error)) from error
    watchdog = threading.Timer(SECONDS_IN_ALL, _cut, [connection])
    watchdog.daemon = True
    watchdog.start()
    try:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read(ANSWER_MOST)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotDelivered(f"{type(error).__name__}: {error}") from error
    finally:
        watchdog.cancel()
        connection.close()
    told = f"HTTP {answer.status}"
    if not 200 <= answer.status < 300:
        raise NotDelivered(told)
    return told


class _Pinned(http.client.HTTPConnection):
    """A connection to one of the checked addresses, for the host that the URL names."""

    def __init__(self, host: str, port: int, addresses: tuple[str, ...], tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=SECONDS)
        self.default_port = 443 if tls else 80
        self.addresses = addresses
        self.tls = tls

    def connect(self) -> None:
        failure: OSError = OSError("no address")
        for address in self.addresses:
            try:
                plain = socket.create_connection((address, self.port), SECONDS)
            except OSError as error:
                failure = error
                continue
            self.sock = self.tls.wrap_socket(plain, server_hostname=self.host) if self.tls else plain
            return
        raise failure


def pinned(url: str) -> http.client.HTTPConnection:
    """A connection, not open yet, to a checked address of the URL's host. Raises EgressRefused, OSError."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_https = parts.scheme == "https"
    port = parts.port or (443 if is_https else 80)
    addresses = egress.resolve(host, port, public_only=True, allowed_hosts=private_hosts())
    return _Pinned(host, port, addresses, ssl.create_default_context() if is_https else None)


def _cut(connection: http.client.HTTPConnection) -> None:
    """End an exchange that a receiver stretches."""
    open_socket: Any = connection.sock
    if open_socket is not None:
        with suppress(OSError):
            open_socket.shutdown(socket.SHUT_RDWR)


def mail(to: Collection[str], subject: str, text: str, message_id: str) -> str:
    """Send one e-mail; its Message-ID stays the same over retries. Raises NotDelivered."""
    line = " ".join(subject.split())  # a name with a line's end in it must not become a header
    message = EmailMessage(line, text, to=list(to), headers={"Message-ID": f"<{message_id}@tollgate>"})
    try:
        with get_connection(timeout=SECONDS) as connection:
            message.connection = connection
            message.send()
    except (OSError, ValueError) as error:  # SMTPException is an OSError
        raise NotDelivered(f"{type(error).__name__}: {error}") from error
    return "handed to the mail server"
