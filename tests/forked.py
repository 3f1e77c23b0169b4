"""Start the server in a process that has imported it already: most of a start is importing, which is the same each time.

    python -m tests.forked    reads "PORT LOG" lines; forks for each a process of its own that serves, and writes its id

What is forked has read settings and imported modules, no more: no connection, no thread, no file of the data directory is
open before the fork. From there on it is `manage.py serve`, in a session of its own, to be killed like any other.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.installation import Installation

ROOT = Path(__file__).resolve().parents[1]


class Imported:
    """An installation's server, imported once and started often. `with Imported(gateway) as server: server.start()`."""

    def __init__(self, gateway: Installation) -> None:
        self.gateway, self.pid = gateway, 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked"],
            cwd=ROOT,
            env=gateway.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def __enter__(self) -> "Imported":
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        self.process.communicate()  # the end of its input is its end

    def start(self) -> None:
        """Serve, and wait until it is ready."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{self.gateway.port} {self.gateway.log}\n")
        self.process.stdin.flush()
        self.pid = int(self._answer())
        self.gateway.await_ready(self.lives)

    def lives(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL the server and whatever it started, and wait until it is gone."""
        if not self.pid:
            return
        os.killpg(self.pid, signal.SIGKILL)
        while self.lives():
            time.sleep(0.005)
        self.pid = 0

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    sys.argv = ["manage.py", "serve"]
    import django

    django.setup()
    import gateway.asgi  # noqa: F401 - app ready
    from gateway.management.commands import serve  # noqa: F401 - app ready

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever is gone is gone at once, as for a process of init's
    tell("ready")
    for line in sys.stdin:
        port, log = line.split()
        process = os.fork()
        if process == 0:
            become_server(port, log)
        tell(str(process))


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def become_server(port: str, log: str) -> None:
    from django.core.management import execute_from_command_line

    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    told = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for here, there in ((nothing, 0), (told, 1), (told, 2)):
        os.dup2(here, there)
    try:
        execute_from_command_line(["manage.py", "serve", "--port", port])
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
