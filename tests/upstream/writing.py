"""Writes one answer of the upstream, with its fault."""

import asyncio
import gzip
import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

from tests.upstream import answers
from tests.upstream.meter import Reading
from tests.upstream.script import Script

PAGE = b"<!doctype html><html><body><h1>Bad gateway</h1></body></html>"


class Hangup(Exception):
    """The connection is over, by script."""


class Answering:
    """Writes the answer to one request, with its fault."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reading: Reading, wanted: Script
    ) -> None:
        self.reader, self.writer, self.reading, self.wanted = reader, writer, reading, wanted

    async def write(self) -> None:
        wanted, reading, body = self.wanted, self.reading, self.reading.body
        if wanted.delay_s:
            await self._wait(wanted.delay_s)
        if wanted.bill == "full":
            reading.input, reading.output = answers.prompt_tokens(body), len(answers.words(wanted, body)[0])
        if await self._instead():
            return
        if reading.path.endswith("/embeddings"):
            reading.input = answers.prompt_tokens(body)
            await self._finish(json.dumps(answers.embeddings(body)).encode())
        elif reading.stream:
            await self._stream()
        else:
            await self._completion()

    async def _instead(self) -> bool:
        """Faults that take the place of the answer's head. True when the request is answered with that."""
        wanted = self.wanted
        if wanted.from_token() is None and wanted.fault in {"hang", "reset"}:
            await self._strike()
        if wanted.fault == "status":
            extra = {} if wanted.retry_after is None else {"retry-after": str(wanted.retry_after)}
            await self._send(wanted.status, answers.error(wanted), wanted.headers | extra)
        elif wanted.fault == "redirect":
            await self._send(302, b"", {"location": wanted.location})
        elif wanted.fault == "html":
            await self._send(200, PAGE, {"content-type": "text/html"})
        elif wanted.fault == "garbage":
            await self._send(200, b"\x00\xff\xfe not json {", {})
        elif wanted.fault == "empty":
            await self._send(200, b"", {})
        elif wanted.fault == "gzip_bomb":
            await self._send(200, gzip.compress(bytes(wanted.size)), {"content-encoding": "gzip"})
        elif wanted.fault == "raw":
            raw = wanted.body.encode() if isinstance(wanted.body, str) else wanted.body
            await self._send(wanted.status, raw, wanted.headers)
        else:
            return False
        return True

    async def _completion(self) -> None:
        wanted, reading, body = self.wanted, self.reading, self.reading.body
        said, finish = answers.words(wanted, body)
        for _ in said:
            await self._wait(wanted.token_delay_s)
        reading.input, reading.output = answers.prompt_tokens(body), len(said) * (body.get("n") or 1)
        raw = json.dumps(answers.completion(reading.number, body, wanted, said, finish)).encode()
        if wanted.fault == "truncated_json":
            await self._send(200, raw[: len(raw) // 2], {})
        elif wanted.fault in {"cut", "reset", "hang"}:
            self.writer.write(head(200, {"content-type": "application/json", "content-length": str(len(raw))}))
            self.writer.write(raw[: len(raw) // 2])
            await self.writer.drain()
            await self._strike()
        elif wanted.fault in {"garbage_event", "error_event", "cut_clean"}:
            await self._send(200, answers.error(wanted) if wanted.fault == "error_event" else raw[:-40], {})
        else:
            await self._finish(raw)

    async def _stream(self) -> None:
        wanted, reading, body = self.wanted, self.reading, self.reading.body
        said, finish = answers.words(wanted, body)
        chunks = answers.Chunks(reading.number, body, wanted)
        strikes = wanted.from_token() if wanted.fault else None
        self.writer.write(head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        reading.status, reading.input = 200, answers.prompt_tokens(body)
        await self._event(chunks.first())
        if wanted.tool_calls is not None:
            await self._event(chunks.calls())
            said, finish = [], "tool_calls"
        for made, word in enumerate(said if wanted.fault != "unlimited" else endless(said)):
            if made == strikes:
                await self._strike()
            await self._wait(wanted.token_delay_s)
            if wanted.bill != "full":
                reading.output = made + 1
            await self._event(chunks.token(word, made + 1))
        late = strikes is None or strikes >= len(said)  # it strikes at the end, or at a token that never came
        if wanted.fault and wanted.fault != "unlimited" and late:
            await self._strike()
        await self._event(chunks.last(finish, len(said)))
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()
        reading.finished = True

    async def _strike(self) -> None:
        """The fault itself, at the place that the script names. Returns where the answer goes on after it."""
        fault = self.wanted.fault
        if fault == "hang":
            await self._wait(3600)
        elif fault == "reset":
            await self.writer.drain()
            reset(self.writer)
            raise Hangup
        elif fault == "cut":
            await self.writer.drain()
            raise Hangup
        elif fault in {"cut_clean", "truncated_json"}:
            self.writer.write(b"0\r\n\r\n")
            await self.writer.drain()
            raise Hangup
        elif fault == "garbage_event":
            await self._event(b'data: {"choices":[{"delta":{"cont\n\n')
        elif fault == "error_event":
            await self._event(b"data: " + answers.error(self.wanted) + b"\n\n")
            raise Hangup
        elif fault == "giant_event":
            await self._event(b'data: {"x":"' + b"x" * self.wanted.size + b'"}\n\n')
        elif fault == "comments":
            for _ in range(self.wanted.size // 1000):
                await self._event(b": ping\n\n" * 1000)

    async def _event(self, event: bytes) -> None:
        cut = self.wanted.slice_at
        for piece in (event,) if cut is None else (event[:cut], event[cut:]):
            if piece:
                self.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await self._drain()
                if cut is not None:
                    await asyncio.sleep(0.001)

    async def _finish(self, raw: bytes) -> None:
        await self._send(200, raw, {})
        self.reading.finished = True

    async def _send(self, status: int, raw: bytes, headers: dict[str, str]) -> None:
        self.reading.status = status
        if self.wanted.drip_bytes is None:
            await whole(self.writer, status, raw, headers)
            return
        named = {"content-type": "application/json", **headers, "content-length": str(len(raw))}
        self.writer.write(head(status, named))
        for start in range(0, len(raw), self.wanted.drip_bytes):
            self.writer.write(raw[start : start + self.wanted.drip_bytes])
            await self._drain()
            await self._wait(self.wanted.drip_s)

    async def _wait(self, seconds: float) -> None:
        """Wait, but no longer than the client stays."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.02))
            self._look()

    async def _drain(self) -> None:
        self._look()
        try:
            await self.writer.drain()
        except ConnectionError:
            self.reading.hung_up = True
            raise

    def _look(self) -> None:
        if self.reader.at_eof() or self.reader.exception() is not None or self.writer.transport.is_closing():
            self.reading.hung_up = True
            raise Hangup


def endless(said: list[str]) -> Iterator[str]:
    while True:
        yield from said


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode("latin-1")


async def whole(writer: asyncio.StreamWriter, status: int, raw: bytes, headers: dict[str, str] | None = None) -> None:
    named = {"content-type": "application/json", **(headers or {}), "content-length": str(len(raw))}
    writer.write(head(status, named) + raw)
    await writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST instead of a FIN."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
