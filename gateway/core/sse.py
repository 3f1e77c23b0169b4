"""Server-sent events, split and written at the level of bytes.

Lines end in CR, LF or CRLF and nothing else: U+2028 and its like are ordinary characters inside JSON. A chunk may be
cut anywhere, also inside a character. Source: WHATWG HTML, section 9.2, "Server-sent events".
"""

import re
from collections.abc import Iterable

from gateway.core.errors import UpstreamBroken

MAX_EVENT_BYTES = 1 << 20
BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
LINE_END = re.compile(rb"\r\n|\n|\r")
BOM = b"\xef\xbb\xbf"

Event = tuple[bytes, str, bytes]
"""(raw, name, data): the event's bytes with its blank line; its `event:` or ""; its `data:` lines, joined by LF.

A block without data, such as a comment that keeps the connection alive, has empty data: forward it, read nothing.
"""


class Splitter:
    """Cuts a stream of bytes into events.

    The bytes of an event are given as they came. Only a CR that ends a chunk is not waited on: should its LF come
    first in the next chunk, that LF is dropped, which changes nothing for a reader.
    """

    __slots__ = ("_after_cr", "_began", "_limit", "_rest")

    def __init__(self, limit_bytes: int = MAX_EVENT_BYTES) -> None:
        self._rest = bytearray()
        self._limit = limit_bytes
        self._after_cr = False
        self._began = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that these bytes completed. Raises UpstreamBroken when one is larger than the limit."""
        if (  # one whole event, the ordinary case
            self._began
            and not self._rest
            and chunk.find(b"\n") == len(chunk) - 2
            and chunk.startswith(b"data: ")
            and chunk.endswith(b"\n\n")
            and b"\r" not in chunk
            and not self._after_cr
            and len(chunk) <= self._limit
        ):
            return [(chunk, "", chunk[6:-2])]
        if not self._began and chunk:
            chunk = self._start(chunk)
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        rest = self._rest
        if rest:
            old = len(rest)
            rest += chunk
            if b"\r" in rest:
                return self._feed_any(old)
            cut = rest.rfind(b"\n\n", max(0, old - 1))
            if cut < 0:
                self._check(len(rest))
                return []
            whole = bytes(rest[:cut])
            del rest[: cut + 2]
        elif b"\r" in chunk:
            rest += chunk
            return self._feed_any(0)
        else:
            cut = chunk.rfind(b"\n\n")
            if cut < 0:
                rest += chunk
                self._check(len(rest))
                return []
            whole = chunk[:cut]
            rest += chunk[cut + 2 :]
        self._check(len(rest))
        return self._events(whole.split(b"\n\n"))

    def end(self) -> list[Event]:
        """What is left when the stream ended without a blank line, as if it had one; usually nothing."""
        block = bytes(self._rest)
        self._rest.clear()
        lines = block.strip(b"\r\n")
        return [_read(block.rstrip(b"\r\n") + b"\n\n", lines)] if lines else []

    def _start(self, chunk: bytes) -> bytes:
        """Take off a byte order mark, which may come in pieces."""
        head = bytes(self._rest) + chunk
        if len(head) < len(BOM) and BOM.startswith(head):
            self._rest[:] = head
            return b""
        self._began = True
        self._rest.clear()
        return head.removeprefix(BOM)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise UpstreamBroken(f"one event of the stream is larger than {self._limit} bytes", kind="bad_answer")

    def _events(self, blocks: Iterable[bytes]) -> list[Event]:
        events: list[Event] = []
        for block in blocks:
            if len(block) > self._limit:
                self._check(len(block))
            if block.startswith(b"data: ") and b"\n" not in block:
                events.append((block + b"\n\n", "", block[6:]))
            elif block := block.strip(b"\n"):
                events.append(_read(block + b"\n\n", block))
        return events

    def _feed_any(self, old: int) -> list[Event]:
        """As `feed`, for streams with CR or CRLF. `old` bytes of the rest were searched before."""
        rest = self._rest
        events: list[Event] = []
        begin, search = 0, max(0, old - 3)
        while (found := BLANK_LINE.search(rest, search)) is not None:
            self._check(found.end() - begin)
            raw = bytes(rest[begin : found.end()])
            block = raw.strip(b"\r\n")
            if block:
                events.append(_read(raw, block))
            begin = search = found.end()
        self._after_cr = begin > 0 and begin == len(rest) and rest[-1] == 13
        del rest[:begin]
        self._check(len(rest))
        return events


def _read(raw: bytes, block: bytes) -> Event:
    """One event of any shape. `block` is `raw` without the line ends around it."""
    name, data = "", []
    for line in LINE_END.split(block):
        field, colon, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event" and colon:
            name = value.decode("utf-8", "replace")
    return raw, name, b"\n".join(data)


def read(raw: bytes) -> tuple[str, bytes]:
    """The name and data of one event's bytes."""
    if raw.startswith(b"data: ") and raw.endswith(b"\n\n") and b"\n" not in raw[:-2] and b"\r" not in raw:
        return "", raw[6:-2]
    return _read(raw, raw.strip(b"\r\n"))[1:]


def encode(data: bytes, name: str = "") -> bytes:
    """One event with this data. JSON holds no bare line end, so ordinary data is one line."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(LINE_END.split(data))
    if name:
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
    return b"data: %b\n\n" % data


def comment(text: str = "") -> bytes:
    """A comment: it keeps a connection alive and means nothing."""
    return f": {' '.join(text.split())}\n\n".encode()
