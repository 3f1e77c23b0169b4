"""Ending a process without ending its calls: what happens between SIGTERM and the exit.

The server stops accepting and waits for running answers. From the signal on /readyz says no and new calls on open
connections are refused with 503 shutting_down; shortly before the time is over, answers that still run are ended with
an error that says so, so that each has its record and none looks complete.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from gateway.core.errors import GatewayError
from gateway.routing.send import Upstream

if TYPE_CHECKING:
    from gateway.edge.app import Edge

log = logging.getLogger(__name__)

CUT_BEFORE_SECONDS = 2.0
LOOK_SECONDS = 1.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class ShuttingDown(GatewayError):
    """The answer had begun, or was about to, when the process had to end."""

    status = 503
    code = "shutting_down"
    type = "service_unavailable"
    hint = "Try again after as many seconds as retry-after says."


class Drain:
    """Made in the event loop's thread; `install` once the server has set its own signal handlers."""

    def __init__(self, edge: "Edge", upstream: Callable[[], Upstream | None], grace_seconds: float) -> None:
        self.edge, self._upstream, self._grace = edge, upstream, grace_seconds
        self._loop = asyncio.get_running_loop()
        self._servers: dict[int, Any] = {}

    def install(self) -> None:
        """Hear of the signal before the server does. Python calls handlers in the main thread only."""
        for number in SIGNALS:
            self._servers[number] = signal.getsignal(number)
            signal.signal(number, self._signalled)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self.begin)
        server = self._servers[number]
        if callable(server):
            server(number, frame)

    def begin(self) -> None:
        """Take no more calls. The second time it ends those that run."""
        if self.edge.draining:
            self.cut()
            return
        self.edge.draining = True
        self.edge.shadows.stop()
        self._loop.call_later(max(0.0, self._grace - CUT_BEFORE_SECONDS), self.cut)

    def cut(self) -> None:
        """End every answer that still runs."""
        upstream = self._upstream()
        if upstream is not None:
            upstream.stop(ShuttingDown("The gateway is shutting down.", headers={"retry-after": "1"}))


async def end_with(supervisor: int) -> None:
    """Stop this worker as SIGTERM does once its supervising process is gone, which can no longer say so.

    Else it would keep the port and answer calls under a configuration of processes that nobody watches.
    """
    while os.getppid() == supervisor:
        await asyncio.sleep(LOOK_SECONDS)
    log.warning("the supervising process %s is gone; this worker stops", supervisor)
    os.kill(os.getpid(), signal.SIGTERM)
