"""AWS Signature Version 4 for a request with a body, as a function of the request and the time.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
botocore is the tests' oracle: the signature is the same to the byte.
"""

import hashlib
import hmac
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from msgspec.structs import replace

from gateway.providers.base import Outgoing

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = frozenset({"accept-encoding", "connection", "expect", "user-agent", "x-amzn-trace-id"})


class Credential(NamedTuple):
    access_key_id: str
    secret_access_key: str
    session_token: str = ""

    @classmethod
    def parse(cls, secret: str) -> "Credential":
        """From `ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]`. Raises ValueError when it is not that."""
        parts = secret.strip().split(":", 2)
        if len(parts) < 2 or not all(parts):
            raise ValueError("must be ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]")
        return cls(*parts)


def signed(outgoing: Outgoing, credential: Credential, *, region: str, service: str, at: datetime) -> Outgoing:
    """The request with its signature. `at` is UTC; AWS takes it when it is at most five minutes old.

    `host` is signed as the URL has it and not put among the headers: the client sends it by itself.
    """
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    url = urlsplit(outgoing.url)
    headers = {**outgoing.headers, "x-amz-date": stamp}
    if credential.session_token:
        headers["x-amz-security-token"] = credential.session_token
    cover = {"host": host(url.scheme, url.netloc)} | {k: v for k, v in headers.items() if k not in UNSIGNED}
    names = ";".join(sorted(cover))
    canonical = "\n".join(
        [
            outgoing.method,
            quote(url.path or "/", safe="/~"),  # once more: the path is encoded twice for every service but S3
            "&".join(sorted(url.query.split("&"))) if url.query else "",
            *(f"{name}:{' '.join(cover[name].split())}" for name in sorted(cover)),
            "",
            names,
            hashlib.sha256(outgoing.body).hexdigest(),
        ]
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join([ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4" + credential.secret_access_key.encode()
    for part in (stamp[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    headers["authorization"] = (
        f"{ALGORITHM} Credential={credential.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return replace(outgoing, headers=headers)


def host(scheme: str, netloc: str) -> str:
    """The host header that a client sends: without the scheme's own port."""
    return netloc.removesuffix({"https": ":443", "http": ":80"}.get(scheme, ":"))
