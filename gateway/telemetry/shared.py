"""The figures of all workers on this machine: each writes its own file, and whoever is scraped adds them up.

A worker's file stays when it dies, so that counters never fall while the installation runs; the first worker of a
new start, told apart by the run's id, clears away what older runs left.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.process_collector import ProcessCollector

from gateway.telemetry.metrics import GAUGES, Metrics, families, summed

log = logging.getLogger(__name__)
EVERY_SECONDS = 1.0
ALIVE_SECONDS = 10.0  # a file that is older is a dead worker's: what it counted stands, what it saw does not


PLACES = "places"


class Shared:
    """This worker's metrics beside the others'. `run` names the start of the installation that this worker is of."""

    def __init__(self, metrics: Metrics, folder: Path, run: str) -> None:
        self.metrics, self.folder, self.run = metrics, folder, run
        self.file = folder / f"{run}.{os.getpid()}.json"
        self.places: Callable[[], list[dict[str, Any]]] = list  # what this worker knows about providers
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="metrics", daemon=True)

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in self.folder.glob("*.json"):
            if not file.name.startswith(f"{self.run}."):
                file.unlink(missing_ok=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self.write()

    def write(self) -> None:
        """Put this worker's figures where the others read them."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps({**self.metrics.figures(), PLACES: self.places()}))
        fresh.replace(self.file)

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes: this worker's figures as they are, the others' as of the last second."""
        others = [counted(file) for file in self.folder.glob(f"{self.run}.*.json") if file != self.file]
        total = summed([self.metrics.figures(), *others])
        registry = CollectorRegistry()
        registry.register(_Collected(total, self.metrics.in_flight, len(others) + 1))
        return generate_latest(registry) + generate_latest(self._process)

    def _write_on(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            try:
                self.write()
            except Exception:
                log.warning("can't share this worker's metrics with the others", exc_info=True)


class _Collected:
    def __init__(self, total: Any, in_flight: int, workers: int) -> None:
        self.total, self.in_flight, self.workers = total, in_flight, workers

    def collect(self) -> Any:
        return families(self.total, in_flight=self.in_flight, workers=self.workers)


def read(file: Path) -> Mapping[str, Any]:
    """Another worker's figures; none when they are being replaced just now."""
    try:
        figures: Mapping[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return figures


def counted(file: Path) -> Mapping[str, Any]:
    """What another worker counted; what it shows of now only while it lives."""
    figures = read(file)
    return figures if is_alive(file) else {name: series for name, series in figures.items() if name not in GAUGES}


def is_alive(file: Path) -> bool:
    try:
        return time.time() - file.stat().st_mtime < ALIVE_SECONDS
    except OSError:
        return False


def places_seen(folder: Path) -> list[list[dict[str, Any]]]:
    """What each living worker on this machine knows about providers: Health.report(), at most a second old."""
    return [list(read(file).get(PLACES, ())) for file in sorted(folder.glob("*.json")) if is_alive(file)]
