"""Questions that mean the same: vectors of the last user turn, within one partition where all else is equal."""

import asyncio
from collections import OrderedDict
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from gateway.caching.embedding import Vector
from gateway.caching.exact import asked, scope
from gateway.caching.marks import Sides, are_opposed, fixed
from gateway.core.call import Call
from gateway.snapshot import RoutesSnapshot

MOST_BYTES = 32 * 1024 * 1024  # of vectors in a worker
MOST_ROWS = 4096  # of one partition; then the oldest are written over
INLINE_NUMBERS = 200_000  # larger matrices are searched by a thread, so that the event loop is never held
OPPOSED_MOST = 16  # the most alike ones, of which each asks for the opposite, until none is taken
WARMEST = 0.7  # calls above this temperature want another answer each time, unless they ask for this cache
LONGEST_QUESTION = 8_000  # characters; no embedding model takes much more

_encode = msgspec.json.Encoder(order="deterministic").encode


class Place(NamedTuple):
    """Where a question lies: in whose shard, in which partition, its vector, and the words in it that have an opposite."""

    workspace_id: str
    partition: bytes
    vector: Vector
    sides: Sides = frozenset()


class Index(Protocol):
    """Where questions are kept: in this worker, or for all of them (gateway.caching.vectors)."""

    paused: dict[str, float]  # what failed, an embedding model for one, and until when none of it is asked

    def add(self, place: Place, key: bytes, expires: float) -> None: ...

    async def nearest(self, place: Place) -> tuple[bytes, float] | None: ...

    def forget(self, place: Place, key: bytes) -> None: ...


class Partition:
    """The vectors of one partition, each with the key of its answer."""

    __slots__ = ("keys", "matrix", "next", "sides")

    def __init__(self, dimensions: int) -> None:
        self.matrix: Vector = np.zeros((8, dimensions), dtype=np.float32)
        self.keys: list[bytes] = []
        self.sides: list[Sides] = []
        self.next = 0  # the row that is written over next, once all are taken

    def add(self, key: bytes, vector: Vector, sides: Sides) -> None:
        if key in self.keys:
            row = self.keys.index(key)
        elif len(self.keys) < MOST_ROWS:
            row = len(self.keys)
            self.keys.append(key)
            self.sides.append(sides)
            if row == len(self.matrix):
                self.matrix = np.concatenate([self.matrix, np.zeros_like(self.matrix)])
        else:
            row, self.next = self.next, (self.next + 1) % MOST_ROWS
            self.keys[row] = key
        self.matrix[row], self.sides[row] = vector, sides

    def forget(self, key: bytes) -> None:
        """Let a row go whose answer is gone: the last one takes its place."""
        if key in self.keys:
            row, last, sides = self.keys.index(key), self.keys.pop(), self.sides.pop()
            if row < len(self.keys):
                self.keys[row], self.sides[row], self.matrix[row] = last, sides, self.matrix[len(self.keys)]


class Shard:
    """One workspace's partitions by digest, the one used longest ago first."""

    __slots__ = ("held_bytes", "partitions")

    def __init__(self) -> None:
        self.partitions: OrderedDict[bytes, Partition] = OrderedDict()
        self.held_bytes = 0

    def drop(self, partition: bytes) -> None:
        self.held_bytes -= self.partitions.pop(partition).matrix.nbytes


class SemanticIndex:
    """A shard for each workspace. Used on the event loop, but for the search of large partitions.

    A full index lets go of what was used longest ago by whoever holds most, so that no workspace pushes out another's.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.paused: dict[str, float] = {}  # embedding models that failed, and until when none is asked
        self._shards: dict[str, Shard] = {}

    @property
    def held_bytes(self) -> int:
        return sum(shard.held_bytes for shard in self._shards.values())

    def add(self, place: Place, key: bytes, expires: float) -> None:
        """Remember a question by the key of its answer. It goes when there is no room, or its answer is gone."""
        workspace_id, partition, vector, sides = place
        shard = self._shards.setdefault(workspace_id, Shard())
        known = shard.partitions.get(partition)
        if known is not None and known.matrix.shape[1] != len(vector):  # the model's vectors have another width now
            shard.drop(partition)
            known = None
        if known is None:
            known = shard.partitions[partition] = Partition(len(vector))
        else:
            shard.held_bytes -= known.matrix.nbytes
        known.add(key, vector, sides)
        shard.held_bytes += known.matrix.nbytes
        while self.held_bytes > self.most_bytes:
            fullest = max(self._shards, key=lambda workspace_id: self._shards[workspace_id].held_bytes)
            self._shards[fullest].drop(next(iter(self._shards[fullest].partitions)))
            if not self._shards[fullest].partitions:
                del self._shards[fullest]

    def _known(self, workspace_id: str, partition: bytes) -> Partition | None:
        shard = self._shards.get(workspace_id)
        return shard.partitions.get(partition) if shard is not None else None

    async def nearest(self, place: Place) -> tuple[bytes, float] | None:
        """The key of the most alike question and how alike it is (cosine); None where there is none.

        Exact; a tie goes to the oldest. Questions that ask for the opposite are passed by. The partition's digest names
        the model that made its vectors.
        """
        workspace_id, partition, vector, sides = place
        known = self._known(workspace_id, partition)
        if known is None or not known.keys or known.matrix.shape[1] != len(vector):
            return None
        self._shards[workspace_id].partitions.move_to_end(partition)
        keys, said, rows = list(known.keys), list(known.sides), known.matrix[: len(known.keys)]
        if rows.size > INLINE_NUMBERS:
            likeness = await asyncio.to_thread(np.dot, rows.copy(), vector)
        else:
            likeness = rows @ vector
        for _ in range(min(OPPOSED_MOST, len(keys))):
            best = int(np.argmax(likeness))
            if not are_opposed(said[best], sides):
                return keys[best], float(likeness[best])
            likeness[best] = -2.0
        return None

    def forget(self, place: Place, key: bytes) -> None:
        """Let a question go whose answer is gone."""
        if (known := self._known(place.workspace_id, place.partition)) is not None:
            known.forget(key)


def question(call: Call, routes: RoutesSnapshot, embedder: str) -> tuple[bytes, str] | None:
    """The partition of a call and the text of its last user turn; None for calls that likeness can't answer.

    The partition is a digest of all that shapes the answer but that text: workspace, system prompt, earlier turns,
    tools, parameters, the model that makes the vectors; and the numbers, days and denials of the text itself.
    """
    body, wanted = call.body, call.controls.cache == "semantic"
    messages = body.get("messages")
    if call.form.name not in ("chat", "messages") or not isinstance(messages, list) or not messages:
        return None
    if not wanted and (body.get("tools") or body.get("functions") or (body.get("temperature") or 0) > WARMEST):
        return None
    last = messages[-1]
    if not isinstance(last, dict) or last.get("role") != "user":
        return None
    text = text_of(last.get("content"))
    if not text or len(text) > LONGEST_QUESTION:
        return None
    rest = {**asked(call), "messages": [*messages[:-1], {**last, "content": None}]}
    return blake2b(_encode([*scope(call, routes), embedder, fixed(text), rest]), digest_size=32).digest(), text


def text_of(content: Any) -> str:
    """The text of a turn; nothing where it holds anything else, e.g. an image."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content]
    return "\n".join(parts) if all(isinstance(part, str) for part in parts) else ""  # type: ignore[arg-type]
