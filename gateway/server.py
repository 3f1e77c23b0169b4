"""The production server: uvicorn with httptools and uvloop, one event loop a worker."""

import os
import time

import uvicorn
from django.conf import settings
from uvicorn.supervisors import Multiprocess

from gateway.celery import Embedded
from gateway.protocol import GuardedProtocol


def config_for(*, host: str, port: int, workers: int) -> uvicorn.Config:
    return uvicorn.Config(
        "gateway.asgi:application",
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http=GuardedProtocol,
        ws="websockets-sansio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,  # our own reading counts trusted hops from the right (edge/request.py)
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(settings.DRAIN_SECONDS),
        timeout_worker_healthcheck=30,  # a busy machine must not have its workers shot
        backlog=2048,
    )


def serve(*, host: str, port: int, workers: int, role: str, embedded: bool) -> None:
    """Serve until SIGTERM or SIGINT; with several workers, keep as many alive.

    `embedded` runs the background work here too, in threads of this process, which only supervises when there are
    several workers.
    """
    os.environ["TOLLGATE_RUN"] = f"{os.getpid()}-{time.time_ns()}"
    os.environ["TOLLGATE_ROLE"] = role  # workers are fresh processes: they read it at their start
    os.environ["TOLLGATE_WORKERS"] = str(workers)  # how many share the rate limits, for when Redis is away
    os.environ["TOLLGATE_SUPERVISOR"] = str(os.getpid()) if workers > 1 else ""  # without it workers end
    config = config_for(host=host, port=port, workers=workers)
    background = Embedded() if embedded and role != "proxy" else None
    if background is not None:
        background.start()
    try:
        if workers == 1:
            uvicorn.Server(config).run()
        else:
            Multiprocess(config, sockets=[config.bind_socket()]).run()
    finally:
        if background is not None:
            background.stop()
