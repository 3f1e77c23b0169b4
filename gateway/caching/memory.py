"""Kept answers in this process's memory, bounded by bytes."""

from collections import OrderedDict
from dataclasses import dataclass, field

from gateway.caching.entry import Entry, Purges, is_purged
from gateway.caching.flights import Flight
from gateway.caching.semantic import SemanticIndex


@dataclass(slots=True)
class Shelf:
    """One workspace's answers, the one used longest ago first."""

    entries: OrderedDict[bytes, Entry] = field(default_factory=OrderedDict)
    held_bytes: int = 0

    def drop(self, key: bytes) -> None:
        self.held_bytes -= self.entries.pop(key).bytes


class MemoryStore:
    """Answers by workspace and key. A full store lets go of the oldest answers of whoever keeps most,

    so that no workspace can push out another's by asking a lot. Used on the event loop only.
    """

    is_shared = False

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.bytes = 0
        self.flights: dict[bytes, Flight] = {}
        self.index = SemanticIndex()
        self._shelves: dict[str, Shelf] = {}
        self._obeyed: Purges | None = None

    def __len__(self) -> int:
        return sum(len(shelf.entries) for shelf in self._shelves.values())

    def find(self, workspace_id: str, key: bytes) -> Entry | None:
        shelf = self._shelves.get(workspace_id)
        entry = shelf.entries.get(key) if shelf is not None else None
        if entry is not None and shelf is not None:
            shelf.entries.move_to_end(key)
        return entry

    def put(self, key: bytes, entry: Entry) -> None:
        if entry.bytes > self.most_bytes // 8:
            return
        self.drop(entry.workspace_id, key)
        shelf = self._shelves.setdefault(entry.workspace_id, Shelf())
        shelf.entries[key] = entry
        shelf.held_bytes += entry.bytes
        self.bytes += entry.bytes
        while self.bytes > self.most_bytes:
            fullest = max(self._shelves, key=lambda workspace_id: self._shelves[workspace_id].held_bytes)
            self.drop(fullest, next(iter(self._shelves[fullest].entries)))

    def drop(self, workspace_id: str, key: bytes) -> None:
        """Forget one answer; nothing where it is gone already."""
        shelf = self._shelves.get(workspace_id)
        if shelf is None or key not in shelf.entries:
            return
        self.bytes -= shelf.entries[key].bytes
        shelf.drop(key)
        if not shelf.entries:
            del self._shelves[workspace_id]

    def obey(self, purges: Purges) -> None:
        """Forget what was purged. Costs a comparison unless there is a new configuration."""
        if purges is self._obeyed:
            return
        if purges and purges != self._obeyed:
            for workspace_id in purges.keys() & self._shelves.keys():
                entries = self._shelves[workspace_id].entries
                for key in [key for key, entry in entries.items() if is_purged(entry, purges)]:
                    self.drop(workspace_id, key)
        self._obeyed = purges
