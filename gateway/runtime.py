"""What a serving process opens after its start and closes at its end, in order."""

import gc
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from audit.running import Recording, start_recording
from audit.writer import sinks, told
from budgets.services.spending import book_records
from gateway import reload
from gateway.caching.local import LocalModel, NoLocalModel, load
from gateway.caching.memory import MemoryStore
from gateway.caching.vectors import VectorTable
from gateway.configuration import Services, current
from gateway.core.call import Target
from gateway.counting import start_counting
from gateway.guards import TableGuards
from gateway.providers import demo
from gateway.routing.send import Upstream
from gateway.routing.vertex_tokens import TokenRefresher
from gateway.services.vectors import has_table
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.pauses import Pauses
from gateway.telemetry.shared import Shared
from gateway.telemetry.tail import tail

if TYPE_CHECKING:
    from gateway.caching.redis import RedisStore
    from gateway.telemetry.export import Export
    from gateway.telemetry.traces import Traces

log = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0002  # how long another thread may hold the interpreter: web pages must not delay calls
# A call makes hundreds of objects and hardly a cycle; by default a tenth of its time would go into looking for some.
COLLECT_AFTER = (10_000, 20, 50)


@dataclass(slots=True)
class Runtime:
    """One process's open things. Made after any fork, inside the running event loop."""

    traces: "Traces | None" = None
    services: Services = field(default_factory=Services)
    recording: Recording | None = None
    follower: reload.Follower | None = None
    shared: Shared | None = None
    background: list[Any] = field(default_factory=list)
    pauses: Pauses = field(default_factory=Pauses)

    def start(self) -> None:
        """Open everything and take the first configuration. Runs in a thread: it reads the database."""
        self.services.upstream = Upstream(in_process={"demo": demo.respond})
        if book_records not in sinks:
            sinks.append(book_records)
        if tail.tell not in told:
            told.append(tail.tell)
        tail.open(settings.REDIS_URL)
        self.services.traces = self.traces
        self.recording = start_recording(settings.DATA_DIR / "journal", settings.KEYRING)
        self.services.journal = self.recording.recorder
        writer = self.recording.writer
        counting = start_counting(
            settings.REDIS_URL,
            workers=int(os.environ.get("TOLLGATE_WORKERS", "1")),
            journal=writer.journal.worker,
            dead=writer.dead,
            holds_ahead=settings.HOLD_AHEAD,
        )
        self.services.counters, self.services.ledger = counting.counters, counting.ledger
        self.services.store = open_store()
        self.services.local = open_local()
        self.services.metrics = Metrics()
        self.services.export = open_export(self.services.metrics)
        self.shared = Shared(
            self.services.metrics, settings.DATA_DIR / "metrics", os.environ.get("TOLLGATE_RUN", "alone")
        )
        reload.start(self.services)
        threads = (self.pauses, self.shared, self.services.export, *counting.background, TableGuards())
        for each in (*threads, TokenRefresher(configured_targets)):
            if each is not None:
                self.background.append(each)
                each.start()
        self.follower = reload.Follower()
        self.follower.start()
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.set_threshold(*COLLECT_AFTER)
        gc.collect()
        gc.freeze()  # what is here stays: a full collection must not walk it again in the middle of a call

    def stop(self) -> None:
        """Close everything, the newest first."""
        if self.follower is not None:
            self.follower.stop()
        for each in reversed(self.background):
            each.stop()
        reload.stop()
        if self.recording is not None:
            self.recording.stop()
        tail.close()
        if self.traces is not None:
            self.traces.stop()
        if isinstance(index := getattr(self.services.store, "index", None), VectorTable):
            index.close()
        connections.close_all()


def open_store() -> "MemoryStore | RedisStore":
    """Where answers are kept: in this process, or together with the other workers in Redis."""
    if not settings.REDIS_URL:
        return MemoryStore(settings.CACHE_MEMORY_BYTES)
    from gateway.caching.redis import CACHE, TIMEOUT_SECONDS, RedisStore  # noqa: PLC0415 - optional: only where REDIS_URL is set
    from gateway.counters.batch import RedisBatch, script_of  # noqa: PLC0415 - optional, as above

    batch = RedisBatch(settings.REDIS_URL, script_of(CACHE), timeout_s=TIMEOUT_SECONDS)
    store = RedisStore(batch, settings.KEYRING)
    if has_table():
        given = settings.DATABASES["default"]
        names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
        store.index = VectorTable({name: given[key] for name, key in names.items() if given.get(key)})
    return store


def open_local() -> LocalModel | None:
    """The embedding model on this machine, where the operator has one. Raises ImproperlyConfigured if it can't be run."""
    if not settings.EMBEDDING_MODEL_DIR:
        return None
    try:
        return load(settings.EMBEDDING_MODEL_DIR)
    except NoLocalModel as error:
        raise ImproperlyConfigured(f"EMBEDDING_MODEL_DIR: {error}") from None


def open_traces(endpoint: str, ratio: float) -> "Traces | None":
    """Traces of calls and of the control plane, where there is an endpoint to send them to.

    Called before Django reads its list of middleware, to which tracing its requests adds one.
    """
    if not endpoint:
        return None
    from gateway.telemetry.traces import Traces  # noqa: PLC0415 -- slow import, and most installations trace nothing

    traces = Traces(endpoint, ratio)
    traces.watch_pages()
    return traces


def open_export(metrics: Metrics) -> "Export | None":
    """What sends this worker's figures to the collector, where there is one."""
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        return None
    from gateway.telemetry.export import Export  # noqa: PLC0415 -- slow import, and most installations send nothing

    every_s = settings.OTEL_METRIC_EXPORT_INTERVAL / 1000
    return Export(metrics, settings.OTEL_EXPORTER_OTLP_ENDPOINT, every_s=every_s)


def configured_targets() -> Iterator[Target]:
    """Every target of the running configuration."""
    if current.current is not None:
        for model in current.current.routes.models.values():
            yield from model.targets


def ready(recording: Recording | None = None, background: Sequence[Any] = ()) -> tuple[bool, dict[str, str]]:
    """Whether this process may take traffic, and what is wrong if anything is: also what `background` knows of."""
    status = reload.status
    problems: dict[str, str] = {}
    if status.revision < 0:
        problems["configuration"] = "not loaded yet"
    elif status.error:
        problems["configuration"] = f"revision {status.failed_revision} does not compile: {status.error}"
    is_safe = True
    if recording is not None:
        is_safe, troubles = recording.troubles()
        problems |= troubles
    for each in background:
        if (tell := getattr(each, "troubles", None)) is not None:
            is_well, troubles = tell()
            is_safe, problems = is_safe and is_well, problems | troubles
    return status.revision >= 0 and is_safe, problems
