"""Recordings on their way through: a multipart body whose file goes on to the provider while it still comes.

A body that may be repeated is simpler to route, so one of up to 1 MiB is read whole: it can be tried again and fall
back. A larger one is passed on as it comes if its fields stand before its file, within the first 64 KiB, and name the
model: then nothing but a few pieces of it is ever held, and once its first bytes have left no other target can take
over. What stands in any other order is read whole, up to MAX_BODY_BYTES.

Fields after the file are passed on too, unless they are ones that were needed before it was sent.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from gateway.core.errors import InvalidRequest, TooLarge
from gateway.edge.audio import FIELDS_MOST, add_field, boundary_of, checked, field_of, form_fields
from gateway.edge.controls import NAMES
from gateway.edge.request import Gone, Receive, allowed_length, body_of

WHOLE_BYTES = 1024 * 1024
HEAD_BYTES = 64 * 1024
TAIL_BYTES = 64 * 1024
SILENCE_S = 30.0  # how long a caller may pause within an upload
NEEDED_EARLY = frozenset({"model", "prompt", "stream", "file"})  # read before anything is sent


class Stalled(InvalidRequest):
    """The caller began an upload and does not go on with it."""

    status = 408


class Upload:
    """The rest of a multipart body, from its file's first byte on. Read once, by the attempt that sends it.

    began    bytes of it have been given out, so that nobody else can have it
    ended    its last byte was read
    waiting  the caller is being waited for, not the provider
    fields   those that stood after the file, once it ended
    on_gone  called when the caller leaves in the middle of it
    """

    def __init__(self, receive: Receive, boundary: bytes, *, first: bytes, read: int, most_bytes: int) -> None:
        self._receive, self._rest = receive, bytearray(first)
        self._end = b"\r\n--" + boundary
        self._read, self._most_bytes = read, most_bytes
        self._more = True
        self.began = self.ended = self.waiting = False
        self.fields: dict[str, Any] = {}
        self.on_gone: Callable[[], None] | None = None

    async def pieces(self) -> AsyncIterator[bytes]:
        """The file's bytes as they come. Raises InvalidRequest, TooLarge, and Gone."""
        self.began = True
        rest, end = self._rest, self._end
        while (found := rest.find(end)) < 0:
            if (ready := len(rest) - len(end)) > 0:  # what may be the beginning of its end stays
                piece = bytes(rest[:ready])
                del rest[:ready]
                yield piece
            if not await self._take():
                raise InvalidRequest("The multipart body does not end.")
        if found:
            yield bytes(rest[:found])
        del rest[:found]
        await self._finish()

    async def _finish(self) -> None:
        """Read what stands after the file."""
        while await self._take():
            if len(self._rest) > TAIL_BYTES:
                raise InvalidRequest("The fields after the recording are too long; send them before it.", param="file")
        parts = bytes(self._rest).split(self._end)
        self._rest.clear()
        self.ended = True
        if not parts[-1].startswith(b"--") or len(parts) > FIELDS_MOST:
            raise InvalidRequest("The multipart body does not end, or holds too many fields.")
        for part in parts[1:-1]:
            name, value = field_of(part)
            if name in NAMES or name in NEEDED_EARLY or isinstance(value, dict):
                raise InvalidRequest(
                    f"The field {name} stands after the recording, which was on its way before it came.",
                    param=name,
                    hint="Send all fields before the file.",
                )
            add_field(self.fields, name, value)

    async def _take(self) -> bool:
        """Wait for the next piece of the body; False at its end."""
        if not self._more:
            return False
        self.waiting = True
        try:
            async with asyncio.timeout(SILENCE_S):
                message = await self._receive()
        except TimeoutError:
            raise Stalled(f"Nothing more of the upload came for {SILENCE_S:g} s.") from None
        finally:
            self.waiting = False
        if message["type"] == "http.disconnect":
            if self.on_gone is not None:
                self.on_gone()
            raise Gone
        self._rest += message.get("body", b"")
        self._read += len(message.get("body", b""))
        if self._read > self._most_bytes:
            raise TooLarge(f"The body has more than the {self._most_bytes} bytes that are allowed.")
        self._more = bool(message.get("more_body"))
        return True


async def form_of(
    receive: Receive, headers: Mapping[str, str], most_bytes: int
) -> tuple[dict[str, Any], "Upload | None"]:
    """The fields of a multipart body, and its file as an upload where it is passed on as it comes.

    Raises what `body_of` and `form_fields` raise.
    """
    length = allowed_length(headers, most_bytes)
    kind = headers.get("content-type", "")
    boundary = boundary_of(kind)
    if length is not None and length <= WHOLE_BYTES:
        return form_fields(await body_of(receive, headers, most_bytes), kind), None
    head, more = bytearray(), True
    while more and len(head) <= HEAD_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        head += message.get("body", b"")
        more = bool(message.get("more_body"))
        if more and (opened := fields_before_file(bytes(head), boundary)) is not None:
            fields, start = opened
            upload = Upload(receive, boundary, first=bytes(head[start:]), read=len(head), most_bytes=most_bytes)
            return checked(fields), upload

    if not more:
        return form_fields(bytes(head), kind), None
    begun = [{"type": "http.request", "body": bytes(head), "more_body": True}]

    async def joined() -> dict[str, Any]:
        return begun.pop() if begun else await receive()

    return form_fields(await body_of(joined, headers, most_bytes), kind), None


def fields_before_file(body: bytes, boundary: bytes) -> tuple[dict[str, Any], int] | None:
    """The fields and where the file's first byte stands, if a body that begins so can be passed on as it comes."""
    delimiter = b"\r\n--" + boundary
    text = b"\r\n" + body
    fields: dict[str, Any] = {}
    place = text.find(delimiter)
    while place == 0 or (place > 0 and fields):
        begin = place + len(delimiter)
        if (blank := text.find(b"\r\n\r\n", begin)) < 0:
            return None
        name, value = field_of(text[begin : blank + 4])
        if isinstance(value, dict):
            if name != "file" or not isinstance(fields.get("model"), str):
                return None
            del value["data"]
            fields["file"] = value
            return fields, blank + 4 - 2
        if (place := text.find(delimiter, blank)) < 0:
            return None
        name, value = field_of(text[begin:place])
        add_field(fields, name, value)
    return None
