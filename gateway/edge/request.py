"""Bytes of a request → what the gateway needs of them, refusing all that two readers could read differently."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgspec

from gateway.core.errors import InvalidRequest, TooLarge, Unauthenticated

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]

DEPTH_MOST = 64
KEYS_MOST = 50_000
SPACED_COLON = re.compile(rb'"[ \n\t\r]+:')
SINGLE = frozenset({"authorization", "x-api-key", "api-key", "host", "content-type", "content-length"})
STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"(\s*+:)?', re.DOTALL)


class Gone(Exception):
    """The client left before its request was complete."""


def headers_of(scope: Scope) -> dict[str, str]:
    """The request's headers by lower-case name. Raises InvalidRequest when one that must stand once stands twice."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    if len(headers) == len(scope["headers"]):
        return headers
    headers.clear()
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in headers:
            if name in SINGLE:
                raise InvalidRequest(f"The header {name} stands in the request more than once.", param=name)
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def secret_of(headers: Mapping[str, str]) -> str:
    """The API key from Authorization: Bearer, x-api-key or api-key. Raises Unauthenticated when they differ.

    A key may be any text. Headers are bytes, which were read as Latin-1 here; clients write them as UTF-8 or Latin-1.
    """
    found = set()
    for name in ("x-api-key", "api-key"):
        if value := headers.get(name):
            found.add(value.strip())
    if authorization := headers.get("authorization"):
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated("The Authorization header must read `Bearer KEY`.")
        found.add(token.strip())
    if len(found) > 1:
        raise Unauthenticated("The request holds two different API keys.", hint="Send the key in one header only.")
    secret = found.pop() if found else ""
    return secret if secret.isascii() else as_text(secret)


def as_text(latin: str) -> str:
    """What was read as Latin-1, as UTF-8 where its bytes are that."""
    try:
        return latin.encode("latin-1").decode()
    except UnicodeError:
        return latin


def peer_of(scope: Scope, headers: Mapping[str, str], trusted_hops: int) -> str:
    """The caller's address: the socket's, or the one that the outermost of our own proxies saw.

    Each trusted proxy appends the address it was called from to X-Forwarded-For, so with n of them the n-th entry
    from the right is the caller's; whatever stands further left was written by the caller and proves nothing.
    """
    client = scope.get("client")
    direct: str = client[0] if client else ""
    if not trusted_hops:
        return direct
    entries = [entry.strip() for entry in headers.get("x-forwarded-for", "").split(",") if entry.strip()]
    return entries[-trusted_hops] if len(entries) >= trusted_hops else direct


async def body_of(receive: Receive, headers: Mapping[str, str], most_bytes: int) -> bytes:
    """The whole body. Raises TooLarge, before reading it where its length says so, InvalidRequest, and Gone."""
    allowed_length(headers, most_bytes)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > most_bytes:
            raise TooLarge(f"The body has {len(body)} bytes; {most_bytes} are allowed.")
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most_bytes:
            raise TooLarge(f"The body has more than the {most_bytes} bytes that are allowed.")
    return b"".join(parts)


def allowed_length(headers: Mapping[str, str], most_bytes: int) -> int | None:
    """How long the body says it is. Raises TooLarge where that is too much, InvalidRequest where it is compressed."""
    if headers.get("content-encoding", "identity") != "identity":
        raise InvalidRequest("Encoded bodies are not taken; send the JSON as it is.", param="content-encoding")
    length = headers.get("content-length", "")
    if not length.isdigit():
        return None
    if int(length) > most_bytes:
        raise TooLarge(f"The body has {length} bytes; {most_bytes} are allowed.")
    return int(length)


def json_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object, strictly: UTF-8, no NaN, no key twice, no deeper than 64.

    Raises InvalidRequest (invalid_json). A key that stands twice is refused because the next reader may take the
    other one, and then what was checked here is not what is answered there.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is no valid JSON: {error}.", code="invalid_json") from None
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    keys = count_keys(value)
    if keys > KEYS_MOST:
        raise InvalidRequest(f"The body has more than {KEYS_MOST} keys.", code="invalid_json")
    if not is_free_of_repeats(body, keys):
        raise InvalidRequest("The body names a key twice in one object.", code="invalid_json")
    return value


def count_keys(value: dict[str, Any]) -> int:
    """How many keys all objects within hold, level by level. Raises InvalidRequest when they are nested too deep."""
    keys = 0
    level: list[Any] = [value]
    for _ in range(DEPTH_MOST):
        below: list[Any] = []
        for each in level:
            inner: Iterable[Any] = each
            if type(each) is dict:
                keys += len(each)
                inner = each.values()
            for item in inner:
                if type(item) is dict or type(item) is list:
                    below.append(item)
        if not below:
            return keys
        level = below
    raise InvalidRequest(f"The body is nested deeper than {DEPTH_MOST} levels.", code="invalid_json")


def is_free_of_repeats(body: bytes, keys: int) -> bool:
    """Whether valid JSON holds each key once, given how many keys were left after decoding it.

    Every key is followed by a colon, so there are at most as many keys as `":` in the body, unless there is space
    before a colon. When that bound equals the number left, none was dropped. Text that holds `":` itself makes the
    bound too high; then the strings are told apart one by one.
    """
    if body.count(b'":') == keys and SPACED_COLON.search(body) is None:
        return True
    return sum(1 for match in STRINGS.finditer(body) if match.group(1)) == keys
