"""Noticing that the client left: under uvicorn nothing tells a streaming app unless it listens."""

import asyncio
from typing import Any

from gateway.core.call import Call
from gateway.edge.request import Receive

LISTEN_AFTER_S = 0.05  # most answers are there before; they need no listener
DRAIN_S = 60.0


class Listener:
    """Listens for the client's leaving while a call runs, and then ends the call or lets it drain.

    An answer that has begun to stream is hung up on at once: what was said can be charged by its length. One that
    has not said anything yet may cost anything, so it is read on for a while to learn what it used.
    """

    def __init__(self, call: Call, receive: Receive) -> None:
        self.call, self._receive = call, receive
        self.gone = False
        self._loop = asyncio.get_running_loop()
        self._call_task = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(LISTEN_AFTER_S, self._listen)
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False

    def stop(self) -> None:
        """The call has ended. What a cancelled task ended with knows this listener, so the listener lets it go."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._timer = self._task = self._call_task = None

    def ended_call(self) -> bool:
        """Whether it was this listener that cancelled the call's task, and not the server."""
        if self._cancelled and self._call_task is not None:
            self._call_task.uncancel()
        return self._cancelled

    def hang_up(self) -> None:
        """End the call as if its client had left: it takes nothing any more."""
        self.gone = self.call.left = True
        self._end()

    def _listen(self) -> None:
        if (upload := self.call.upload) is not None and upload.began and not upload.ended:
            self._timer = self._loop.call_later(LISTEN_AFTER_S, self._listen)  # who reads it hears of the leaving
            return
        self._timer = None
        self._task = self._loop.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = self.call.left = True
        if self.call.stream and self.call.said:
            self._end()
        else:
            self._timer = self._loop.call_later(DRAIN_S, self._end)

    def _end(self) -> None:
        self._cancelled = True
        if self._call_task is not None:
            self._call_task.cancel()
