"""Access tokens of Google service accounts: what is asked, what comes back, and where the current ones are kept.

No I/O here: routing/vertex_tokens.py asks ahead of time, in the background, and puts tokens in; the adapter takes them
out while it writes a request. Source: https://developers.google.com/identity/protocols/oauth2/service-account.
"""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gateway.providers.base import Outgoing

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URI = "https://oauth2.googleapis.com/token"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_SECONDS = 3600  # the longest that Google allows
SPARE_SECONDS = 30.0  # a token that ends sooner is not used any more
REFRESH_SECONDS = 600.0  # a token that ends sooner is asked for again


@dataclass(frozen=True, slots=True)
class Account:
    """A service account, as its JSON tells it."""

    email: str
    project: str
    token_uri: str
    key: str = field(repr=False)
    key_id: str = ""

    @classmethod
    def parse(cls, secret: str) -> "Account | None":
        """From a service account's JSON; None for any other text, which is taken as an access token itself.

        Raises ValueError for JSON that is no service account's.
        """
        if not secret.lstrip().startswith("{"):
            return None
        try:
            found = msgspec.json.decode(secret)
            if found.get("type") != "service_account":
                raise ValueError("its type is not service_account")
            return cls(
                found["client_email"],
                found.get("project_id") or "",
                found.get("token_uri") or TOKEN_URI,
                found["private_key"],
                found.get("private_key_id") or "",
            )
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise ValueError(f"not a service account's JSON: {error}") from None


@dataclass(frozen=True, slots=True)
class Token:
    value: str = field(repr=False)
    expires_at: float  # seconds since 1970


def encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def assertion(account: Account, at: int) -> str:
    """The signed JWT that is exchanged for a token. `at` is seconds since 1970. Raises ValueError for a broken key."""
    key = serialization.load_pem_private_key(account.key.encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the service account's key is no RSA key")
    header = {"alg": "RS256", "typ": "JWT"} | ({"kid": account.key_id} if account.key_id else {})
    claims = {"iss": account.email, "scope": SCOPE, "aud": account.token_uri, "iat": at, "exp": at + ASSERTION_SECONDS}
    text = encoded(msgspec.json.encode(header)) + b"." + encoded(msgspec.json.encode(claims))
    signature = key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    return (text + b"." + encoded(signature)).decode()


def token_request(account: Account, at: int) -> Outgoing:
    """The request that exchanges an assertion for a token."""
    body = urlencode({"grant_type": GRANT, "assertion": assertion(account, at)}).encode()
    return Outgoing(account.token_uri, {"content-type": "application/x-www-form-urlencoded"}, body)


def read_token(body: bytes, at: float) -> Token:
    """The token in Google's answer. Raises ValueError where there is none, with Google's own words."""
    try:
        found = msgspec.json.decode(body)
        if "access_token" not in found:
            raise ValueError(found.get("error_description") or found.get("error") or "no access_token in the answer")
        return Token(found["access_token"], at + float(found.get("expires_in") or ASSERTION_SECONDS))
    except (msgspec.DecodeError, TypeError, AttributeError) as error:
        raise ValueError(f"an answer that can't be read: {error}") from None


class Tokens:
    """The tokens that are current, by the secret that they were made from. One for a process; safe over threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._held: dict[str, Token] = {}
        self._clock = clock

    def current(self, secret: str) -> str | None:
        """The token to send now, or None where there is none that still holds."""
        token = self._held.get(secret)
        if token is None or token.expires_at - self._clock() < SPARE_SECONDS:
            return None
        return token.value

    def due(self, secret: str) -> bool:
        """Whether it is time to ask for a new token."""
        token = self._held.get(secret)
        return token is None or token.expires_at - self._clock() < REFRESH_SECONDS

    def put(self, secret: str, token: Token) -> None:
        self._held[secret] = token

    def keep_only(self, secrets: set[str]) -> None:
        """Forget the tokens of credentials that are gone."""
        for gone in self._held.keys() - secrets:
            del self._held[gone]


TOKENS = Tokens()
