"""What calls leave behind them to be done: waiting for it, and telling it from what a process does anyway."""

import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from bench.load import Result
from bench.processes import cpu_seconds

IDLE_SECONDS = 3.0
LOOKS = 20  # so many looks tell what one costs
LOOK_EVERY_SECONDS = 0.3
SEALED_SECONDS = 1.3  # after the last record is in the database, its seal is made within a second
LONGEST_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Used:
    """CPU seconds of a gateway's processes: for some calls, of that for collections, and of no calls' making."""

    calls: float
    collections: float
    idle: float


class Gateway:
    """A running gateway under measurement: its processes, and what they use while nothing happens."""

    def __init__(self, url: str, pids: list[int]) -> None:
        self.url, self.pids = url, pids
        self.settle()
        before = cpu_seconds(pids)
        time.sleep(IDLE_SECONDS)
        self.idle = (cpu_seconds(pids) - before) / IDLE_SECONDS  # CPU seconds a second
        before, began = cpu_seconds(pids), time.perf_counter()
        for _ in range(LOOKS):
            self.figures()
        idle = self.idle * (time.perf_counter() - began)
        self._look = max(0.0, cpu_seconds(pids) - before - idle) / LOOKS

    def figures(self) -> dict[str, float]:
        """What /metrics tells without labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("tollgate_") and "{" not in line)
        return {name: float(value) for name, value in pairs}

    def settle(self) -> int:
        """Wait until the records of all calls so far are in the database and sealed. Returns how often it was looked.

        Raises SystemExit when the writer does not get there.
        """
        looks, is_empty = 0, False
        deadline = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < deadline:
            looks += 1
            was_empty, is_empty = is_empty, self.figures().get("tollgate_journal_bytes", 1) == 0
            if is_empty and was_empty:  # other workers' figures are up to a second old
                return looks
            time.sleep(SEALED_SECONDS if is_empty else LOOK_EVERY_SECONDS)
        raise SystemExit("the records of the calls do not come into the database")

    def measured(self, work: Callable[[], Result]) -> tuple[Result, Used]:
        """The load's result, and the CPU that its calls cost, with what had to be done for them afterwards."""
        collected, before, began = (
            self.figures()["tollgate_gc_seconds_total"],
            cpu_seconds(self.pids),
            time.perf_counter(),
        )
        result = work()
        looks = self.settle()
        used, elapsed = cpu_seconds(self.pids) - before, time.perf_counter() - began
        idle = self.idle * elapsed
        collections = self.figures()["tollgate_gc_seconds_total"] - collected
        return result, Used(max(0.0, used - idle - looks * self._look), collections, idle)
