"""One ASGI callable: /v1, health and metrics go to the edge, everything else to Django, websockets to channels.

`lifespan` opens and closes what a serving process holds (runtime.py).
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
django.setup()

from channels.routing import ProtocolTypeRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.db import close_old_connections  # noqa: E402
from prometheus_client import CONTENT_TYPE_LATEST  # noqa: E402

from audit.services.feedback import record_feedback  # noqa: E402
from gateway.configuration import current  # noqa: E402
from gateway.consumers import page_sockets  # noqa: E402
from gateway.edge.app import Edge, json_page  # noqa: E402
from gateway.edge.drain import Drain, end_with  # noqa: E402
from gateway.edge.endpoints import FORMS  # noqa: E402
from gateway.edge.websocket import PATH as SOCKETS_PATH  # noqa: E402
from gateway.edge.websocket import Sockets  # noqa: E402
from gateway.routing.checks import watch  # noqa: E402
from gateway.runtime import Runtime, open_traces, ready  # noqa: E402
from gateway.telemetry.metrics import Metrics  # noqa: E402

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def healthz() -> tuple[int, str, bytes]:
    """Alive: the event loop answers."""
    return json_page(200, {"status": "ok"})


def readyz() -> tuple[int, str, bytes]:
    """May take traffic. A problem that calls do not feel is named, but does not take the process out of service."""
    is_ready, problems = ready(runtime.recording, runtime.background)
    is_ready = is_ready and not edge.draining
    if edge.draining:
        problems["draining"] = "the process is shutting down"
    return json_page(200 if is_ready else 503, {"ready": is_ready, "problems": problems})


def keep_feedback(**given: Any) -> dict[str, Any]:
    """Keep one opinion, in a thread that may wait for the database. Raises UnknownCall and ValueError."""
    try:
        kept = record_feedback(**given)
    finally:
        close_old_connections()
    return {"id": kept.pk, "call_id": kept.call_id, "score": kept.score, "label": kept.label, "comment": kept.comment}


def metrics() -> tuple[int, str, bytes]:
    """What Prometheus scrapes: the figures of all workers on this machine."""
    if runtime.shared is None:
        return json_page(503, {"problem": "the process is starting"})
    runtime.shared.metrics.in_flight = edge.in_flight
    return 200, CONTENT_TYPE_LATEST, runtime.shared.exposition()


def look(metrics: Metrics) -> None:
    """Bring up to date what metrics show of now. Runs beside the event loop's thread: it only reads."""
    metrics.set("tollgate_overload_running", {(): edge.overload.running})
    metrics.set("tollgate_overload_limit", {(): int(edge.overload.limit)})
    metrics.counters["tollgate_overload_refused"][()] = edge.overload.refused
    metrics.set("tollgate_circuits", runtime.services.upstream.health.states())
    metrics.counters["tollgate_gc_seconds"][()] = runtime.pauses.seconds
    if runtime.recording is not None:
        metrics.set("tollgate_journal_bytes", {(): runtime.recording.writer.waiting_bytes})


ROLE = os.environ.get("TOLLGATE_ROLE", "all")  # set by `manage.py serve --role`
SUPERVISOR = os.environ.get("TOLLGATE_SUPERVISOR", "")  # the process that keeps this one alive, where there is one

edge = Edge(
    current,
    forms=FORMS,
    plain={"/healthz": healthz, "/readyz": readyz, "/metrics": metrics},
    most_bytes=settings.MAX_BODY_BYTES,
    trusted_hops=settings.TRUSTED_PROXY_HOPS,
    most_calls=settings.MAX_CONCURRENT_CALLS,
)
edge.keep_feedback = keep_feedback
sockets = Sockets(edge)
runtime = Runtime(open_traces(settings.OTEL_EXPORTER_OTLP_ENDPOINT, settings.TRACES_SAMPLE_RATIO))
watchers: list[asyncio.Task[None]] = []
pages = get_asgi_application()


async def http(scope: Scope, receive: Receive, send: Send) -> None:
    """Route by the path as it came: what begins with /v1/ never enters Django, and nothing else reaches the edge."""
    scope["root_path"] = ""  # a server may take it from a client's header, which would re-route the request
    path = scope["path"]
    if path in edge.plain or ((path == "/v1" or path.startswith("/v1/")) and ROLE != "web") or ROLE == "proxy":
        await edge(scope, receive, send)  # type: ignore[arg-type]
    else:
        await pages(scope, receive, send)  # type: ignore[arg-type]


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Open before the first request, close after the last."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                await asyncio.to_thread(runtime.start)
            except Exception as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                raise
            runtime.services.upstream.home = asyncio.get_running_loop()
            edge.overload.relieve = runtime.services.upstream.relieve
            edge.overload.start()
            if runtime.shared is not None:
                runtime.shared.metrics.look, runtime.shared.places = look, runtime.services.upstream.health.report
            watchers.append(asyncio.create_task(watch(runtime.services.upstream, settings.REDIS_URL)))
            Drain(edge, lambda: runtime.services.upstream, settings.DRAIN_SECONDS).install()
            if SUPERVISOR:
                watchers.append(asyncio.create_task(end_with(int(SUPERVISOR))))
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            edge.draining = True
            edge.shadows.stop()
            await edge.shadows.ended()
            for task in watchers:
                task.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
            runtime.services.upstream.close()
            await asyncio.to_thread(runtime.stop)
            await send({"type": "lifespan.shutdown.complete"})
            return


async def websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Calls over websockets at the one path that takes them; what pages show live, below /ws/."""
    if scope["path"] == SOCKETS_PATH and ROLE != "web":
        await sockets(scope, receive, send)  # type: ignore[arg-type]
    elif scope["path"].startswith("/ws/") and ROLE != "proxy":
        await page_sockets(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1000})


application = ProtocolTypeRouter({"http": http, "lifespan": lifespan, "websocket": websocket})
