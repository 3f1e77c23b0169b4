"""Kept answers in Redis, for several workers or machines. Nothing readable stands there: values are sealed."""

import base64
import logging
import time
from pathlib import Path
from typing import Any

from gateway.caching.entry import Entry, decode, encode
from gateway.caching.flights import Flight
from gateway.caching.semantic import Index, SemanticIndex
from gateway.core.counters import StoreUnavailable
from gateway.core.crypto import Keyring, Undecryptable

log = logging.getLogger(__name__)

CACHE = Path(__file__).with_name("cache.lua")
PREFIX = "tgc"
LARGEST_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 0.05  # a cache that is slower than that is passed by


class RedisStore:
    """Answers under `tgc:{workspace}:key`. `batch` runs the operations of cache.lua; see gateway.counters.batch."""

    is_shared = True

    def __init__(self, batch: Any, keyring: Keyring) -> None:
        self.batch, self.keyring = batch, keyring
        self.flights: dict[bytes, Flight] = {}
        self.index: Index = SemanticIndex()

    async def fetch(self, workspace_id: str, key: bytes) -> Entry | None:
        """The answer, or None: also where Redis does not answer in time or the value does not open."""
        name = name_of(workspace_id, key)
        try:
            sealed = await self.batch.send(["fetch", name])
        except StoreUnavailable:
            return None
        if not sealed:
            return None
        try:
            entry: Entry = decode(self.keyring.open(base64.b64decode(sealed), name))
        except (Undecryptable, ValueError) as error:
            log.warning("a kept answer can't be read (%s); it is passed by", error)
            return None
        return entry

    def put(self, key: bytes, entry: Entry) -> None:
        """Keep it, without waiting: a call is not held up by what only the next one needs."""
        if entry.bytes > LARGEST_BYTES:
            return
        name = name_of(entry.workspace_id, key)
        lives_ms = int((entry.expires - time.time()) * 1000)
        if lives_ms > 0:
            sealed = base64.b64encode(self.keyring.seal(encode(entry), name)).decode()  # scripts carry text alone
            self.batch.post(["keep", name, sealed, lives_ms])


def name_of(workspace_id: str, key: bytes) -> str:
    return f"{PREFIX}:{{{workspace_id}}}:{key.hex()}"
