"""Sound through a running server: passed on as it comes, in both directions, and never held whole."""

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import openai
import pytest

from tests.installation import KEY, Installation

MIB = 1024 * 1024
LARGE = 50 * MIB
PIECE = bytes(range(256)) * 256  # 64 KiB
HELD_MOST = 25 * MIB  # half of what passes; what is held in truth is some hundred KiB, and memory is a rough measure
EVENTS = [
    {"type": "transcript.text.delta", "delta": "hello"},
    {"type": "transcript.text.done", "text": "hello", "usage": {"input_tokens": 9, "output_tokens": 2}},
]

CONFIGURATION = """
version: 1
providers:
  - name: sound
    kind: openai
    base_url: {url}/v1
    credentials: [{{name: main, secret: {{env: UPSTREAM_SECRET}}}}]
models:
  - {{name: voice, provider: sound, upstream: tts, kind: audio, price: {{input: "1.00", output: "0"}}}}
  - {{name: ears, provider: sound, upstream: whisper, kind: audio, price: {{input: "1.00", output: "1.00"}}}}
workspaces:
  - {{name: acme, keys: [{{name: all, secret: {{env: KEY}}}}]}}
"""


class Sound(BaseHTTPRequestHandler):
    """A provider that speaks and listens. What it is told stands in the body's `input` or the form's `language`."""

    protocol_version = "HTTP/1.1"
    go_on = threading.Event()
    first_bytes_at = 0.0

    def log_message(self, *arguments: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        if self.path == "/v1/audio/speech":
            length = int(self.headers["content-length"])
            self.speak(json.loads(self.rfile.read(length))["input"])
        else:
            self.listen()

    def speak(self, wanted: str) -> None:
        if wanted == "short":
            self.answer("audio/wav", b"RIFF short")
            return
        self.send_response(200)
        self.send_header("content-type", "audio/flac")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.chunk(PIECE)
        if wanted == "cut":
            self.close_connection = True
            return
        if wanted == "wait":
            self.go_on.wait(20)
        for _ in range(LARGE // len(PIECE) - 1):
            self.chunk(PIECE)
        self.chunk(b"")

    def listen(self) -> None:
        got, seen = 0, bytearray()
        while (size := int(self.rfile.readline(), 16)) if "chunked" in str(self.headers["transfer-encoding"]) else 0:
            type(self).first_bytes_at = self.first_bytes_at or time.monotonic()
            data = self.rfile.read(size)
            self.rfile.readline()
            got += size
            seen = seen[:2000] + (seen[2000:] + data)[-2000:]
        if length := int(self.headers.get("content-length") or 0):
            seen += self.rfile.read(length)
            got = length
        else:
            self.rfile.readline()
        if b'name="stream"' in seen:
            self.answer("text/event-stream", b"".join(b"data: %b\n\n" % json.dumps(e).encode() for e in EVENTS))
            return
        named = re.findall(rb'name="([\w\[\]]+)"', bytes(seen))
        self.answer("application/json", json.dumps({"text": f"{got}", "fields": [n.decode() for n in named]}).encode())

    def answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


@pytest.fixture(scope="module")
def gateway() -> Iterator[Installation]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Sound) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Installation(MAX_BODY_BYTES=str(2 * LARGE)) as installation:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            installation.apply(CONFIGURATION.format(url=url), KEY=KEY, UPSTREAM_SECRET="sk-upstream")
            yield installation.start()
        server.shutdown()


@pytest.fixture
def gpt(gateway: Installation) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=KEY, base_url=f"{gateway.url}/v1", max_retries=0) as client:
        yield client


def peak(gateway: Installation) -> int:
    """The most memory, in bytes, that the server has used since `forget_peak`."""
    status = Path(f"/proc/{gateway.processes[0].pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024


def forget_peak(gateway: Installation) -> None:
    Path(f"/proc/{gateway.processes[0].pid}/clear_refs").write_text("5")


def test_long_speech_passes_through_without_being_held(gateway, gpt):
    speech = gpt.audio.speech.with_streaming_response
    with speech.create(model="voice", voice="alloy", input="short") as warm:
        assert (warm.read(), warm.headers["content-type"]) == (b"RIFF short", "audio/wav")
        assert warm.headers["x-tollgate-cost-usd"]
    forget_peak(gateway)
    before, got = peak(gateway), 0
    with speech.create(model="voice", voice="alloy", input="long") as answer:
        assert answer.headers["content-type"] == "audio/flac"
        for piece in answer.iter_bytes():
            got += len(piece)
    assert got == LARGE
    assert peak(gateway) - before < HELD_MOST


def test_the_first_sound_is_heard_while_the_provider_still_speaks(gpt):
    Sound.go_on.clear()
    with gpt.audio.speech.with_streaming_response.create(model="voice", voice="alloy", input="wait") as answer:
        pieces = answer.iter_bytes(1000)
        assert next(pieces) == PIECE[:1000]
        Sound.go_on.set()
        assert 1000 + sum(map(len, pieces)) == LARGE


def test_speech_that_breaks_off_does_not_look_complete(gateway):
    body = {"model": "voice", "voice": "alloy", "input": "cut"}
    headers = {"authorization": f"Bearer {KEY}"}
    with (
        pytest.raises(httpx.RemoteProtocolError),
        httpx.stream("POST", f"{gateway.url}/v1/audio/speech", json=body, headers=headers) as answer,
    ):
        answer.read()


def test_a_long_recording_passes_through_without_being_held(gateway, gpt):
    forget_peak(gateway)
    before = peak(gateway)
    heard = gpt.audio.transcriptions.create(model="ears", file=("a.wav", PIECE * (LARGE // len(PIECE))), language="en")
    assert LARGE < int(heard.text) < LARGE + 1000
    assert peak(gateway) - before < HELD_MOST


def test_a_recording_reaches_the_provider_while_it_still_comes_and_fields_after_it_too(gateway):
    Sound.first_bytes_at = 0.0
    before = (
        b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nears\r\n'
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    )
    after = b'\r\n--b\r\ncontent-disposition: form-data; name="temperature"\r\n\r\n0\r\n--b--\r\n'
    sent = 0.0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        yield before
        for _ in range(40):
            yield PIECE
        deadline = time.monotonic() + 20
        while not Sound.first_bytes_at and time.monotonic() < deadline:
            time.sleep(0.02)
        sent = time.monotonic()
        yield after

    headers = {"authorization": f"Bearer {KEY}", "content-type": "multipart/form-data; boundary=b"}
    answer = httpx.post(f"{gateway.url}/v1/audio/transcriptions", content=pieces(), headers=headers, timeout=60)
    assert answer.json()["fields"][-1] == "temperature"
    assert 0 < Sound.first_bytes_at < sent


def test_a_caller_who_leaves_in_the_middle_of_a_recording_is_recorded_so_and_blames_nobody(gateway, gpt):
    head = (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n"
        f"authorization: Bearer {KEY}\r\ncontent-type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nears\r\n'
        '--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    )
    with socket.create_connection(("127.0.0.1", gateway.port)) as caller:
        caller.sendall(head.encode() + PIECE * 20)
        time.sleep(0.5)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        newest = json.loads(gateway.manage("calls", "--workspace", "acme", "--jsonl").stdout.splitlines()[0])
        if newest["outcome"] == "client_left":
            break
        time.sleep(0.2)
    assert (newest["outcome"], newest["status"]) == ("client_left", 499)
    assert gpt.audio.transcriptions.create(model="ears", file=("a.wav", b"x" * 100)).text


def test_a_streamed_transcript_comes_in_events(gpt):
    for size in (100, 3 * MIB):
        with gpt.audio.transcriptions.create(model="ears", file=("a.wav", b"x" * size), stream=True) as stream:
            assert [event.to_dict() for event in stream] == EVENTS


def test_an_upload_that_is_refused_before_it_is_read_is_answered(gateway):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    body = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nnobody\r\n'
    body += (
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + PIECE * 40 + b"\r\n--b--\r\n"
    )
    headers = {"authorization": f"Bearer {KEY}", "content-type": "multipart/form-data; boundary=b"}
    connection.request("POST", "/v1/audio/transcriptions", body, headers)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (404, "model_not_found")
    connection.close()
