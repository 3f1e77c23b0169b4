"""A PostgreSQL of its own for tests that stop it. Only where its programs are installed."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.redis_server import free_port

USER = "postgres"  # PostgreSQL does not run as root


def found() -> str | None:
    """The folder of PostgreSQL's programs."""
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    program = str(newest[0]) if newest else shutil.which("initdb")
    return None if program is None else str(Path(program).resolve().parent)


class PostgresServer:
    """A cluster on a free port of the loopback; `url` reaches a database in it. `with` removes it in the end."""

    def __init__(self) -> None:
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="tollgate-postgres-")), free_port()
        self.url = f"postgres://{USER}@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> "PostgresServer":
        if os.geteuid() == 0:
            shutil.chown(self.folder, USER)
        self._run("initdb", "--pgdata", f"{self.folder}/data", "--username", USER, "--auth", "trust", "--no-sync")
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._run("pg_ctl", "stop", "--pgdata", f"{self.folder}/data", "--mode", "immediate", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        self._run(
            "pg_ctl", "start", "--wait", "--timeout", "300", "--pgdata", f"{self.folder}/data",
            "--log", f"{self.folder}/log", "--options", options,
        )  # fmt: skip

    def stop(self) -> None:
        """At once, as a machine that is switched off."""
        self._run("pg_ctl", "stop", "--wait", "--timeout", "300", "--pgdata", f"{self.folder}/data", "-m", "immediate")

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        command = [f"{found()}/{program}", *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", *command]
        subprocess.run(
            command, check=check, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=600
        )
