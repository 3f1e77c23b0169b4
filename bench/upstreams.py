"""The mocks that stand for providers: nginx for whole answers, a small asyncio server for streams."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.processes import Child, need, wait_for_port

ANSWER = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 1,
    "model": "bench",
    "choices": [
        {"index": 0, "finish_reason": "stop", "logprobs": None, "message": {"role": "assistant", "content": "x" * 740}}
    ],
    "usage": {"prompt_tokens": 240, "completion_tokens": 160, "total_tokens": 400},
}
PLAIN = json.dumps(ANSWER).encode()
# Every text has this vector, so that to the semantic cache all questions are alike.
VECTOR = {
    "object": "list",
    "model": "bench",
    "data": [
        {"object": "embedding", "index": 0, "embedding": [round(0.01 * (place % 17) - 0.08, 4) for place in range(384)]}
    ],
    "usage": {"prompt_tokens": 240, "total_tokens": 240},
}
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; client_body_buffer_size 256k;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream mock {{ server 127.0.0.1:{port}; keepalive 256; }}
  server {{ listen 127.0.0.1:{port} backlog=8192; default_type application/json;
    location / {{ return 200 '{answer}'; }} location = /v1/embeddings {{ return 200 '{vector}'; }}
  }}
  server {{
    listen 127.0.0.1:{proxy} backlog=8192;
    location / {{ proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
CHUNKS = 50
GAP_SECONDS = 0.02


def nginx(port: int, proxy: int, cores: list[int]) -> Child:
    """nginx as the provider on `port`, and as a plain reverse proxy before it on `proxy`."""
    folder = tempfile.mkdtemp(prefix="tollgate-bench-")
    config = Path(folder) / "nginx.conf"
    config.write_text(
        NGINX.format(folder=folder, port=port, proxy=proxy, answer=json.dumps(ANSWER), vector=json.dumps(VECTOR))
    )
    child = Child([need("nginx"), "-c", str(config), "-p", folder], cores)
    wait_for_port(port)
    return child


def openai_events() -> list[bytes]:
    """A stream of 50 chunks in OpenAI's form, its usage and its end."""
    base = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
    chunks: list[dict[str, object]] = [
        {**base, "choices": [{"index": 0, "delta": {"content": f"word{number} "}, "finish_reason": None}]}
        for number in range(CHUNKS)
    ]
    chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append({**base, "choices": [], "usage": ANSWER["usage"]})
    return [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks] + [b"data: [DONE]\n\n"]


def anthropic_events() -> list[bytes]:
    """The same answer in Anthropic's form."""
    usage = {"input_tokens": 240, "output_tokens": 1}
    message = {"id": "msg_bench", "type": "message", "role": "assistant", "model": "bench", "content": []}
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": {**message, "stop_reason": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ]
    events += [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"word{number} "}}
        for number in range(CHUNKS)
    ]
    events += [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 160}},
        {"type": "message_stop"},
    ]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


class Streams:
    """Answers every request with a stream, one event every 20 ms: Anthropic's at /v1/messages, else OpenAI's."""

    def __init__(self) -> None:
        self._openai, self._anthropic = openai_events(), anthropic_events()

    async def serve(self, port: int) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", port, backlog=4096)
        async with server:
            await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
                )
                await reader.readexactly(length)
                events = self._anthropic if b" /v1/messages" in head else self._openai
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                )
                for event in events:
                    if writer.transport.is_closing():
                        return  # the gateway hung up
                    writer.write(b"%x\r\n%s\r\n" % (len(event), event))
                    await asyncio.sleep(GAP_SECONDS)
                writer.write(b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def plain(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[..., Awaitable[None]]
) -> None:
    """An ASGI app that reads the request and answers it with ANSWER: what the HTTP server costs without a gateway."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(PLAIN))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": PLAIN})


def uvicorn(port: int, cores: list[int]) -> Child:
    """`plain` on `port`, under the HTTP server that the gateway runs under."""
    command = [sys.executable, "-m", "uvicorn", "bench.upstreams:plain", "--port", str(port), "--no-access-log"]
    child = Child([*command, "--log-level", "warning", "--lifespan", "off"], cores)
    wait_for_port(port)
    return child


if __name__ == "__main__":
    asyncio.run(Streams().serve(int(sys.argv[1])))
