"""Load: wrk for the closed loop, an asyncio client for the open loop and for streams."""

import asyncio
import itertools
import json
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import need

SCRIPT = """
wrk.method = "POST"
wrk.headers["authorization"] = "Bearer %(key)s"
wrk.headers["content-type"] = "application/json"
local first = %(first)d
local counter = first
local again = 501  -- more calls than are under way, and odd: what was asked so long ago was asked the first time
local body = [[%(body)s]]
local function spelt(number)
  return (string.gsub(tostring(number), "%%d", function(digit) return string.char(97 + tonumber(digit)) end))
end
request = function()
  counter = counter + 1
  local number = counter
  if counter > first + again and counter %% 2 == 0 then number = counter - again end
  return wrk.format(nil, nil, nil, (string.gsub(string.gsub(body, "NUMBER", spelt(counter)), "REPEAT", spelt(number))))
end
done = function(summary, latency, requests)
  local errors = summary.errors
  local shape = '\\nRESULT {"calls": %%d, "seconds": %%f, "bad_status": %%d, "broken": %%d, "p50_ms": %%f, "p99_ms": %%f}\\n'
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(shape, summary.requests, summary.duration / 1e6, errors.status, broken,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


SYSTEM = "You are a helpful assistant who answers briefly, names its sources and says when it does not know. " * 3
CONNECTIONS = 64
FIRSTS = itertools.count(100_000_000, 1_000_000)  # a load's numbers: what one asked is in the cache for the next one
QUESTION = "Order 20931 of 14 May came to the wrong door; what may the customer ask for, and until when? " * 5


def spelt(number: int) -> str:
    """A number in letters, a for 0: two questions with different digits are never like to the semantic cache."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


@dataclass(slots=True)
class Result:
    """What a load saw. Times in milliseconds; `all_ms` is of the open loop alone."""

    calls: int
    seconds: float
    errors: int
    p50_ms: float
    p99_ms: float
    first_ms: list[float] = field(default_factory=list)
    all_ms: list[float] = field(default_factory=list)


def body_of(model: str, *, unique: bool = True, **fields: object) -> str:
    """About 1 KB of chat completion; NUMBER makes each call its own."""
    asked = "What is the capital of each country in this list? NUMBER " if unique else "What is the capital of France? "
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked + QUESTION}]
    return json.dumps({"model": model, "messages": messages, "temperature": 0.2, "max_tokens": 160, **fields})


def closed(url: str, key: str, body: str, *, seconds: float = 6.0, cores: str = "", status: int = 200) -> Result:
    """wrk: as many calls as come back, so many at once. Errors are answers of another kind than `status`.

    NUMBER in the body makes each call its own among all loads of the run; REPEAT makes every second one ask what was
    asked 501 calls before.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT % {"key": key, "body": body, "first": next(FIRSTS)})
        script.flush()
        command = [need("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{int(seconds)}s", "-s", script.name, url]
        if cores:
            command = [need("taskset"), "-c", cores, *command]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    told = json.loads(next(line for line in printed.splitlines() if line.startswith("RESULT"))[7:])
    wrong = told["bad_status"] if status < 400 else told["calls"] - told["bad_status"]
    return Result(told["calls"], told["seconds"], wrong + told["broken"], told["p50_ms"], told["p99_ms"])


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def request_of(path: str, key: str, body: str) -> bytes:
    raw = body.encode()
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(raw) + raw


class Connection:
    """One keep-alive connection that sends a request and reads its answer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, request: bytes) -> tuple[int, float, float]:
        """(status, milliseconds to the first body byte, milliseconds to the last)."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        began = time.perf_counter()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])
        first = 0.0
        if b"transfer-encoding: chunked" in head:
            while True:
                size = int(await reader.readline(), 16)
                await reader.readexactly(size + 2)
                first = first or (time.perf_counter() - began) * 1000
                if not size:
                    break
        else:
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
            first = (time.perf_counter() - began) * 1000
        return status, first, (time.perf_counter() - began) * 1000


async def open_loop(port: int, path: str, key: str, body: str, *, rate: float, seconds: float) -> Result:
    """A call every 1/rate seconds, whether or not the earlier ones are back."""
    idle: list[Connection] = []
    times: list[float] = []
    errors = 0

    async def one(number: int) -> None:
        nonlocal errors
        connection = idle.pop() if idle else Connection(port)
        status, _, last = await connection.call(request_of(path, key, body.replace("NUMBER", f"o{number}")))
        idle.append(connection)
        times.append(last)
        errors += status != 200

    tasks = []
    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number)))
    await asyncio.gather(*tasks)
    elapsed = time.perf_counter() - began
    return Result(len(times), elapsed, errors, percentile(times, 0.5), percentile(times, 0.99), all_ms=times)


async def streams(port: int, path: str, key: str, body: str, *, at_once: int, rounds: int) -> Result:
    """So many streams at once, each connection one after the other."""
    firsts: list[float] = []
    lasts: list[float] = []
    errors = 0

    async def one(number: int) -> None:
        nonlocal errors
        connection = Connection(port)
        for turn in range(rounds):
            status, first, last = await connection.call(
                request_of(path, key, body.replace("NUMBER", f"s{number}-{turn}"))
            )
            firsts.append(first)
            lasts.append(last)
            errors += status != 200

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(at_once)))
    elapsed = time.perf_counter() - began
    return Result(len(lasts), elapsed, errors, percentile(firsts, 0.5), percentile(firsts, 0.99), firsts)


def save(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")
