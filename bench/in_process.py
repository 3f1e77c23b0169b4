"""`python -m bench.in_process`: calls through the edge and the whole path in this process, without sockets.

What a change of ours costs is seen here sooner than over HTTP: the provider is a coroutine that answers at once, no
writer runs, and the calls into functions are counted, which does not depend on the machine.
"""

import argparse
import asyncio
import cProfile
import gc
import os
import pstats
import sys
import time
from typing import TYPE_CHECKING

from bench.load import body_of, spelt
from bench.scenarios import CALLS, SECRETS, STREAMS, Scenario, configuration
from tests.installation import Installation

if TYPE_CHECKING:
    from tests.in_process import InProcess, Line


def lines(scenario: Scenario, calls: int, run: str) -> "list[Line]":
    from tests.in_process import Line  # noqa: PLC0415 -- app ready first

    stream = {"stream": True} if scenario in STREAMS else {}
    body = body_of(scenario.model, unique=scenario.unique, **scenario.fields, **stream)
    return [Line(scenario.key, body.replace("NUMBER", f"{run}-{spelt(number)}").encode()) for number in range(calls)]


async def take(gateway: "InProcess", made: "list[Line]") -> None:
    for line in made:
        await gateway.run(line)


async def measure(gateway: "InProcess", scenario: Scenario, rounds: int, calls: int) -> None:
    warm = lines(scenario, calls, "warm")
    await take(gateway, warm)
    gc.collect()
    gc.freeze()  # as a server does: see gateway/runtime.py
    times = []
    for number in range(rounds):
        made = lines(scenario, calls, spelt(number))
        began = time.process_time()
        await take(gateway, made)
        times.append((time.process_time() - began) / calls * 1e6)
    times.sort()
    counted = await count(gateway, lines(scenario, calls, "count"))
    print(
        f"{scenario.name:<36}{warm[-1].status:>4}{times[0]:>9.1f} µs at best{times[len(times) // 2]:>9.1f} median  {counted}"
    )


async def count(gateway: "InProcess", made: "list[Line]") -> str:
    seen = {"call": 0, "c_call": 0}

    def look(frame: object, event: str, argument: object) -> None:
        if event in seen:
            seen[event] += 1

    sys.setprofile(look)
    await take(gateway, made)
    sys.setprofile(None)
    return f"{seen['call'] / len(made):.0f} Python and {seen['c_call'] / len(made):.0f} C functions called"


async def profile(gateway: "InProcess", scenario: Scenario, calls: int, top: int) -> None:
    made = lines(scenario, calls, "profile")
    profiler = cProfile.Profile()
    profiler.enable()
    await take(gateway, made)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(top)


async def run(options: argparse.Namespace, gateway: "InProcess") -> None:
    from gateway.runtime import COLLECT_AFTER  # noqa: PLC0415 -- app ready first

    gc.set_threshold(*COLLECT_AFTER)
    for scenario in (*CALLS, *STREAMS):
        if scenario.model == "translated" or options.only not in scenario.name:
            continue
        await measure(gateway, scenario, options.rounds, options.calls)
        if options.profile:
            await profile(gateway, scenario, options.calls, options.profile)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.in_process", description=__doc__)
    parser.add_argument("--only", default="", help="scenarios with this in their name")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--profile", type=int, default=0, metavar="LINES", help="show where the time goes")
    options = parser.parse_args()
    with Installation(**SECRETS) as home:
        home.apply(configuration(mock=1, stream=1))
        os.environ.update(home.environment)
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
        import django  # noqa: PLC0415 -- slow import, after its settings

        django.setup()
        from tests.in_process import InProcess  # noqa: PLC0415 -- app ready first

        asyncio.run(run(options, InProcess(home.data_dir / "in_process")))


if __name__ == "__main__":
    main()
