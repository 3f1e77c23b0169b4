"""A whole installation as an operator has it: its own data directory and database, driven by its commands.

On SQLite each has its own file; with DATABASE_URL set each has a database of its own beside that one, and with
REDIS_URL set each has a redis-server of its own, so that no two of them share a counter.
"""

import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg

from tests.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 120.0
KEY = "sk-test-installation-0001"


@cache
def migrations_digest() -> str:
    """Twelve hex digits that change with any migration, and with what the migrations call."""
    called = [
        *ROOT.glob("*/append_only.py"),
        *ROOT.glob("audit/append_only/*.py"),
        ROOT / "prompts/deploy_rules.py",
        ROOT / "requirements.lock",
    ]
    files = sorted([*ROOT.glob("*/migrations/*.py"), *called])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def beside(url: str, database: str) -> str:
    """The URL of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Installation:
    """One Tollgate. `with Installation() as gateway:` migrates it; `start()` serves; leaving removes everything."""

    def __init__(self, **environment: str) -> None:
        self.data_dir = Path(tempfile.mkdtemp(prefix="tollgate-"))
        self.port = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.log = self.data_dir / "serve.log"
        self._database = ""
        self._redis: RedisServer | None = None
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "PYTEST_"))},
            "DATA_DIR": str(self.data_dir),
            "SECRET_KEY": "test-secret-key-" + secrets.token_hex(16),
            "ENCRYPTION_KEYS": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "PYTHONDONTWRITEBYTECODE": "1",
            "DATABASE_POOL_SIZE": "12",  # tests of several workers run side by side, on a server of 100 connections
            **environment,
        }

    # --- Life ---------------------------------------------------------------------------------------
    def __enter__(self) -> "Installation":
        if url := self.environment.get("DATABASE_URL"):
            self._database = "tollgate_" + secrets.token_hex(6)
            self.environment["DATABASE_URL"] = beside(url, self._database)
        if self.environment.get("REDIS_URL"):
            self._redis = RedisServer(self.data_dir)
            self.environment["REDIS_URL"] = self._redis.url
        self._migrate()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        if self._redis is not None:
            self._redis.stop()
        if self._database:
            with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as admin:
                admin.execute(f'DROP DATABASE IF EXISTS "{self._database}" WITH (FORCE)')
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def _migrate(self) -> None:
        """Migrate a template once for these migrations, and copy it: migrating takes seconds, a copy none."""
        if self._database:
            self._copy_database(f"tollgate_template_{migrations_digest()}")
            return
        file = self.data_dir / "tollgate.sqlite3"
        template = Path(tempfile.gettempdir()) / f"tollgate-template-{migrations_digest()}.sqlite3"
        if not template.exists():
            self.manage("migrate", "--verbosity", "0")
            fresh = template.with_suffix(f".{os.getpid()}")
            subprocess.run([sys.executable, "-c", COPY, str(file), str(fresh)], check=True)
            fresh.rename(template)
        else:
            shutil.copy(template, file)

    def _copy_database(self, template: str) -> None:
        mine = self.environment["DATABASE_URL"]
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as admin:
            admin.execute("SELECT pg_advisory_lock(hashtext(%s))", [template])  # one makes it, the others wait
            if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [template]).fetchone():
                admin.execute(f'DROP DATABASE IF EXISTS "{template}_making" WITH (FORCE)')  # of one that was broken off
                admin.execute(f'CREATE DATABASE "{template}_making"')
                self.manage("migrate", "--verbosity", "0", DATABASE_URL=beside(mine, f"{template}_making"))
                admin.execute(f'ALTER DATABASE "{template}_making" RENAME TO "{template}"')
            admin.execute(f'CREATE DATABASE "{self._database}" TEMPLATE "{template}"')

    # --- Commands -------------------------------------------------------------------------------------
    def manage(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `manage.py` to its end. With `check`, a failure shows what it printed."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            cwd=ROOT,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"manage.py {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
        return done

    def apply(self, text: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Apply a configuration given as text."""
        file = self.data_dir / "tollgate.yaml"
        file.write_text(text)
        return self.manage("apply", str(file), *options, **environment)

    # --- Serving ----------------------------------------------------------------------------------------
    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *options: str, **environment: str) -> "Installation":
        """Serve, and wait until it is ready."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "serve", "--port", str(self.port), *options],
                cwd=ROOT,
                env={**self.environment, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return self.await_ready(lambda: process.poll() is None)

    def await_ready(self, lives: Callable[[], bool]) -> "Installation":
        """Wait until the server answers that it is ready; fails with its log when it doesn't live any more."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and lives():
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"the server did not become ready:\n{self.log.read_text()[-4000:]}")

    def beside(self) -> "Installation":
        """Another server of the same installation, with its own port and its own journal. Stop it before this one."""
        other = Installation.__new__(Installation)
        other.__dict__ |= self.__dict__
        other.data_dir = Path(tempfile.mkdtemp(prefix="beside-", dir=self.data_dir))
        other.log = other.data_dir / "serve.log"
        other.environment = self.environment | {"DATA_DIR": str(other.data_dir)}
        other.processes = []
        other.port = free_port()
        return other

    def kill(self) -> None:
        """SIGKILL the server and all its workers, as a crash would."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
        self.processes.clear()

    def stop(self) -> None:
        """SIGTERM, as an operator would; SIGKILL what has not gone after 20 seconds."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait(20)
        self.processes.clear()

    @property
    def workers(self) -> list[int]:
        """The processes that answer calls: the server's children, or itself where it has none."""
        (server,) = self.processes
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        spawned = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return spawned or [server.pid]

    # --- Calls --------------------------------------------------------------------------------------------
    def chat(self, text: str = "hello", *, key: str = KEY, model: str = "chat", **fields: Any) -> httpx.Response:
        """One chat completion, over HTTP."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        headers = {"authorization": f"Bearer {key}"}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


COPY = """
import sqlite3, sys
source, target = sqlite3.connect(sys.argv[1]), sqlite3.connect(sys.argv[2])
source.backup(target)
"""
