"""A provider that keeps what it was sent, byte for byte, and says it again in the caller's form, cut as told."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}


class Echo:
    """The server. `sent` holds the bodies of all requests; `cut` is the length of a stream's pieces."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.cut = 7
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                owner.sent.append(raw)
                body = json.loads(raw)
                kind, answer = owner.answer(self.path, body)
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> "Echo":
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[str, bytes]:
        text = said(body)
        if path.endswith("/messages"):
            form = Messages
        elif path.endswith("/responses"):
            form = Responses
        elif path.endswith("/completions") and "prompt" in body:
            form = Completions
        elif path.endswith("/chat/completions"):
            form = ToolCalls if body.get("tools") else Chat
        else:
            return "application/json", json.dumps(plain_answer(path)).encode()
        if not body.get("stream"):
            return "application/json", json.dumps(form.whole(text)).encode()
        pieces = [text[at : at + self.cut] for at in range(0, len(text), self.cut)]
        return "text/event-stream", b"".join(form.stream(pieces))


def plain_answer(path: str) -> dict[str, Any]:
    if path.endswith("/embeddings"):
        data = [{"object": "embedding", "index": 0, "embedding": [0.1]}]
        return {"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    if path.endswith("/rerank"):
        return {
            "id": "r",
            "results": [{"index": 0, "relevance_score": 0.5}],
            "meta": {"billed_units": {"search_units": 1}},
        }
    if path.endswith("/moderations"):
        return {"id": "m", "model": "m", "results": [{"flagged": False, "categories": {}, "category_scores": {}}]}
    return {"created": 1, "data": [{"b64_json": "aGk="}]}


def said(value: Any) -> str:
    """The text of the last message, input or prompt."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return said(value[-1])
    for name in ("messages", "input", "prompt", "content", "text"):
        if name in value:
            return said(value[name])
    return ""


def data(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


def named(event: dict[str, Any]) -> bytes:
    return b"event: " + event["type"].encode() + b"\n" + data(event)


class Chat:
    @staticmethod
    def whole(text: str) -> dict[str, Any]:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}

    @staticmethod
    def stream(pieces: list[str]) -> Iterator[bytes]:
        for delta, finish in (*(({"content": piece}, None) for piece in pieces), ({}, "stop")):
            yield data(chunk(delta, finish))
        yield data({**chunk({}, None), "choices": [], "usage": USAGE})
        yield b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


class ToolCalls:
    """Says the text as the arguments of a tool call, with < and > escaped as some encoders do."""

    @staticmethod
    def arguments(text: str) -> str:
        return json.dumps({"text": text}).replace("<", "\\u003c").replace(">", "\\u003e")

    @classmethod
    def whole(cls, text: str) -> dict[str, Any]:
        called = {"id": "call_1", "type": "function", "function": {"name": "say", "arguments": cls.arguments(text)}}
        message = {"role": "assistant", "content": None, "tool_calls": [called]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        return {**Chat.whole(""), "choices": [choice]}

    @classmethod
    def stream(cls, pieces: list[str]) -> Iterator[bytes]:
        whole, size = cls.arguments("".join(pieces)), max(1, len(pieces[0]))
        first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "say", "arguments": ""}}
        yield data(chunk({"tool_calls": [first]}, None))
        for at in range(0, len(whole), size):
            yield data(chunk({"tool_calls": [{"index": 0, "function": {"arguments": whole[at : at + size]}}]}, None))
        yield data(chunk({}, "tool_calls"))
        yield data({**chunk({}, None), "choices": [], "usage": USAGE})
        yield b"data: [DONE]\n\n"


class Completions:
    @staticmethod
    def whole(text: str) -> dict[str, Any]:
        choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}
        return {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}

    @classmethod
    def stream(cls, pieces: list[str]) -> Iterator[bytes]:
        head = {name: value for name, value in cls.whole("").items() if name not in ("choices", "usage")}
        for text, finish in (*((piece, None) for piece in pieces), ("", "stop")):
            yield data({**head, "choices": [{"index": 0, "text": text, "finish_reason": finish, "logprobs": None}]})
        yield data({**head, "choices": [], "usage": USAGE})
        yield b"data: [DONE]\n\n"


class Messages:
    @staticmethod
    def whole(text: str) -> dict[str, Any]:
        usage = {"input_tokens": 5, "output_tokens": 5}
        head = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None, "usage": usage}
        return {**head, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}

    @classmethod
    def stream(cls, pieces: list[str]) -> Iterator[bytes]:
        head = {**cls.whole(""), "content": [], "stop_reason": None}
        yield named({"type": "message_start", "message": head})
        yield named({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        for piece in pieces:
            yield named({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}})
        yield named({"type": "content_block_stop", "index": 0})
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        yield named({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}})
        yield named({"type": "message_stop"})


class Responses:
    @staticmethod
    def item(text: str, status: str = "completed") -> dict[str, Any]:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        return {"type": "message", "id": "msg_1", "role": "assistant", "status": status, "content": content}

    @classmethod
    def whole(cls, text: str) -> dict[str, Any]:
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        usage = {"input_tokens": 5, "output_tokens": 5, "total_tokens": 10, **details}
        head = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed"}
        return {
            **head,
            "output": [cls.item(text)],
            "usage": usage,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }

    @classmethod
    def stream(cls, pieces: list[str]) -> Iterator[bytes]:
        text = "".join(pieces)
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        part = {"type": "output_text", "text": "", "annotations": []}
        events: list[dict[str, Any]] = [
            {
                "type": "response.created",
                "response": {**cls.whole(""), "status": "in_progress", "output": [], "usage": None},
            },
            {"type": "response.output_item.added", "output_index": 0, "item": {**cls.item(""), "content": []}},
            {"type": "response.content_part.added", **place, "part": part},
            *({"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []} for piece in pieces),
            {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
            {"type": "response.content_part.done", **place, "part": {**part, "text": text}},
            {"type": "response.output_item.done", "output_index": 0, "item": cls.item(text)},
            {"type": "response.completed", "response": cls.whole(text)},
        ]
        for number, event in enumerate(events):
            yield named({**event, "sequence_number": number})
