"""What a provider's error status means, the same for every adapter: refused for good, or another target may do."""

import re
from collections.abc import Mapping

import msgspec

from gateway.core.errors import UpstreamError, UpstreamRejected, UpstreamUnavailable

RETRYABLE_STATUSES = frozenset({408, 409, 425, 429})
# A bad credential is the gateway's fault, not the caller's: the next credential or target may do.
CREDENTIAL_STATUSES = frozenset({401, 402, 403})
TOO_LONG = re.compile(
    r"prompt is too long|context.{0,20}(length|window|limit)|too many (input )?tokens|input is too long"
    r"|exceed\w* the (maximum|max|model'?s?).{0,40}tokens|maximum context|token count.{0,40}exceeds",
    re.IGNORECASE,
)
MESSAGE_CHARACTERS = 2000


def failure(
    status: int, headers: Mapping[str, str], message: str, *, code: str | None = None, error_type: str | None = None
) -> UpstreamError:
    """The error that an answer with this status (not 2xx) means.

    UpstreamUnavailable for 401-403, 408, 409, 425, 429 and 5xx; UpstreamRejected for every other status.
    """
    message = (message or f"The provider answered with status {status}.")[:MESSAGE_CHARACTERS]
    wait = retry_after(headers)
    body = {"message": message, "type": error_type, "param": None, "code": code}
    if status == 429:
        return UpstreamUnavailable(message, kind="rate_limit", status=status, body=body, retry_after=wait)
    if status in CREDENTIAL_STATUSES:  # what is wrong with the gateway's own credential is not the caller's to read
        return UpstreamUnavailable(
            f"the provider refused the gateway's credential (HTTP {status})", kind="auth", status=status
        )
    if status >= 500 or status in RETRYABLE_STATUSES:
        kind = "timeout" if status == 408 else "server_error"
        return UpstreamUnavailable(message, kind=kind, status=status, body=body, retry_after=wait)
    kind = "context_too_long" if status in (400, 413, 422) and TOO_LONG.search(message) else "rejected"
    return UpstreamRejected(message, kind=kind, status=status, body=body)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait (`retry-after-ms`, or `retry-after` in seconds), else None."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "")
        try:
            seconds = float(value) / unit
        except ValueError:
            continue
        if 0 <= seconds < 86400:
            return seconds
    return None


def bad_answer(message: str, *, status: int | None = 200) -> UpstreamUnavailable:
    """The provider said 200 and then nonsense. The call shows as 502; another target may do."""
    error = UpstreamUnavailable(message, kind="bad_answer", status=None)
    error.upstream_status = status
    return error


def said(body: bytes) -> str:
    """The message in an error's body, whichever usual shape it has; else the body's beginning as text."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body[:MESSAGE_CHARACTERS].decode("utf-8", "replace").strip()
    if isinstance(found, list) and found:
        found = found[0]
    while isinstance(found, dict):
        found = found.get("error") or found.get("message") or found.get("Message") or found.get("detail")
    return found if isinstance(found, str) else ""
