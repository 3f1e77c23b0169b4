"""`python -m tests.upstream --port 18250`: the upstream as a program of its own."""

import argparse
import asyncio
import signal
import sys

from tests.upstream.server import Upstream


async def serve(host: str, port: int) -> None:
    upstream = Upstream(host, port)
    await upstream.listen()
    sys.stdout.write(upstream.url + "\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await upstream._down()


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=0)
arguments = parser.parse_args()
asyncio.run(serve(arguments.host, arguments.port))
