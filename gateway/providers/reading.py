"""A reader of server-sent events for adapters to fill in: it splits, keeps order, insists on the provider's end."""

from gateway.core import sse
from gateway.core.call import Delta
from gateway.core.errors import UpstreamBroken, UpstreamError


class EventReader:
    """Feeds each event to `event`, which a subclass writes. `done` must become true at the provider's own end.

    An error inside the stream is raised only after the deltas before it were handed out: what was said before
    it counts, even when both came in one chunk.
    """

    __slots__ = ("_failed", "_splitter", "done")

    def __init__(self) -> None:
        self._splitter = sse.Splitter()
        self._failed: UpstreamError | None = None
        self.done = False

    def event(self, raw: bytes, name: str, data: bytes) -> list[Delta]:
        """The deltas of one event. Raises UpstreamError where the event is an error or can't be read."""
        raise NotImplementedError

    def feed(self, chunk: bytes) -> list[Delta]:
        if self._failed is not None:
            raise self._failed
        return self._read(self._splitter.feed(chunk))

    def end(self) -> list[Delta]:
        if self._failed is not None:
            raise self._failed
        deltas = self._read(self._splitter.end())
        if self._failed is not None:
            raise self._failed
        if not self.done:
            raise UpstreamBroken("the provider's stream ended before the answer did", kind="bad_answer")
        return deltas

    def _read(self, events: list[sse.Event]) -> list[Delta]:
        deltas: list[Delta] = []
        for raw, name, data in events:
            try:
                deltas += self.event(raw, name, data)
            except UpstreamError as failed:
                if not deltas:
                    raise
                self._failed = failed
                break
        return deltas


def broken(provider: str, error: Exception) -> UpstreamBroken:
    """An event that can't be read as what it should be."""
    return UpstreamBroken(f"{provider} sent an event that can't be read: {error!r}", kind="bad_answer")
