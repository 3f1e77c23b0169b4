"""The health of providers, as it changes."""

import asyncio
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from gateway.services.health import places_for

EVERY_SECONDS = 1.0
NOT_ALLOWED = 4403


class HealthConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Sends all places at once, again whenever anything about them changes. Takes nothing."""

    _task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        await self.accept()
        self._task = asyncio.create_task(self._tell())

    async def disconnect(self, code: int) -> None:
        if self._task is not None:
            self._task.cancel()

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Nothing is asked of this socket."""

    async def _tell(self) -> None:
        before: Any = None
        while True:
            # Asked each time, so that a role that is taken away ends what its holder sees.
            places = await database_sync_to_async(places_for)(self.scope["user"].pk)
            if places is None:
                await self.close(NOT_ALLOWED)
                return
            if places != before:
                await self.send_json(places)
                before = places
            await asyncio.sleep(EVERY_SECONDS)
