"""What the retention job costs the calls beside it, on a filled database (see bench.fill_records).

    python -m bench.retention [--rate 50] [--rounds 10] [--seconds 4]

The server serves the installation that the environment names and runs the job in a thread of its own, as the embedded
background does. Calls come in at a steady rate, in short rounds with and without the job by turns, so that whatever else the
machine does meets both alike. What is over its time is really dropped: run it on a copy. A round that the job had nothing
left for counts on neither side.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import load
from bench.processes import CORES, Child, wait_for_port
from bench.scenarios import KEY, SECRETS, configuration
from bench.upstreams import nginx
from tests.installation import free_port

ROOT = Path(__file__).resolve().parents[1]
PATH = "/v1/chat/completions"
START_SECONDS = 90


class Job(threading.Thread):
    """The job, which goes on while it is let: it looks before each of its batches, with no transaction open."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.may_go_on = threading.Event()
        self.batches, self.is_done = 0, False

    def run(self) -> None:
        from django.conf import settings  # noqa: PLC0415 - app ready
        from django.db import connection  # noqa: PLC0415 - app ready

        from audit.services import retention  # noqa: PLC0415 - app ready

        class Clock:
            """`time` for the job, whose pause between two batches may be a long one."""

            monotonic = staticmethod(time.monotonic)

            @staticmethod
            def sleep(seconds: float) -> None:
                time.sleep(seconds)
                self.batches += 1
                self.may_go_on.wait()

        retention.time = Clock  # type: ignore[assignment]
        self.may_go_on.wait()
        told = retention.drop_what_is_over(keyring=settings.KEYRING)
        self.is_done = True
        connection.close()
        sys.stderr.write(f"dropped: {told}\n")


def serve_with_job(port: int) -> None:
    """The server, and the job, which standard input lets go on ("go") and holds ("hold"); each is answered."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    import django  # noqa: PLC0415 - app ready: after the settings' name

    django.setup()
    from gateway.server import serve  # noqa: PLC0415 - app ready

    job = Job()
    job.start()

    def obey() -> None:
        for line in sys.stdin:
            (job.may_go_on.set if line.strip() == "go" else job.may_go_on.clear)()
            sys.stdout.write(json.dumps({"batches": job.batches, "done": job.is_done}) + "\n")
            sys.stdout.flush()

    threading.Thread(target=obey, daemon=True).start()
    serve(host="127.0.0.1", port=port, workers=1, role="all", embedded=False)


def tell(server: "subprocess.Popen[str]", word: str) -> dict[str, int]:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(f"{word}\n")
    server.stdin.flush()
    answer: dict[str, int] = json.loads(server.stdout.readline())
    return answer


def measure(server: "subprocess.Popen[str]", port: int, options: argparse.Namespace) -> dict[str, list[float]]:
    """Milliseconds of every call, with the job and without it."""
    found: dict[str, list[float]] = {"without": [], "with": []}
    body = load.body_of("everything")
    for number in range(2 * options.rounds):
        side = "with" if number % 2 else "without"
        before = tell(server, "go" if side == "with" else "hold")
        made = body.replace("NUMBER", f"{time.time_ns()}-NUMBER")
        result = asyncio.run(load.open_loop(port, PATH, KEY, made, rate=options.rate, seconds=options.seconds))
        after = tell(server, "hold")
        assert result.errors == 0, f"{result.errors} calls were not answered"
        if side == "with" and after["done"]:
            break
        if side == "without" or after["batches"] > before["batches"]:
            found[side] += result.all_ms
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.retention", description=__doc__)
    parser.add_argument("--rate", type=float, default=50.0, help="calls a second")
    parser.add_argument("--rounds", type=int, default=10, help="of each kind")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve_with_job(options.serve)
        return
    mock, proxy, stream, port = (free_port() for _ in range(4))
    environment = os.environ | SECRETS | {"LOG_LEVEL": "ERROR"}
    with ExitStack() as stack:
        stack.callback(nginx(mock, proxy, CORES[1:] or CORES).stop)
        stack.callback(Child([sys.executable, "-m", "bench.upstreams", str(stream)], CORES[1:] or CORES).stop)
        wait_for_port(stream)
        file = Path(stack.enter_context(TemporaryDirectory())) / "bench.yaml"
        file.write_text(configuration(mock=mock, stream=stream))
        apply = [sys.executable, str(ROOT / "manage.py"), "apply", str(file)]
        subprocess.run(apply, env=environment, check=True, stdout=subprocess.DEVNULL)
        command = [sys.executable, "-m", "bench.retention", "--serve", str(port)]
        server = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.callback(server.wait, 30)
        stack.callback(server.terminate)
        wait_for_port(port, START_SECONDS)
        asyncio.run(load.open_loop(port, PATH, KEY, load.body_of("everything"), rate=options.rate, seconds=3))
        found = measure(server, port, options)
    for side, times in found.items():
        shares = "  ".join(
            f"p{share * 100:g} {load.percentile(times, share):7.2f} ms" for share in (0.5, 0.9, 0.95, 0.99)
        )
        print(f"{side:>8} the job  {len(times):6} calls  {shares}  most {max(times, default=0.0):7.2f} ms")


if __name__ == "__main__":
    main()
