"""A provider that fails on command: OpenAI-shaped, raw asyncio, with its own token meter.

In a test, in a thread of its own:

    with Upstream() as upstream:                 # upstream.url is its base_url, ending in /v1
        upstream.always(fault="status", status=503)
        ...
        assert upstream.meter.requests == 3

As a program: `python -m tests.upstream --port 18250`. `POST /_control` scripts it, with `{"always": {…}}`,
`{"once": [{…}]}`, `{"for_model": {"m": {…}}}`, `{"for_key": {"k": {…}}}`, `{"down": true}` or `{"reset": true}`;
`GET /_control` reads the meter.
"""

import asyncio
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.upstream.meter import Meter
from tests.upstream.script import Script, script, script_in
from tests.upstream.writing import Answering, Hangup, reset, whole

LONGEST_HEAD = 256 * 1024


class Upstream:
    """The server. Its public methods may be called from any thread."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host, self.port = host, port
        self.meter = Meter()
        self.default = Script()
        self.queue: deque[Script] = deque()
        self.models: dict[str, Script] = {}
        self.keys: dict[str, Script] = {}
        self.open = 0  # answers being written now
        self.most_open = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # --- scripting -----------------------------------------------------------------------------------

    def always(self, **fields: Any) -> None:
        """What every request gets that nothing else speaks for. Without fields: a plain answer."""
        self.default = script(fields)

    def once(self, **fields: Any) -> None:
        """What the next request without an own script gets; may be called again for the one after."""
        self.queue.append(script(fields))

    def for_model(self, model: str, **fields: Any) -> None:
        self.models[model] = script(fields)

    def for_key(self, key: str, **fields: Any) -> None:
        """For requests with this credential."""
        self.keys[key] = script(fields)

    def replay(self, status: int, content_type: str, body: str | bytes, **fields: Any) -> None:
        """Answer every request with these recorded bytes, whatever its path."""
        self.always(fault="raw", status=status, headers={"content-type": content_type}, body=body, **fields)

    def forget(self) -> None:
        """Back to plain answers and an empty meter."""
        self.default = Script()
        self.queue.clear()
        self.models.clear()
        self.keys.clear()
        self.meter.clear()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    # --- life ------------------------------------------------------------------------------------------

    def __enter__(self) -> "Upstream":
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="upstream", daemon=True)
        self._thread.start()
        ready.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        loop, thread = self._loop, self._thread
        assert loop is not None
        assert thread is not None
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)

    def down(self) -> None:
        """Refuse connections from now on and reset those that are open. `up` brings it back on the same port."""
        self._call(self._down())

    def up(self) -> None:
        self._call(self.listen())

    def _call(self, work: Any) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _run(self, ready: threading.Event) -> None:
        loop = self._loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self.listen())
            ready.set()
            loop.run_forever()
        finally:
            loop.run_until_complete(self._down())
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    async def listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._connection, self.host, self.port, limit=LONGEST_HEAD, backlog=2048, reuse_address=True
            )
            self.port = self._server.sockets[0].getsockname()[1]

    async def _down(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- one connection --------------------------------------------------------------------------------

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._request(reader, writer):
                pass
        except asyncio.CancelledError:
            reset(writer)
        except (Hangup, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._tasks.discard(task)
            with suppress(OSError, RuntimeError):
                writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request and answer it; False when the connection ends."""
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            body = {}
        if path == "/_control":
            await whole(writer, 200, await self._control(method, body))
            return True
        if method == "GET" and path.endswith("/models"):
            await whole(writer, 200, b'{"object":"list","data":[]}')
            return True
        key = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("x-api-key", "")
        reading = self.meter.begin(
            path=path,
            key=key,
            model=str(body.get("model", "")),
            stream=bool(body.get("stream")),
            body=body,
            headers=headers,
            at=time.time(),
        )
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await Answering(reader, writer, reading, self._script(body, key)).write()
            return True
        finally:
            self.open -= 1

    def _script(self, body: dict[str, Any], key: str) -> Script:
        model = str(body.get("model", ""))
        if (own := script_in(body, model)) is not None:
            return own
        if self.queue:
            return self.queue.popleft()
        return self.keys.get(key) or self.models.get(model) or self.default

    async def _control(self, method: str, body: dict[str, Any]) -> bytes:
        if method == "GET":
            return json.dumps({"readings": self.meter.as_json(), "most_open": self.most_open}).encode()
        if body.get("reset"):
            self.forget()
        if "always" in body:
            self.default = script(body["always"])
        self.queue.extend(map(script, body.get("once", ())))
        self.models.update({name: script(value) for name, value in body.get("for_model", {}).items()})
        self.keys.update({name: script(value) for name, value in body.get("for_key", {}).items()})
        if body.get("down"):
            asyncio.get_running_loop().create_task(self._down())
        return b"{}"


@contextmanager
def unconnectable() -> Iterator[str]:
    """A base_url whose connections neither open nor fail: the listener's queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        try:
            yield f"http://127.0.0.1:{address[1]}/v1"
        finally:
            for each in waiting:
                each.close()


@contextmanager
def refusing() -> Iterator[str]:
    """A base_url whose connections are refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound but not listening: nobody else gets the port
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"
