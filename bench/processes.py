"""Processes of a run: what they are given to run on, and how much CPU they used."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        found.append(each)
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                waiting.extend(int(child) for child in (task / "children").read_text().split())
        except FileNotFoundError:
            continue
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes so far, their dead threads included."""
    total = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except FileNotFoundError:
            continue
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def memory_mib(pids: Iterable[int], kind: str = "Pss") -> float:
    """Resident memory of these processes in MiB, by a name that /proc/PID/smaps_rollup gives it.

    Pss        all of it, shared pages counted by their share: files that others map too count less
    Anonymous  what they allocated themselves
    """
    total = 0.0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(f"{kind}:"):
                    total += int(line.split()[1]) / 1024
        except (FileNotFoundError, PermissionError):
            continue
    return total


def pin(pids: Iterable[int], cores: Iterable[int]) -> None:
    """Keep these processes on these cores."""
    wanted = set(cores)
    for pid in pids:
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), wanted)
        except (FileNotFoundError, ProcessLookupError):
            continue


def need(command: str) -> str:
    """The path of a program that the bench can't do without. Raises SystemExit, naming it."""
    path = shutil.which(command)
    if path is None:
        raise SystemExit(f"the bench needs {command}: install it (Debian: apt-get install {command})")
    return path


def wait_for_port(port: int, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


class Child:
    """A process of the run, on given cores, ended with it."""

    def __init__(self, command: list[str], cores: Iterable[int], **options: object) -> None:
        self.process = subprocess.Popen(command, start_new_session=True, **options)  # type: ignore[call-overload]
        pin([self.process.pid], cores)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
