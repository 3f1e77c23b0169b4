"""AWS's binary event stream (application/vnd.amazon.eventstream), decoded from chunks that are cut anywhere.

A message, numbers big-endian:

    total length 4 | headers length 4 | CRC-32 of these eight 4 | headers | payload | CRC-32 of all before 4

    header: name length 1 | name | type 1 | value, for strings and bytes with a length of 2 before it

Both checksums are checked: damage is an error, never a wrong answer.
Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html; botocore is the tests' oracle.
"""

import struct
from typing import Any, NamedTuple
from zlib import crc32

from gateway.core.errors import UpstreamBroken

MAX_MESSAGE_BYTES = 1 << 20
PRELUDE = struct.Struct(">III")
OVERHEAD_BYTES = 16
FIXED = {
    2: struct.Struct(">b"),
    3: struct.Struct(">h"),
    4: struct.Struct(">i"),
    5: struct.Struct(">q"),
    8: struct.Struct(">q"),
}
TRUE, FALSE, BYTES, STRING, UUID = 0, 1, 6, 7, 9


class Message(NamedTuple):
    headers: dict[str, Any]
    payload: bytes


class Decoder:
    """Feed it bytes, take the messages that they completed."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[Message]:
        """Raises UpstreamBroken where a checksum or a length is wrong."""
        rest = self._rest
        rest += chunk
        found: list[Message] = []
        begin = 0
        while len(rest) - begin >= PRELUDE.size:
            total, head, checksum = PRELUDE.unpack_from(rest, begin)
            if crc32(rest[begin : begin + 8]) != checksum:
                raise damaged("the checksum of a message's lengths does not hold")
            if total > MAX_MESSAGE_BYTES or total < OVERHEAD_BYTES + head:
                raise damaged(f"a message has an impossible length ({total} bytes)")
            if len(rest) - begin < total:
                break
            end = begin + total
            if crc32(rest[begin : end - 4]) != int.from_bytes(rest[end - 4 : end]):
                raise damaged("the checksum of a message does not hold")
            start = begin + PRELUDE.size
            found.append(Message(headers(bytes(rest[start : start + head])), bytes(rest[start + head : end - 4])))
            begin = end
        del rest[:begin]
        return found

    @property
    def empty(self) -> bool:
        """Whether the stream may end here: no message is half there."""
        return not self._rest


def headers(block: bytes) -> dict[str, Any]:
    """A message's headers by name. Raises UpstreamBroken where the block can't be read."""
    found: dict[str, Any] = {}
    place = 0
    try:
        while place < len(block):
            size = block[place]
            name = block[place + 1 : place + 1 + size].decode()
            kind = block[place + 1 + size]
            place += 2 + size
            if kind in (TRUE, FALSE):
                found[name] = kind == TRUE
            elif kind in FIXED:
                found[name] = FIXED[kind].unpack_from(block, place)[0]
                place += FIXED[kind].size
            elif kind == UUID:
                found[name] = block[place : place + 16]
                place += 16
            elif kind in (BYTES, STRING):
                length = int.from_bytes(block[place : place + 2])
                value = block[place + 2 : place + 2 + length]
                place += 2 + length
                found[name] = value.decode() if kind == STRING else value
            else:
                raise damaged(f"a header has the unknown type {kind}")
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise damaged(f"a message's headers can't be read: {error!r}") from error
    if place != len(block):
        raise damaged("a message's headers are longer than they say")
    return found


def damaged(what: str) -> UpstreamBroken:
    return UpstreamBroken(f"the provider's event stream is damaged: {what}", kind="bad_answer")
