"""`python -m bench.soak [--calls 1000000]`: does anything grow? Calls without end, 5 % cut off by the client, 1 % failing.

Half of the calls ask what was asked a while before and are answered from the cache, so that a million fits into a
quarter of an hour where the gateway takes 1,200 a second. Every ten seconds the gateway's memory, file descriptors and
threads are read from /proc. At the end it is asked whether any budget still holds something. Writes results/soak.json
and results/soak.svg.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bench import load
from bench.picture import line_chart
from bench.processes import CORES, Child, memory_mib, pin, tree, wait_for_port
from bench.scenarios import KEY, SECRETS, configuration
from bench.upstreams import nginx
from tests.installation import Installation, free_port

RESULTS = Path(__file__).parent / "results"
SLICE_SECONDS = 10
LEFT_SHARE, FAILED_SHARE = 0.05, 0.01
PATH = "/v1/chat/completions"
FAILING = """
  - {name: failing, provider: nowhere, upstream: bench, price: {input: "0.15", output: "0.60"}}
routes:"""
NOWHERE = """
  - name: nowhere
    kind: openai_compatible
    base_url: "http://127.0.0.1:1/v1"
    credentials: [{name: main, secret: {env: BENCH_SECRET}}]
models:"""


class Sample(NamedTuple):
    """What the gateway held after so many calls. Memory in MiB: all of it, and what of it the process allocated itself.

    The rest are files that it maps, programs and libraries; they count less while others map them too.
    """

    calls: int
    memory: float
    own: float
    descriptors: int
    threads: int


def sample(pids: list[int], calls: int) -> Sample:
    descriptors = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)
    threads = sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids)
    return Sample(calls, round(memory_mib(pids), 1), round(memory_mib(pids, "Anonymous"), 2), descriptors, threads)


async def leave(port: int, model: str, number: int, chance: random.Random) -> None:
    """One call whose client hangs up: before the answer, or in the middle of a stream."""
    body = load.body_of(model, stream=model == "streamed").replace("NUMBER", f"left{number}")
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(load.request_of(PATH, KEY, body))
        await writer.drain()
        if model == "streamed":
            await asyncio.sleep(chance.random() * 0.5)
        await asyncio.sleep(0.001)
    finally:
        writer.transport.abort()


async def fail(port: int, number: int) -> None:
    """One call that no target answers."""
    await load.Connection(port).call(
        load.request_of(PATH, KEY, load.body_of("failing").replace("NUMBER", f"f{number}"))
    )


async def misbehave(port: int, lefts: int, failures: int, chance: random.Random) -> None:
    """So many of both, spread over a slice, at most 50 under way."""
    kinds = ["left"] * lefts + ["failed"] * failures
    chance.shuffle(kinds)
    pause = SLICE_SECONDS * 0.9 / max(1, len(kinds))
    under_way: set[asyncio.Task[None]] = set()
    for number, kind in enumerate(kinds):
        model = "streamed" if number % 3 == 0 else "everything"
        work = leave(port, model, number, chance) if kind == "left" else fail(port, number)
        under_way.add(asyncio.create_task(work))
        if len(under_way) > 50:
            _, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(pause)
    await asyncio.gather(*under_way, return_exceptions=True)


def misbehave_on(port: int) -> None:
    """In a process of its own: for each line "lefts failures seed" so many of both; says when they are through."""
    for line in sys.stdin:
        lefts, failures, seed = map(int, line.split())
        asyncio.run(misbehave(port, lefts, failures, random.Random(seed)))
        print("done", flush=True)


def slope(samples: list[Sample]) -> float:
    """MiB allocated for every 100,000 calls, by least squares over the second half: by then every cache is full."""
    later = samples[len(samples) // 2 :]
    calls = [each.calls / 100_000 for each in later]
    middle, mean = sum(calls) / len(calls), sum(each.own for each in later) / len(later)
    spread = sum((each - middle) ** 2 for each in calls)
    return (
        sum((x - middle) * (each.own - mean) for x, each in zip(calls, later, strict=True)) / spread if spread else 0.0
    )


def run(gateway: Installation, calls: int) -> list[Sample]:
    pids = tree(gateway.processes[0].pid)
    url = urlsplit(gateway.url)._replace(path=PATH).geturl()
    samples, done, rate = [sample(pids, 0)], 0, 200.0
    command = [sys.executable, "-m", "bench.soak", "--misbehave", str(gateway.port)]
    beside = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert beside.stdin is not None
    assert beside.stdout is not None
    cores = ",".join(map(str, CORES[1:] or CORES))
    while done < calls:
        lefts, failures = int(rate * SLICE_SECONDS * LEFT_SHARE), int(rate * SLICE_SECONDS * FAILED_SHARE)
        beside.stdin.write(f"{lefts} {failures} {done}\n")
        beside.stdin.flush()
        body = load.body_of("everything").replace("NUMBER", f"{done}-REPEAT")
        result = load.closed(url, KEY, body, seconds=SLICE_SECONDS, cores=cores)
        if not beside.stdout.readline():
            raise SystemExit("what hangs up and fails beside the calls has ended")
        done += result.calls + lefts + failures
        rate = result.calls / SLICE_SECONDS
        samples.append(sample(pids, done))
        last = samples[-1]
        held = f"{last.memory:>7.1f} MiB {last.own:>7.2f} own {last.descriptors:>4} fds {last.threads:>3} threads"
        print(f"{done:>9} calls {rate:>6.0f}/s {held} {result.errors} errors", flush=True)
    beside.stdin.close()
    beside.wait(60)
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--misbehave", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.misbehave:
        misbehave_on(options.misbehave)
        return
    mock, proxy, stream = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        stack.callback(nginx(mock, proxy, CORES[1:] or CORES).stop)
        stack.callback(Child([sys.executable, "-m", "bench.upstreams", str(stream)], CORES[1:] or CORES).stop)
        wait_for_port(stream)
        gateway = stack.enter_context(Installation(**SECRETS))
        text = configuration(mock=mock, stream=stream)
        gateway.apply(text.replace("\nmodels:", NOWHERE, 1).replace("\nroutes:", FAILING, 1))
        gateway.start()
        pin(tree(gateway.processes[0].pid), CORES[:1])
        samples = run(gateway, options.calls)
        time.sleep(5)
        samples.append(sample(tree(gateway.processes[0].pid), samples[-1].calls))
        held = [each["held_usd"] for each in json.loads(gateway.manage("budgets", "--json").stdout)]
        grows = slope(samples)
    told = {"mib_per_100k_calls": round(grows, 2), "held_usd": held, "samples": [each._asdict() for each in samples]}
    load.save(RESULTS / "soak.json", told)
    points = {"MiB": [(each.calls, each.memory) for each in samples],
              "MiB allocated": [(each.calls, each.own) for each in samples],
              "file descriptors": [(each.calls, float(each.descriptors)) for each in samples],
              "threads": [(each.calls, float(each.threads)) for each in samples]}  # fmt: skip
    (RESULTS / "soak.svg").write_text(line_chart("What the gateway holds, by calls made", points))
    print(f"{grows:+.2f} MiB for every 100,000 calls; held: {held}; written: {RESULTS}/soak.json, soak.svg")


if __name__ == "__main__":
    main()
