"""The edge and the whole path of a call in this process: no sockets, no server, no writer, a provider that is a function.

Needs a database to compile a configuration from. For tests that count what a call does, and for the bench.
"""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from audit.bodies import BodySealer
from audit.journal import Journal
from audit.recorder import Recorder
from budgets.ledger.memory import MemoryLedger
from gateway.caching.memory import MemoryStore
from gateway.compiler import compile_configuration
from gateway.configuration import Services
from gateway.core.holder import Holder
from gateway.counters.memory import MemoryCounters
from gateway.edge.app import Edge
from gateway.edge.endpoints import FORMS
from gateway.routing.send import Upstream
from gateway.telemetry.metrics import Metrics

WORDS = 50
USAGE = {"prompt_tokens": 200, "completion_tokens": 160, "total_tokens": 360}
BASE = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "bench"}
WHOLE = json.dumps(
    {
        **BASE,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 150}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
).encode()
VECTOR = json.dumps(
    {"model": "bench", "data": [{"index": 0, "embedding": [0.01 * (at % 17) - 0.08 for at in range(384)]}]}
).encode()
EVENTS = [
    {**BASE, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": f"word{number} "}}]}
    for number in range(WORDS)
] + [{**BASE, "object": "chat.completion.chunk", "choices": [], "usage": USAGE}]
STREAM = [f"data: {json.dumps(event)}\n\n".encode() for event in EVENTS] + [b"data: [DONE]\n\n"]


async def respond(outgoing: Any) -> tuple[int, Mapping[str, str], AsyncIterator[bytes]]:
    """The provider: one whole answer, a stream of 50 words, or the vector that every text has."""
    streamed = b'"stream":true' in outgoing.body

    whole = VECTOR if outgoing.url.endswith("/embeddings") else WHOLE

    async def pieces() -> AsyncIterator[bytes]:
        for piece in STREAM if streamed else [whole]:
            yield piece

    kind = "text/event-stream" if streamed else "application/json"
    return 200, {"content-type": kind} | ({} if streamed else {"content-length": str(len(whole))}), pieces()


class Line:
    """One request over ASGI: what the client sends, and in `sent` what came back."""

    def __init__(self, key: str, body: bytes, path: str = "/v1/chat/completions") -> None:
        self.body = body
        self.sent: list[dict[str, Any]] = []
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "client": ("127.0.0.1", 40_000),
            "headers": [
                (b"host", b"gateway"),
                (b"authorization", b"Bearer " + key.encode()),
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
            ],
        }

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def answer(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


class InProcess:
    """An edge that runs the database's configuration. Providers of the kind openai_compatible are `respond`."""

    def __init__(self, folder: Path, **services: Any) -> None:
        sealer = BodySealer(lambda secret, place: settings.KEYRING.seal(secret, place))
        self.journal = Journal(folder).open()
        held = {
            "upstream": Upstream(in_process={"openai_compatible": respond}),
            "counters": MemoryCounters(),
            "ledger": MemoryLedger(),
            "journal": Recorder(self.journal, sealer),
            "metrics": Metrics(),
            "store": MemoryStore(1 << 24),
        }
        self.services = Services(**(held | services))
        self.edge = Edge(
            Holder(compile_configuration(self.services, revision=1)), forms=FORMS, plain={}, most_bytes=1 << 20
        )

    async def run(self, line: Line) -> Line:
        await self.edge(line.scope, line.receive, line.send)
        return line
