"""The official SDKs against a form and an adapter, with a recorded or written answer of the provider behind them.

Nothing listens: an SDK's request goes into the form, from there through the adapter, and the answer back the same way.
"""

import json
from importlib import import_module
from typing import Any

import anthropic
import openai

from gateway.core.call import Call, Target, Usage
from gateway.core.errors import GatewayError
from gateway.core.forms import Form
from gateway.edge import controls
from gateway.edge.audio import MULTIPART_FORMS, form_fields, media_type
from gateway.edge.endpoints import FORMS
from gateway.providers import provider_of, speaks

NANOS = 1_500_000_000


class Gateway:
    """Answers each request with `answer`: a body (whole) or the text of a stream. Keeps what was sent in `sent`."""

    def __init__(self, answer: str, kind: str = "openai", status: int = 200, **quirks: Any) -> None:
        self.answer, self.status = answer.encode(), status
        url = "http://provider.example/v1"
        self.target = Target("public", "provider", kind, url, "theirs", secret="s", quirks=quirks)
        self.sent: Any = None
        self.written = b""

    def handle(self, path: str, content: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        """(status, body, headers) of an answer."""
        form = FORMS[path]
        try:
            audio = form.name in MULTIPART_FORMS
            given = form_fields(content, headers["content-type"]) if audio else json.loads(content)
            body, kind = self.reply(form, given, headers)
            return 200, body, {"content-type": kind}
        except GatewayError as error:
            return error.status, form.error(error, "call-1"), {"content-type": "application/json"}

    def reply(self, form: Form, given: dict[str, Any], headers: dict[str, str]) -> tuple[bytes, str]:
        read, body = controls.read(given, headers, form.name)
        call = Call("call-1", form, body, model=body["model"], stream=bool(body.get("stream")), controls=read)
        call.include_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        provider = provider_of(self.target)
        spoken = form.name if speaks(self.target, form.name) else "chat"
        asked = call.body if spoken == form.name else call.canonical()
        out = provider.request(asked, spoken, self.target, stream=call.stream)
        kind = out.headers["content-type"]
        self.sent = form_fields(out.body, kind) if kind.startswith("multipart") else json.loads(out.body)
        if self.status != 200:
            raise provider.error(self.status, {}, self.answer)
        if not call.stream:
            delta = provider.answer(self.answer, spoken, self.target)
            call.note(delta)
            call.cost_nanos = NANOS
            return form.whole(call, delta), media_type(call).decode()
        self.written = stream(call, provider.reader(spoken, self.target), self.answer)
        return self.written, "text/event-stream"

    def client(self, sdk: Any) -> Any:
        """An HTTP client for an SDK, of the library that it is built on (httpx, or httpx2)."""
        library = import_module(sdk.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])

        def answered(request: Any) -> Any:
            status, body, headers = self.handle(request.url.path, request.content, dict(request.headers))
            return library.Response(status, content=body, headers=headers)

        return library.Client(transport=library.MockTransport(answered))

    @property
    def openai(self) -> openai.OpenAI:
        http = self.client(openai)
        return openai.OpenAI(api_key="k", base_url="http://gateway/v1", http_client=http, max_retries=0)

    @property
    def anthropic(self) -> anthropic.Anthropic:
        http = self.client(anthropic)
        return anthropic.Anthropic(api_key="k", base_url="http://gateway", http_client=http, max_retries=0)


def stream(call: Call, reader: Any, answer: bytes) -> bytes:
    """The bytes that a client gets for a stream."""
    writer = call.form.writer(call)
    out = b""
    try:
        for delta in [*reader.feed(answer), *reader.end()]:
            call.note(delta)
            out += writer.delta(delta)
    except GatewayError as error:
        return out + writer.error(error)
    call.cost_nanos = NANOS
    return out + writer.end()


def call_of(path: str = "/v1/chat/completions", usage: Usage | None = None, **fields: Any) -> Call:
    """A call in the form of this path, as if it had been answered."""
    call = Call("call-1", FORMS[path], fields.pop("body", {}), model="public", **fields)
    call.at, call.usage = 1_700_000_000.0, usage or Usage()
    return call


def sse(*chunks: dict[str, Any], done: bool = True) -> str:
    """A stream of chunks as OpenAI sends them."""
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + ("data: [DONE]\n\n" if done else "")
