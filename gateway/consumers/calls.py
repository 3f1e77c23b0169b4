"""Calls as they end, each person's own workspaces."""

import asyncio
import contextlib
import json
from typing import Any

import msgspec
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from gateway.services.tail import watchable
from gateway.telemetry.tail import Line, Tail, tail

PAUSE_SECONDS = 0.25  # between two messages: eyes take no more
ASK_SECONDS = 1.0  # how soon a role that is taken away ends what its holder sees
NOT_ALLOWED = 4403
FILTERS = ("workspace", "key", "route", "model", "provider", "outcome", "code")
VALUE_MOST = 200


class CallsConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Sends `{"calls": [...], "skipped": n}` whenever calls ended; takes `{"model": "...", ...}`, what to show only."""

    tail: Tail = tail
    _task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        self.wanted: dict[str, str] = {}
        await self.accept()
        self._task = asyncio.create_task(self._tell())

    async def disconnect(self, code: int) -> None:
        if self._task is not None:
            self._task.cancel()

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """What is to be shown from now on; anything else that is sent here is passed over."""
        if isinstance(content, dict):
            given = {name: content.get(name) for name in FILTERS}
            self.wanted = {
                name: value[:VALUE_MOST] for name, value in given.items() if isinstance(value, str) and value
            }

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """What is no JSON text is passed over like everything else that is not asked for."""
        with contextlib.suppress(ValueError):
            await self.receive_json(json.loads(text_data or ""))

    async def _tell(self) -> None:
        user_id = self.scope["user"].pk
        with self.tail.watch() as watcher:
            while True:
                # Asked before anything is sent, so that a role that is taken away ends what its holder sees.
                allowed = await database_sync_to_async(watchable)(user_id)
                if allowed is not None and not allowed:
                    await self.close(NOT_ALLOWED)
                    return
                until = asyncio.get_running_loop().time() + ASK_SECONDS
                while (left := until - asyncio.get_running_loop().time()) > 0:
                    lines, skipped = await watcher.lines(timeout_s=left)
                    shown = [msgspec.structs.asdict(line) for line in lines if self._shows(line, allowed)]
                    if shown or (skipped and allowed is None):
                        await self.send_json({"calls": shown, "skipped": skipped if allowed is None else 0})
                    await asyncio.sleep(PAUSE_SECONDS)

    def _shows(self, line: Line, allowed: frozenset[str] | None) -> bool:
        if allowed is not None and line.workspace_id not in allowed:
            return False
        return all(getattr(line, name) == value for name, value in self.wanted.items())
